// The answers of runs, kept line by line in an append-only file, so that a run that was killed goes on where it was and
// asks nothing twice. An answer is found by all that it depends on: route, what is behind it, and the request to the
// byte. Written to the disk (fdatasync) every second and at the end; a line that was cut off counts as not there.
// Owned by a run. Threads: any; a lock inside.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "shoal/base/result.h"

namespace shoal::evaluation {

struct Answer {
  std::string text{};
  std::string error{};  // why there is none: "overloaded: the queue is full"; empty: there is one
  double latency_ms = 0;
  std::int64_t prompt_tokens = 0;
  std::int64_t completion_tokens = 0;
  double cost_usd = 0;
  std::string decision{};  // "local", "remote", "escalated", "failed_over"; empty: not told
  std::string model{};     // that answered
  std::string receipt{};
  std::optional<double> confidence{};
  std::optional<double> threshold{};

  bool operator==(const Answer&) const = default;
};

// What an answer is found by. `identity` says what is behind the route; `body` is the request.
[[nodiscard]] std::string answer_key(std::string_view route, std::string_view identity, std::string_view body);

class AnswerJournal {
 public:
  // DIR/answers.jsonl; makes the folder. Errors: kIo; kAlreadyExists when another run writes it.
  [[nodiscard]] static Result<std::unique_ptr<AnswerJournal>> open(const std::filesystem::path& folder);
  ~AnswerJournal();
  AnswerJournal(const AnswerJournal&) = delete;
  AnswerJournal& operator=(const AnswerJournal&) = delete;

  // An answer, or a request that failed; nothing: it was never asked.
  [[nodiscard]] std::optional<Answer> find(const std::string& key) const;
  // The later one of a key counts. Errors: kIo.
  Result<void> add(const std::string& key, const std::string& row, const std::string& route, const Answer& answer);
  // To the disk. Errors: kIo.
  Result<void> sync();
  [[nodiscard]] std::size_t damaged() const { return damaged_; }  // lines that were passed over
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  AnswerJournal(std::filesystem::path path, int fd) : path_(std::move(path)), fd_(fd) {}
  Result<void> read();
  Result<void> sync_locked();

  std::filesystem::path path_;
  int fd_;
  mutable std::mutex mutex_;
  std::map<std::string, Answer> answers_;
  std::size_t damaged_ = 0;
  std::int64_t synced_ns_ = 0;
};

}  // namespace shoal::evaluation
