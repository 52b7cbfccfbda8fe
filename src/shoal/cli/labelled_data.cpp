#include "shoal/cli/labelled_data.h"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <utility>

#include <fmt/format.h>

#include <boost/json.hpp>

#include "shoal/base/sha256.h"
#include "shoal/wire/json_text.h"

namespace shoal::cli {
namespace {

namespace json = boost::json;

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

// Letters, digits, and whatever is not ASCII.
bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         (static_cast<unsigned char>(c) & 0x80U) != 0;
}

Error wrong(std::string message) {
  return {ErrorCode::kInvalidRequest, std::move(message)};
}

Result<std::vector<types::Message>> read_messages(const json::value& value) {
  const json::array* const list = value.if_array();
  if (list == nullptr || list->empty()) return wrong("\"messages\" is not a list of messages");
  std::vector<types::Message> out;
  for (const json::value& one : *list) {
    const json::object* const message = one.if_object();
    const json::value* const role = message == nullptr ? nullptr : message->if_contains("role");
    const json::value* const content = message == nullptr ? nullptr : message->if_contains("content");
    if (role == nullptr || content == nullptr || !role->is_string() || !content->is_string())
      return wrong("a message needs a \"role\" and a \"content\", both text");
    const std::string_view name(role->get_string().data(), role->get_string().size());
    if (name != "system" && name != "user" && name != "assistant")
      return wrong(fmt::format("a role is system, user or assistant, not \"{}\"", wire::shortened(name)));
    out.push_back({name == "system" ? types::Role::kSystem
                   : name == "user" ? types::Role::kUser
                                    : types::Role::kAssistant,
                   std::string(content->get_string()), ""});
  }
  return out;
}

bool has_words(std::string_view text, std::string_view words) {
  for (std::size_t at = text.find(words); at != std::string_view::npos; at = text.find(words, at + 1)) {
    const std::size_t end = at + words.size();
    if ((at == 0 || !is_word(text[at - 1])) && (end == text.size() || !is_word(text[end]))) return true;
  }
  return false;
}

std::string_view first_line(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  return text.substr(0, text.find('\n'));
}

}  // namespace

std::string LabelledQuestion::group() const {
  if (const auto* text = std::get_if<std::string>(&prompt)) return normalised(*text);
  std::string out;
  for (const types::Message& message : std::get<0>(prompt)) out += normalised(message.content) + "\n";
  return out;
}

std::string normalised(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (is_space(c)) {
      if (!out.empty() && out.back() != ' ') out += ' ';
    } else {
      out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
  }
  const auto first = std::ranges::find_if(out, is_word);
  out.erase(out.begin(), first);
  while (!out.empty() && !is_word(out.back())) out.pop_back();
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
  const json::value* const prompt = object->if_contains("prompt");
  const json::value* const messages = object->if_contains("messages");
  if ((prompt == nullptr) == (messages == nullptr)) return wrong("it needs either \"prompt\" or \"messages\"");
  if (messages != nullptr) {
    out.prompt = SHOAL_TRY(read_messages(*messages));
  } else if (prompt->is_string() && !prompt->get_string().empty()) {
    out.prompt = std::string(prompt->get_string());
  } else {
    return wrong("\"prompt\" is not a text");
  }
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
    out.questions.push_back(std::move(question).value());
  }
  if (file.bad()) return base::errno_error("cannot read " + path.string(), errno);
  return out;
}

}  // namespace shoal::cli
