#include "shoal/evaluation/blind.h"

#include <algorithm>
#include <cerrno>
#include <map>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <boost/json.hpp>

#include "shoal/base/sha256.h"
#include "shoal/evaluation/jsonl.h"
#include "shoal/statistics/random.h"
#include "shoal/wire/json_writer.h"

namespace shoal::evaluation {
namespace {

namespace json = boost::json;

constexpr std::string_view kFormat = "shoal-blind-1";

std::string text_of(const json::object& from, std::string_view name) {
  const json::value* const value = from.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}

// As a person reads it: the last message, after those before it.
std::string question_text(const Prompt& prompt) {
  if (const auto* text = std::get_if<std::string>(&prompt)) return *text;
  std::string out;
  for (const types::Message& message : std::get<0>(prompt)) out += (out.empty() ? "" : "\n\n") + message.content;
  return out;
}

// All that a comparison is: judgements of another one must not count.
std::string head_of(const Results& first, const Results& second, std::uint64_t seed) {
  base::Sha256 hash;
  for (const Results* const one : {&first, &second}) {
    for (const auto& [id, answer] : one->answers)
      hash.update(fmt::format("{}:{}:{}:{}\n", id.size(), id, answer.size(), answer));
  }
  std::string out;
  wire::JsonWriter(out)
      .object()
      .key("format")
      .string(kFormat)
      .key("suite")
      .string(first.suite)
      .key("first")
      .string(first.route)
      .key("second")
      .string(second.route)
      .key("seed")
      .integer(static_cast<std::int64_t>(seed))
      .key("answers")
      .string(hash.finish().substr(0, 32))
      .end_object();
  return out + "\n";
}

Result<void> append(const std::filesystem::path& path, std::string_view line) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return base::errno_error("cannot write " + path.string(), errno);
  const bool written =
      ::write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size()) && ::fdatasync(fd) == 0;
  const int cause = errno;
  ::close(fd);
  return written ? Result<void>() : base::errno_error("cannot write " + path.string(), cause);
}

std::string_view choice_name(Choice choice) {
  return choice == Choice::kLeft ? "left" : choice == Choice::kRight ? "right" : "tie";
}

}  // namespace

Result<BlindComparison> BlindComparison::open(const Suite& suite, const Results& first, const Results& second,
                                              std::uint64_t seed, double delta, std::filesystem::path journal) {
  BlindComparison out(std::move(journal), delta);
  for (const SuiteRow& row : suite.rows) {
    const auto a = first.answers.find(row.id);
    const auto b = second.answers.find(row.id);
    if (a == first.answers.end() || b == second.answers.end()) continue;
    if (a->second == b->second) {
      ++out.same_;
      continue;
    }
    out.pairs_.push_back({.id = row.id, .question = question_text(row.prompt), .left = a->second, .right = b->second});
  }
  if (out.pairs_.empty()) {
    return Error(
        ErrorCode::kInvalidData,
        fmt::format("\"{}\" and \"{}\" have no question that both answered, and differently ({} answers are the same)",
                    first.route, second.route, out.same_));
  }
  statistics::Random random(seed);
  random.shuffle(out.pairs_);
  for (BlindPair& pair : out.pairs_) {
    pair.swapped = random.chance(0.5);
    if (pair.swapped) std::swap(pair.left, pair.right);
  }
  SHOAL_TRY(out.take_up(head_of(first, second, seed)));
  return out;
}

Result<void> BlindComparison::take_up(const std::string& head) {
  std::error_code ignored;
  if (!std::filesystem::exists(journal_, ignored)) return append(journal_, head);
  const std::string all = SHOAL_TRY(contents_of(journal_));
  if (!all.starts_with(head)) {
    return Error(ErrorCode::kInvalidData,
                 fmt::format("{} is of another comparison: other routes, answers or seed. Give --journal another file",
                             shown(journal_)));
  }
  std::map<std::string, Choice> judged;
  std::string_view rest = std::string_view(all).substr(head.size());
  // A line that was cut off is judged again.
  for (std::size_t end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {
    boost::system::error_code error;
    const json::value line = json::parse(json::string_view(rest.data(), end), error);
    rest.remove_prefix(end + 1);
    if (error || !line.is_object()) continue;
    const std::string said = text_of(line.get_object(), "choice");
    const auto pair = std::ranges::find(pairs_, text_of(line.get_object(), "id"), &BlindPair::id);
    if (pair == pairs_.end()) continue;
    count(pair->swapped, said == "left" ? Choice::kLeft : said == "right" ? Choice::kRight : Choice::kTie);
    pairs_.erase(pair);
  }
  return rest.empty() ? Result<void>() : append(journal_, "\n");
}

void BlindComparison::count(bool swapped, Choice choice) {
  if (choice == Choice::kTie) {
    ++ties_;
  } else {
    test_.add((choice == Choice::kLeft) != swapped);
  }
}

Result<void> BlindComparison::judge(const BlindPair& pair, Choice choice) {
  std::string line;
  wire::JsonWriter(line).object().key("id").string(pair.id).key("choice").string(choice_name(choice)).end_object();
  SHOAL_TRY(append(journal_, line + "\n"));
  count(pair.swapped, choice);
  return {};
}

}  // namespace shoal::evaluation
