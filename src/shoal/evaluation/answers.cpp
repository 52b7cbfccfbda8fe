#include "shoal/evaluation/answers.h"

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <boost/json.hpp>

#include "shoal/base/clock.h"
#include "shoal/base/sha256.h"
#include "shoal/evaluation/jsonl.h"
#include "shoal/wire/json_text.h"

namespace shoal::evaluation {
namespace {

namespace json = boost::json;

constexpr std::int64_t kSyncNs = 1'000'000'000;

std::string text_of(const json::object& from, std::string_view name) {
  const json::value* const value = from.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}
std::optional<double> number_of(const json::object& from, std::string_view name) {
  const json::value* const value = from.if_contains(name);
  if (value == nullptr || !value->is_number()) return std::nullopt;
  return value->to_number<double>();
}

std::string line_of(const std::string& key, const std::string& row, const std::string& route, const Answer& answer) {
  std::string out = R"({"key":)";
  const auto text = [&out](std::string_view name, std::string_view value) {
    out += fmt::format(R"(,"{}":)", name);
    wire::append_json_string(out, value);
  };
  const auto number = [&out](std::string_view name, double value) {
    out += fmt::format(R"(,"{}":)", name);
    wire::append_json_number(out, value);
  };
  wire::append_json_string(out, key);
  text("row", row);
  text("route", route);
  if (answer.error.empty()) {
    text("answer", answer.text);
  } else {
    text("error", answer.error);
  }
  number("latency_ms", answer.latency_ms);
  out += fmt::format(R"(,"prompt_tokens":{},"completion_tokens":{})", answer.prompt_tokens, answer.completion_tokens);
  number("cost_usd", answer.cost_usd);
  text("decision", answer.decision);
  text("model", answer.model);
  text("receipt", answer.receipt);
  if (answer.confidence) number("confidence", *answer.confidence);
  if (answer.threshold) number("threshold", *answer.threshold);
  return out + "}\n";
}

// A count, however wrong what stands there is.
std::int64_t count_of(const json::object& from, std::string_view name) {
  const json::value* const value = from.if_contains(name);
  return value != nullptr && value->is_int64() ? value->get_int64() : 0;
}

// Of what the answer was, nothing is taken on trust: a line that lost its text would be a wrong answer.
bool read_line(std::string_view line, std::map<std::string, Answer>& into) {
  boost::system::error_code error;
  const json::value root = json::parse(json::string_view(line.data(), line.size()), error);
  const json::object* const object = error ? nullptr : root.if_object();
  if (object == nullptr) return false;
  const std::string key = text_of(*object, "key");
  const json::value* const answered = object->if_contains("answer");
  const json::value* const said = answered != nullptr ? answered : object->if_contains("error");
  if (key.empty() || said == nullptr || !said->is_string()) return false;
  if (answered == nullptr && said->get_string().empty()) return false;
  Answer answer{.text = text_of(*object, "answer"),
                .error = text_of(*object, "error"),
                .latency_ms = number_of(*object, "latency_ms").value_or(0),
                .prompt_tokens = count_of(*object, "prompt_tokens"),
                .completion_tokens = count_of(*object, "completion_tokens"),
                .cost_usd = number_of(*object, "cost_usd").value_or(0),
                .decision = text_of(*object, "decision"),
                .model = text_of(*object, "model"),
                .receipt = text_of(*object, "receipt"),
                .confidence = number_of(*object, "confidence"),
                .threshold = number_of(*object, "threshold")};
  into[key] = std::move(answer);
  return true;
}

Result<void> write_all(int fd, std::string_view bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::errno_error("cannot write " + path.string(), errno);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

}  // namespace

std::string answer_key(std::string_view route, std::string_view identity, std::string_view body) {
  base::Sha256 hash;
  hash.update(fmt::format("{} {} {}\n", route.size(), identity.size(), body.size()));
  for (const std::string_view part : {route, identity, body}) hash.update(part);
  return hash.finish().substr(0, 32);
}

Result<std::unique_ptr<AnswerJournal>> AnswerJournal::open(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return Error(ErrorCode::kIo, fmt::format("cannot make {}: {}", folder.string(), error.message()));
  const std::filesystem::path path = folder / "answers.jsonl";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return base::errno_error("cannot write " + path.string(), errno);
  std::unique_ptr<AnswerJournal> out(new AnswerJournal(path, fd));
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    return Error(
        ErrorCode::kAlreadyExists,
        fmt::format("another `shoal eval run` writes {}; wait for it, or give --out another folder", path.string()));
  }
  SHOAL_TRY(out->read());
  return out;
}

AnswerJournal::~AnswerJournal() {
  ::close(fd_);
}

Result<void> AnswerJournal::read() {
  const std::string all = SHOAL_TRY(contents_of(path_));
  std::string_view rest = all;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (!line.empty() && !read_line(line, answers_)) ++damaged_;
  }
  // After a line that was cut off the next one begins on a line of its own.
  if (!all.empty() && all.back() != '\n') return write_all(fd_, "\n", path_);
  return {};
}

std::optional<Answer> AnswerJournal::find(const std::string& key) const {
  const std::lock_guard lock(mutex_);
  const auto at = answers_.find(key);
  if (at == answers_.end()) return std::nullopt;
  return at->second;
}

Result<void> AnswerJournal::add(const std::string& key, const std::string& row, const std::string& route,
                                const Answer& answer) {
  const std::string line = line_of(key, row, route, answer);
  const std::lock_guard lock(mutex_);
  const off_t before = ::lseek(fd_, 0, SEEK_END);
  Result<void> written = write_all(fd_, line, path_);
  if (!written.ok()) {
    // Of a full disk: half a line would spoil the next one that fits.
    if (before >= 0 && ::ftruncate(fd_, before) != 0) ++damaged_;
    return written;
  }
  answers_[key] = answer;
  if (base::SystemClock().monotonic_ns() - synced_ns_ >= kSyncNs) return sync_locked();
  return {};
}

Result<void> AnswerJournal::sync() {
  const std::lock_guard lock(mutex_);
  return sync_locked();
}

Result<void> AnswerJournal::sync_locked() {
  if (::fdatasync(fd_) != 0) return base::errno_error("cannot write " + path_.string(), errno);
  synced_ns_ = base::SystemClock().monotonic_ns();
  return {};
}

}  // namespace shoal::evaluation
