#include "shoal/evaluation/asker.h"

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

namespace shoal::evaluation {
namespace {

constexpr std::int64_t kNapMs = 50;  // between two looks at whether to stop
constexpr std::int64_t kMostPauseMs = 60'000;

// It was refused before anything was computed.
bool costs_nothing(ErrorCode code) {
  switch (code) {
    case ErrorCode::kOverloaded:
    case ErrorCode::kRateLimited:
    case ErrorCode::kTooManyConnections:
    case ErrorCode::kModelLoading:
    case ErrorCode::kShuttingDown:
    case ErrorCode::kProviderDown:
    case ErrorCode::kBudgetExhausted:
    case ErrorCode::kUnauthenticated:
      return true;
    default:
      return false;
  }
}

class Asker {
 public:
  Asker(std::size_t count, const std::function<Request(std::size_t)>& request, const RunOptions& options,
        const Server& server, AnswerJournal& journal)
      : request_(request), options_(options), server_(server), journal_(journal) {
    result_.replies.resize(count);
  }

  Result<Asked> run() {
    began_ns_ = clock_.monotonic_ns();
    {
      std::vector<std::jthread> threads;
      for (std::size_t i = 0; i < std::max<std::size_t>(options_.parallel, 1); ++i)
        threads.emplace_back([this] { work(); });
    }
    for (const auto& [key, reply] : repeated_) {
      if (const auto found = journal_.find(key)) done(*reply, *found, true);
    }
    auto synced = journal_.sync();
    if (failed_) return *std::move(failed_);
    if (!synced.ok()) return std::move(synced).error();
    return std::move(result_);
  }

 private:
  void work() {
    for (;;) {
      const std::size_t at = next_++;
      if (at >= result_.replies.size()) return;
      if (server_.interrupted()) return end(Ended::kInterrupted);
      {
        const std::lock_guard lock(mutex_);
        if (stopped_) return;
      }
      one(request_(at), result_.replies[at]);
    }
  }

  void one(const Request& request, Reply& out) {
    const std::string key = answer_key(request.route, request.identity, request.body);
    if (!claim(key)) {
      // The same question stands in another row, and is being asked.
      const std::lock_guard lock(mutex_);
      repeated_.emplace_back(key, &out);
      return;
    }
    const std::optional<Answer> kept = options_.fresh ? std::nullopt : journal_.find(key);
    if (kept && kept->error.empty()) return done(out, *kept, true);
    const std::optional<double> reserved = reserve(request.body);
    if (!reserved) return;
    auto asked = ask(request.body, *reserved);
    if (!asked) return;
    const Result<void> written = journal_.add(key, request.row, request.route, *asked);
    if (!written.ok()) return fail(written.error());
    done(out, *asked, false);
  }

  // Each key is asked by one thread. Requests that repeat one have its answer at the end.
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
      // What was spent on it is not known: all that was set aside counts.
      settle(costs_nothing(error.code()) ? 0 : reserved, reserved);
      if (!again) return give_up(error);
      const std::int64_t pause_ms = std::min(options_.backoff_ms << (attempt - 1), kMostPauseMs);
      if (!nap(std::max(pause_ms, error.retry_after_ms().value_or(0)))) {
        end(Ended::kInterrupted);
        return std::nullopt;
      }
      const std::optional<double> more = reserve(body);
      if (!more) return std::nullopt;
      reserved = *more;
    }
  }

  std::optional<Answer> give_up(const Error& error) {
    const bool gone = error.code() == ErrorCode::kUnreachable && !server_.alive();
    // Of the whole run, not of this question: the next ones would all fail alike.
    if (gone || error.code() == ErrorCode::kUnauthenticated || error.code() == ErrorCode::kBudgetExhausted) {
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

  void done(Reply& out, const Answer& answer, bool kept) {
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
                   .all = result_.replies.size(),
                   .asked = result_.asked,
                   .errors = result_.errors,
                   .spent_usd = spent_,
                   .per_second = seconds > 0 ? static_cast<double>(result_.asked) / seconds : 0});
  }

  const std::function<Request(std::size_t)>& request_;
  const RunOptions& options_;
  const Server& server_;
  AnswerJournal& journal_;
  const base::SystemClock clock_;
  Asked result_;
  std::int64_t began_ns_ = 0;
  std::atomic<std::size_t> next_ = 0;

  std::mutex mutex_;
  std::condition_variable settled_;
  std::set<std::string> claimed_;
  std::vector<std::pair<std::string, Reply*>> repeated_;
  std::optional<Error> failed_;
  bool stopped_ = false;
  double spent_ = 0;
  double reserved_ = 0;
  std::size_t in_flight_ = 0;
};

}  // namespace

Result<Asked> ask_all(std::size_t count, const std::function<Request(std::size_t)>& request, const RunOptions& options,
                      const Server& server, AnswerJournal& journal) {
  return Asker(count, request, options, server, journal).run();
}

}  // namespace shoal::evaluation
