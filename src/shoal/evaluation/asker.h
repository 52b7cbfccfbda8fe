// Asks a server many requests, several at once and under a budget; what was asked before is taken from the journal.
// Place: inside evaluation/, under run_suite() and the judge. What is asked goes through `Server`, a few functions that
// the command fills in: nothing here knows HTTP. Owned by the caller. Threads: ask_all() starts `parallel` of its own
// and joins them; it calls `request` and the functions of Server from them, `note` under a lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/evaluation/answers.h"

namespace shoal::evaluation {

struct Server {
  // What is behind a route, to the settings that change its answers. Errors: those of a name that is none.
  std::function<Result<std::string>(const std::string& route)> identity;
  // The most that a request may cost, in USD.
  std::function<Result<double>(const std::string& body)> most_usd;
  // One request, once. A retryable error is tried again.
  std::function<Result<Answer>(const std::string& body)> ask;
  // Whether anything is there at all: when not, the run ends rather than to fail question by question.
  std::function<bool()> alive;
  // Whether the user wants to stop.
  std::function<bool()> interrupted;
};

struct RunProgress {
  std::size_t there = 0;  // answers, kept ones too
  std::size_t all = 0;
  std::size_t asked = 0;  // now
  std::size_t errors = 0;
  double spent_usd = 0;
  double per_second = 0;
};

struct RunOptions {
  std::vector<std::string> routes{};
  std::size_t limit = 0;  // the first rows; 0: all
  std::size_t parallel = 4;
  std::optional<double> max_usd{};  // of what is asked now
  std::size_t attempts = 4;         // of one request
  std::int64_t backoff_ms = 500;    // before the second attempt; doubles
  bool fresh = false;               // asks again what is kept
  std::function<void(const RunProgress&)> note{};
};

enum class Ended : std::uint8_t { kComplete, kBudget, kInterrupted };

struct Request {
  std::string row;
  std::string route;
  std::string identity;
  std::string body;
};

struct Reply {
  bool asked = false;  // false: it ended before
  Answer answer;       // with `error` when the request failed
};

struct Asked {
  std::vector<Reply> replies;  // in the order of the requests
  std::size_t asked = 0;       // now
  std::size_t kept = 0;        // were there
  std::size_t errors = 0;      // requests that failed for good
  double spent_usd = 0;        // now
  Ended ended = Ended::kComplete;
};

// `count` requests; the ones that are the same are asked once. Errors: kUnreachable when the server is gone,
// kUnauthenticated, those of the journal; what was answered is kept.
[[nodiscard]] Result<Asked> ask_all(std::size_t count, const std::function<Request(std::size_t)>& request,
                                    const RunOptions& options, const Server& server, AnswerJournal& journal);

}  // namespace shoal::evaluation
