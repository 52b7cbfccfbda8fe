#include "shoal/evaluation/run.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "shoal/base/clock.h"
#include "shoal/wire/json_text.h"

namespace shoal::evaluation {
namespace {

constexpr std::int64_t kNapMs = 50;  // between two looks at whether to stop

class Runner {
 public:
  Runner(const Suite& suite, const RunOptions& options, const Server& server, AnswerJournal& journal)
      : suite_(suite), options_(options), server_(server), journal_(journal) {}

  Result<RunResult> run() {
    const std::size_t rows = options_.limit == 0 ? suite_.rows.size() : std::min(options_.limit, suite_.rows.size());
    for (const std::string& route : options_.routes) {
      RouteResult& one = result_.routes.emplace_back();
      one.route = route;
      one.identity = SHOAL_TRY(server_.identity(route));
      one.rows.resize(rows);
    }
    all_ = rows * options_.routes.size();
    began_ns_ = clock_.monotonic_ns();
    {
      std::vector<std::jthread> threads;
      for (std::size_t i = 0; i < std::max<std::size_t>(options_.parallel, 1); ++i)
        threads.emplace_back([this] { work(); });
    }
    for (const auto& [key, row] : repeated_) {
      if (const auto found = journal_.find(key)) done(*row, *found, true);
    }
    auto synced = journal_.sync();
    if (failed_) return *std::move(failed_);
    if (!synced.ok()) return std::move(synced).error();
    return std::move(result_);
  }

 private:
  // Row by row, each through all routes, so that a run that ended early has pairs to compare.
  void work() {
    for (;;) {
      const std::size_t at = next_++;
      if (at >= all_) return;
      if (server_.interrupted()) return end(Ended::kInterrupted);
      {
        const std::lock_guard lock(mutex_);
        if (stopped_) return;
      }
      RouteResult& route = result_.routes[at % result_.routes.size()];
      one(route, at / result_.routes.size());
    }
  }

  void one(RouteResult& route, std::size_t row) {
    const std::string body = chat_body(suite_, suite_.rows[row], route.route);
    const std::string key = answer_key(route.route, route.identity, body);
    RowResult& out = route.rows[row];
    if (!claim(key)) {
      // The same question stands in another row, and is being asked.
      const std::lock_guard lock(mutex_);
      repeated_.push_back({key, &out});
      return;
    }
    const std::optional<Answer> kept = options_.fresh ? std::nullopt : journal_.find(key);
    if (kept && kept->error.empty()) return done(out, *kept, true);
    const std::optional<double> reserved = reserve(body);
    if (!reserved) return;
    auto asked = ask(body, *reserved);
    if (!asked) return;
    const Result<void> written = journal_.add(key, suite_.rows[row].id, route.route, *asked);
    if (!written.ok()) return fail(written.error());
    done(out, *asked, false);
  }

  // Each key is asked by one thread. Rows that repeat a question have its answer at the end.
  bool claim(const std::string& key) {
    const std::lock_guard lock(mutex_);
    return claimed_.insert(key).second;
  }

  // Nothing: the run ends. Else an answer, with `error` when every attempt failed.
  std::optional<Answer> ask(const std::string& body, double reserved) {
    for (std::size_t attempt = 1;; ++attempt) {
      const std::int64_t began_ns = clock_.monotonic_ns();
      auto asked = server_.ask(body);
      if (asked.ok()) {
        asked->latency_ms = static_cast<double>(clock_.monotonic_ns() - began_ns) / 1e6;
        settle(asked->cost_usd, reserved);
        return std::move(asked).value();
      }
      const Error& error = asked.error();
      if (server_.interrupted() || error.code() == ErrorCode::kCancelled) {
        settle(reserved, reserved);
        end(Ended::kInterrupted);
        return std::nullopt;
      }
      const bool again = error.info().retryable && !error.no_retry() && attempt < options_.attempts;
      if (!again) return give_up(error, reserved);
      if (!nap(std::max(options_.backoff_ms << (attempt - 1), error.retry_after_ms().value_or(0)))) {
        settle(reserved, reserved);
        end(Ended::kInterrupted);
        return std::nullopt;
      }
    }
  }

  std::optional<Answer> give_up(const Error& error, double reserved) {
    // What was spent on it is not known: all that was set aside counts.
    settle(reserved, reserved);
    const bool gone = error.code() == ErrorCode::kUnreachable && !server_.alive();
    if (gone || error.code() == ErrorCode::kUnauthenticated) {
      fail(error);
      return std::nullopt;
    }
    Answer out;
    out.error = fmt::format("{}: {}", error.info().slug, error.message());
    return out;
  }

  // False when the user interrupts.
  bool nap(std::int64_t ms) {
    for (std::int64_t left = ms; left > 0; left -= kNapMs) {
      if (server_.interrupted()) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(std::min(left, kNapMs)));
    }
    return true;
  }

  // --- the budget: what a request may cost at most is set aside before, and settled after.

  // Nothing: the run ends.
  std::optional<double> reserve(const std::string& body) {
    if (!options_.max_usd) return 0;
    const auto most = server_.most_usd(body);
    if (!most.ok()) {
      fail(most.error());
      return std::nullopt;
    }
    std::unique_lock lock(mutex_);
    // Others in flight may turn out cheaper than they might have been.
    settled_.wait(lock, [&] { return stopped_ || in_flight_ == 0 || spent_ + reserved_ + *most <= *options_.max_usd; });
    if (stopped_) return std::nullopt;
    if (spent_ + *most > *options_.max_usd) {
      stopped_ = true;
      result_.ended = Ended::kBudget;
      settled_.notify_all();
      return std::nullopt;
    }
    reserved_ += *most;
    ++in_flight_;
    return *most;
  }

  void settle(double cost, double reserved) {
    const std::lock_guard lock(mutex_);
    spent_ += cost;
    result_.spent_usd = spent_;
    if (!options_.max_usd) return;
    --in_flight_;
    reserved_ = in_flight_ == 0 ? 0 : reserved_ - reserved;  // and not what rounding left of it
    settled_.notify_all();
  }

  // --- ends

  void done(RowResult& out, const Answer& answer, bool kept) {
    const std::lock_guard lock(mutex_);
    out.asked = true;
    out.answer = answer;
    ++(kept ? result_.kept : result_.asked);
    if (!answer.error.empty()) ++result_.errors;
    tell();
  }

  void end(Ended how) {
    const std::lock_guard lock(mutex_);
    if (!stopped_) result_.ended = how;
    stopped_ = true;
    settled_.notify_all();
  }

  void fail(const Error& error) {
    const std::lock_guard lock(mutex_);
    if (!failed_) failed_ = error;
    stopped_ = true;
    settled_.notify_all();
  }

  void tell() {
    if (!options_.note) return;
    const double seconds = static_cast<double>(clock_.monotonic_ns() - began_ns_) / 1e9;
    options_.note({.there = result_.kept + result_.asked,
                   .all = all_,
                   .asked = result_.asked,
                   .errors = result_.errors,
                   .spent_usd = spent_,
                   .per_second = seconds > 0 ? static_cast<double>(result_.asked) / seconds : 0});
  }

  const Suite& suite_;
  const RunOptions& options_;
  const Server& server_;
  AnswerJournal& journal_;
  const base::SystemClock clock_;
  RunResult result_;
  std::size_t all_ = 0;
  std::int64_t began_ns_ = 0;
  std::atomic<std::size_t> next_ = 0;

  std::mutex mutex_;
  std::condition_variable settled_;
  std::set<std::string> claimed_;
  std::vector<std::pair<std::string, RowResult*>> repeated_;
  std::optional<Error> failed_;
  bool stopped_ = false;
  double spent_ = 0;
  double reserved_ = 0;
  std::size_t in_flight_ = 0;
};

}  // namespace

Result<RunResult> run_suite(const Suite& suite, const RunOptions& options, const Server& server,
                            AnswerJournal& journal) {
  return Runner(suite, options, server, journal).run();
}

Result<void> grade_all(const Suite& suite, std::size_t parallel, RunResult& run) {
  const std::size_t rows = run.routes.empty() ? 0 : run.routes.front().rows.size();
  const std::size_t all = rows * run.routes.size();
  std::atomic<std::size_t> next = 0;
  std::atomic<bool> stop = false;
  std::mutex mutex;
  std::optional<Error> failed;
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < std::max<std::size_t>(parallel, 1); ++i) {
      threads.emplace_back([&] {
        for (std::size_t at = next++; at < all && !stop; at = next++) {
          RowResult& row = run.routes[at / rows].rows[at % rows];
          if (!row.asked || !row.answer.error.empty()) continue;
          auto graded = grade(suite.grader, suite.rows[at % rows].gold, row.answer.text);
          if (graded.ok()) {
            row.grade = std::move(graded).value();
          } else if (graded.error().code() == ErrorCode::kInvalidData) {
            row.ungraded = graded.error().message();
          } else {
            const std::lock_guard lock(mutex);
            if (!failed) failed = std::move(graded).error();
            stop = true;
          }
        }
      });
    }
  }
  if (failed) return *std::move(failed);
  return {};
}

}  // namespace shoal::evaluation
