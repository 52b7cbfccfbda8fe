#include "shoal/evaluation/blind.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
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

std::optional<Choice> choice_named(std::string_view name) {
  if (name == "left") return Choice::kLeft;
  if (name == "right") return Choice::kRight;
  return name == "tie" ? std::optional(Choice::kTie) : std::nullopt;
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

Result<void> BlindComparison::open_journal() {
  const int fd = ::open(journal_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return base::errno_error("cannot write " + shown(journal_), errno);
  file_ = std::shared_ptr<const int>(new int(fd), [](const int* owned) {
    ::close(*owned);
    delete owned;
  });
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    return Error(
        ErrorCode::kAlreadyExists,
        fmt::format("another `shoal eval compare` writes {}; end it, or give --journal another file", shown(journal_)));
  }
  return {};
}

// In whole or not at all: half a line would spoil the next one.
Result<void> BlindComparison::append(std::string_view line) {
  const off_t before = ::lseek(*file_, 0, SEEK_END);
  const ssize_t written = ::write(*file_, line.data(), line.size());
  if (written == static_cast<ssize_t>(line.size()) && ::fdatasync(*file_) == 0) return {};
  const int cause = written < 0 || written == static_cast<ssize_t>(line.size()) ? errno : ENOSPC;
  if (before < 0 || ::ftruncate(*file_, before) != 0) ++damaged_;
  return base::errno_error("cannot write " + shown(journal_), cause);
}

Result<void> BlindComparison::take_up(const std::string& head) {
  SHOAL_TRY(open_journal());
  const std::string all = SHOAL_TRY(contents_of(journal_));
  if (all.empty()) return append(head);
  if (!all.starts_with(head)) {
    return Error(ErrorCode::kInvalidData,
                 fmt::format("{} is of another comparison: other routes, answers or seed. Give --journal another file",
                             shown(journal_)));
  }
  std::string_view rest = std::string_view(all).substr(head.size());
  // A line that was cut off, or that says nothing, is judged again.
  for (std::size_t end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {
    boost::system::error_code error;
    const json::value line = json::parse(json::string_view(rest.data(), end), error);
    const bool blank = end == 0;
    rest.remove_prefix(end + 1);
    const json::object* const object = error ? nullptr : line.if_object();
    const auto choice = object == nullptr ? std::nullopt : choice_named(text_of(*object, "choice"));
    const auto pair =
        object == nullptr ? pairs_.end() : std::ranges::find(pairs_, text_of(*object, "id"), &BlindPair::id);
    if (!choice || pair == pairs_.end()) {
      if (!blank) ++damaged_;
      continue;
    }
    count(pair->swapped, *choice);
    pairs_.erase(pair);
  }
  if (rest.empty()) return {};
  ++damaged_;
  return append("\n");
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
  SHOAL_TRY(append(line + "\n"));
  count(pair.swapped, choice);
  return {};
}

}  // namespace shoal::evaluation
