#include "shoal/evaluation/labelled_data.h"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <set>
#include <utility>

#include <fmt/format.h>

#include <boost/json.hpp>

#include "shoal/base/sha256.h"
#include "shoal/evaluation/normalise.h"

namespace shoal::evaluation {
namespace {

namespace json = boost::json;

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

Error wrong(std::string message) {
  return {ErrorCode::kInvalidData, std::move(message)};
}

}  // namespace

std::string LabelledQuestion::group() const {
  if (const auto* text = std::get_if<std::string>(&prompt)) return normalised(*text);
  std::string out;
  for (const types::Message& message : std::get<0>(prompt)) out += normalised(message.content) + "\n";
  return out;
}

bool is_right(Grader grader, std::string_view answer, const LabelledQuestion& question) {
  const std::string said = normalised(grader == Grader::kLabel ? first_line(answer) : answer);
  return std::ranges::any_of(question.answers, [&](const std::string& wanted) {
    const std::string right = normalised(wanted);
    return grader == Grader::kContains ? has_words(said, right) : said == right;
  });
}

Result<LabelledQuestion> parse_labelled(std::string_view line) {
  boost::system::error_code error;
  const json::value root = json::parse(json::string_view(line.data(), line.size()), error);
  const json::object* const object = error ? nullptr : root.if_object();
  if (object == nullptr) return wrong("it is not a JSON object");
  LabelledQuestion out;
  out.prompt = SHOAL_TRY(read_prompt(*object));
  const json::value* const answer = object->if_contains("answer");
  const json::value* const answers = object->if_contains("answers");
  if (answer != nullptr && answer->is_string()) out.answers.emplace_back(answer->get_string());
  if (const json::array* const list = answers == nullptr ? nullptr : answers->if_array()) {
    for (const json::value& one : *list) {
      if (!one.is_string()) return wrong("\"answers\" is not a list of texts");
      out.answers.emplace_back(one.get_string());
    }
  }
  const bool empty = std::ranges::any_of(out.answers, [](const std::string& one) { return normalised(one).empty(); });
  if (out.answers.empty() || empty) return wrong("it needs \"answer\" or \"answers\", of letters or digits");
  return out;
}

Result<LabelledData> read_labelled(const std::filesystem::path& path) {
  LabelledData out;
  out.sha256 = SHOAL_TRY(base::sha256_of_file(path));
  std::ifstream file(path, std::ios::binary);
  if (!file) return base::errno_error("cannot open " + path.string(), errno);
  std::set<std::string> seen;
  std::string line;
  for (std::size_t number = 1; std::getline(file, line); ++number) {
    if (std::ranges::all_of(line, is_space)) continue;
    auto question = parse_labelled(line);
    if (!question.ok()) {
      return wrong(fmt::format("{}, line {}: {}", path.string(), number, question.error().message()));
    }
    if (!out.questions.empty() && out.questions.front().chat() != question->chat())
      return wrong(fmt::format("{}, line {}: messages and prompts are two tasks: put them into two files",
                               path.string(), number));
    if (!seen.insert(exact_text(question->prompt)).second) {
      ++out.repeated;
      continue;
    }
    out.questions.push_back(std::move(question).value());
  }
  if (file.bad()) return base::errno_error("cannot read " + path.string(), errno);
  return out;
}

}  // namespace shoal::evaluation
