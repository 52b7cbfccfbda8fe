// The life of a request. Read it from the top: admit, route, draft locally or ask a provider, keep, reply, settle.
#include "shoal/gateway/pipeline.h"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <boost/asio/steady_timer.hpp>

#include "shoal/base/ids.h"
#include "shoal/gateway/draft.h"
#include "shoal/gateway/local_requests.h"
#include "shoal/gateway/receipts.h"
#include "shoal/gateway/remote_call.h"
#include "shoal/gateway/resolve.h"
#include "shoal/provider/failure.h"
#include "shoal/routing/plan.h"
#include "shoal/routing/prefix_judge.h"

namespace shoal::gateway {
namespace {

using routing::Candidate;
using routing::Verdict;

template <class T>
bool has(const std::vector<T>& all, const T& one) {
  return std::ranges::find(all, one) != all.end();
}

// One request on its way. Lives on the stack of its coroutine.
class Life {
 public:
  Life(engine::Engine& engine, Outside* outside, const base::Clock& clock, const PipelineOptions& options,
       AnswerRequest& request, AnswerSink& sink)
      : engine_(engine),
        outside_(outside),
        clock_(clock),
        options_(options),
        request_(request),
        sink_(sink),
        admitted_ns_(clock.monotonic_ns()) {}

  // Errors: whatever the client is to be told.
  Result<void> run(base::Yield yield) {
    // --- admit: one deadline for everything that follows, retries and all.
    deadline_ = base::Deadline::after_ms(clock_, options_.request_timeout_ms);
    deadline_.at_ns = std::min(deadline_.at_ns, request_.deadline.at_ns);
    if (sink_.streams()) wake_ = base::Deadline::after_ms(clock_, options_.hold_ms);
    assert(!request_.prompts.empty() && request_.params.n >= 1);
    receipt_.decision_id = base::random_id();

    // --- route: who may answer, in which order; what falls out is named.
    Resolved resolved = SHOAL_TRY(resolve(engine_, outside_, options_.default_model, request_));
    route_ = std::move(resolved.route);
    const routing::Route& route = route_;
    receipt_.route = route.name;
    routing::Plan plan = routing::plan(route, {request_.needs, request_.local_only, request_.prefer}, resolved.world);
    receipt_.reasons = std::move(plan.reasons);
    if (plan.candidates.empty()) return *std::move(plan.refusal);
    calibration_ = resolved.calibration;

    // --- draft locally, or ask a provider; again or on to the next one when that may help, until the client has seen a
    // byte.
    std::optional<Error> told;  // what the client gets when nobody answers
    for (std::size_t at = 0;;) {
      last_ = {};
      auto kept = attempt(plan.candidates[at], route, at > 0, yield);
      if (kept.ok()) return {};
      const Error failed = std::move(kept).error();
      // Why another attempt was not even begun is no news to the client.
      if (!told || last_.sent || plan.candidates[at].local || told->code() == ErrorCode::kLowConfidence) told = failed;
      // FENCE: what the client has seen is never replaced.
      if (sink_.committed()) break;
      const std::optional<std::size_t> next = SHOAL_TRY(go_on(failed, plan.candidates, at, route, yield));
      if (!next) break;
      at = *next;
    }
    return final_error(*std::move(told));
  }

  // --- settle: what it cost is final now, and the receipt is kept.
  void close(int status) {
    if (outside_ == nullptr || std::exchange(closed_, true)) return;
    if (remote_attempts_ > 0) receipt_.billed_micro = outside_->book.finish(receipt_.decision_id).billed.value;
    add_comparison(receipt_, *outside_->config, route_, clock_.unix_seconds());
    keep_receipt(*outside_, receipt_, request_, clock_, status);
  }

 private:
  // What one candidate says, to its end.
  Result<void> attempt(const Candidate& candidate, const routing::Route& route, bool moved, base::Yield yield) {
    receipt_.raw = false;
    if (candidate.local) return draft(candidate, route, moved, yield);
    const routing::RemoteTarget& target = route.remote[candidate.remote];
    receipt_.model = target.provider + "/" + target.model;
    receipt_.decision = moved ? types::Decision::kEscalated : types::Decision::kRemote;
    RemoteCall::Options options;
    options.attempt = fmt::format("{}-{}", receipt_.decision_id, ++remote_attempts_);
    options.request = receipt_.decision_id;
    options.principal = request_.principal.id;
    options.route = route.name;
    options.deadline = deadline_;
    if (route.cost_cap_micro)
      options.cost_cap_micro =
          std::max<std::int64_t>(*route.cost_cap_micro - ledger::round_up_to_micro(spent_).value, 0);
    options.fresh = std::exchange(fresh_, false);
    options.counts = !has(counted_, candidate.remote);
    first_time_at(target.provider);
    RemoteCall call(*outside_, request_, target, std::move(options));
    receipt_.raw = call.raw();
    auto sent = call.send(clock_, yield);
    // The client is told with the first byte of the answer.
    if (call.sent()) note_egress(target.provider);
    auto said = sent.ok() ? relay(call, "waiting for " + target.provider, nullptr, yield) : std::move(sent);
    if (!said.ok()) call.give_up(said.error(), clock_, yield);
    note_end(call.end(), candidate, !said.ok());
    SHOAL_TRY(std::move(said));
    receipt_.usage = call.usage();
    receipt_.durability = egress::durability_name(call.durability());
    if (const auto limit = call.added_limit()) {
      receipt_.reasons.push_back({"max_tokens", "none", "always bounded", fmt::format("set to {}", *limit)});
    }
    if (call.durability() == egress::Durability::kStrict)
      SHOAL_TRY(outside_->gate.synced(call.end().journaled, deadline_, yield));
    return reply(&call, yield);
  }

  // What the local model says, to its end; or until it is clear that it is not sure enough: kLowConfidence.
  Result<void> draft(const Candidate& candidate, const routing::Route& route, bool moved, base::Yield yield) {
    receipt_.model = route.local;
    receipt_.decision = moved ? types::Decision::kFailedOver : types::Decision::kLocal;
    receipt_.usage = {};
    receipt_.timings = {};
    Draft answers(engine_, local_requests(request_, route.local, deadline_, sink_.streams()), request_.cancel, yield);
    std::optional<routing::PrefixJudge> judge;
    if (candidate.judged) {
      judge.emplace(routing::JudgeOptions{.answers = request_.answers(),
                                          .threshold = route.threshold,
                                          .commit_tokens = route.commit_tokens,
                                          .commit_ms = route.commit_ms,
                                          .streams = sink_.streams() && route.latency == routing::Latency::kInteractive,
                                          .keep_unknown = route.on_null_confidence == routing::NullConfidence::kKeep,
                                          .tables = calibration_});
      receipt_.threshold = route.threshold;
      commit_by_.at_ns = admitted_ns_ + route.commit_ms * 1'000'000;
    }
    SHOAL_TRY(relay(answers, "loading " + route.local, judge ? &*judge : nullptr, yield));
    return reply(nullptr, yield);
  }

  // Passes on what comes, until all answers are complete. `judge`, of a local model's answers, may be null.
  Result<void> relay(AnswerStream& stream, const std::string& waiting_for, routing::PrefixJudge* judge,
                     base::Yield yield) {
    std::size_t open = request_.answers();
    std::size_t started = 0;
    receipt_.signals.assign(open, {});
    receipt_.hidden_states.assign(request_.params.hidden_state ? request_.prompts.size() : 0, {});
    while (open > 0) {
      const bool judging = judge != nullptr && judge->verdict() == Verdict::kWait && !commit_by_.never();
      std::optional<AnswerEvent> event =
          stream.next(clock_, judging && commit_by_.at_ns < wake_.at_ns ? commit_by_ : wake_, yield);
      if (!event && judging && commit_by_.passed(clock_)) {
        // FENCE: the client waits no longer than commit_ms for a local answer that may still be thrown away.
        judge->late();
        SHOAL_TRY(heed(*judge));
        commit_by_ = {};
        continue;
      }
      if (!event) {
        // FENCE: the status line leaves now; what fails after this is an error frame in a 200. It names no model.
        if (!sink_.open()) SHOAL_TRY(sink_.open_stream(yield));
        SHOAL_TRY(sink_.ping(started == 0 ? waiting_for : std::string("ping"), yield));
        wake_ = base::Deadline::after_ms(clock_, options_.ping_interval_ms);
        continue;
      }
      if (auto* error = std::get_if<Error>(&event->what)) return std::move(*error);
      if (std::holds_alternative<Started>(event->what)) {
        if (started++ == 0) started_ns_ = clock_.monotonic_ns();
        continue;
      }
      if (auto* remote = std::get_if<types::RemoteEvent>(&event->what)) {
        started = 1;
        if (remote->last) open = 0;
        // FENCE: a provider's first content commits, not its first byte: what only says that it began is held back.
        if (sink_.streams() && !sink_.committed() && !shows(*remote)) {
          held_.push_back(std::move(*remote));
          continue;
        }
        if (sink_.streams()) SHOAL_TRY(commit(yield));
        SHOAL_TRY(sink_.relay(std::move(*remote), yield));
      } else {
        // FENCE: the first token commits. A prompt that does not fit or a worker that cannot start has failed before
        // this line, with a status of its own; what fails after it is an error frame.
        assert(started > 0);
        if (std::holds_alternative<engine::FinishEvent>(event->what)) --open;
        if (judge != nullptr && judge->verdict() == Verdict::kWait) {
          hear(*event, *judge);
          SHOAL_TRY(heed(*judge));
          // FENCE: what may still be thrown away is shown to no client.
          if (sink_.streams() && judge->verdict() == Verdict::kWait) {
            held_local_.push_back(*std::move(event));
            continue;
          }
        }
        if (sink_.streams()) SHOAL_TRY(commit(yield));
        SHOAL_TRY(say(*event, yield));
      }
      if (sink_.streams()) wake_ = base::Deadline::after_ms(clock_, options_.ping_interval_ms);
    }
    return {};
  }

  static void hear(const AnswerEvent& event, routing::PrefixJudge& judge) {
    if (const auto* token = std::get_if<engine::TokenEvent>(&event.what)) {
      judge.add(event.answer, token->token);
    } else {
      judge.finish(event.answer);
    }
  }

  // --- judge: how sure it is goes into the receipt, whatever comes of it. Errors: kLowConfidence.
  Result<void> heed(const routing::PrefixJudge& judge) {
    if (judge.verdict() == Verdict::kWait) return {};
    receipt_.confidence = judge.confidence();
    receipt_.reasons.push_back(judge.reason());
    if (judge.verdict() == Verdict::kKeep) return {};
    unsure_ = true;
    // What was computed in vain is paid for all the same.
    if (started_ns_ > 0)
      receipt_.timings.decode_us = static_cast<std::uint64_t>(clock_.monotonic_ns() - started_ns_) / 1000;
    return Error(ErrorCode::kLowConfidence,
                 fmt::format("{} was not sure enough of its answer: {} {}, wanted {}", receipt_.model,
                             judge.reason().signal, judge.reason().value, judge.reason().rule));
  }

  // More of a local answer, or its end.
  Result<void> say(AnswerEvent& event, base::Yield yield) {
    if (auto* token = std::get_if<engine::TokenEvent>(&event.what))
      return sink_.token(event.answer, token->token, token->text, yield);
    auto& finish = std::get<engine::FinishEvent>(event.what);
    SHOAL_TRY(sink_.finished(event.answer, finish.reason, finish.text, yield));
    add_finished(receipt_, request_, event.answer, finish);
    return {};
  }

  static bool shows(const types::RemoteEvent& event) {
    return event.last || std::ranges::any_of(event.deltas, [](const types::AnswerDelta& delta) {
             return delta.has_content() || delta.finish;
           });
  }

  Result<void> commit(base::Yield yield) {
    if (sink_.committed()) return {};
    SHOAL_TRY(sink_.commit(receipt_, yield));
    for (types::RemoteEvent& event : std::exchange(held_, {})) SHOAL_TRY(sink_.relay(std::move(event), yield));
    for (AnswerEvent& event : std::exchange(held_local_, {})) SHOAL_TRY(say(event, yield));
    return {};
  }

  // --- reply: the receipt, with what it cost, ends the answer.
  Result<void> reply(RemoteCall* call, base::Yield yield) {
    SHOAL_TRY(commit(yield));
    close(200);
    SHOAL_TRY(sink_.done(receipt_, yield));
    if (call != nullptr) call->release(yield);
    return {};
  }

  // Whom to ask after a failure: the same target at once, where another connection or another key may help; else the
  // next candidate; else, when it may pass by itself, the same target after a pause. Nothing: nobody. Errors:
  // kCancelled.
  Result<std::optional<std::size_t>> go_on(const Error& error, const std::vector<Candidate>& all, std::size_t at,
                                           const routing::Route& route, base::Yield yield) {
    const Candidate& now = all[at];
    const bool more = remote_attempts_ < route.max_attempts;
    if (!now.local && more && (last_.stale || (last_.other_key && may_ask(now, route, error)))) {
      fresh_ = last_.stale;
      note_move(error, last_.stale ? "ask again on another connection" : "ask again with another key");
      return at;
    }
    for (std::size_t i = at + 1; i < all.size(); ++i) {
      const Candidate& next = all[i];
      // A second look at the local model is for an answer that was thrown away, and nobody has a better one.
      if (next.fallback && !unsure_) continue;
      if (!may_go_on(error, now, next, route)) continue;
      if (!next.local && !(more && may_ask(next, route, error))) continue;
      note_move(error, "go on with " + (next.local ? route.local : name_of(route.remote[next.remote])));
      return i;
    }
    if (now.local || !more || provider::class_of(error) != provider::FailureClass::kTransient) return std::nullopt;
    if (!SHOAL_TRY(wait_for(now, route, error, yield))) return std::nullopt;
    return at;
  }

  // Whether asking somebody else may help, and the route allows it.
  static bool may_go_on(const Error& error, const Candidate& now, const Candidate& next, const routing::Route& route) {
    if (error.code() == ErrorCode::kLowConfidence) return !next.local;
    if (!error.info().escalatable && error.code() != ErrorCode::kBudgetExhausted) return false;
    if (error.code() == ErrorCode::kBudgetExhausted) return next.local && route.local_on_budget;
    if (next.local) return route.local_on_remote_errors;
    return !now.local || route.escalate_local_errors;
  }

  // Whether a provider can be asked now, and, where it has had an attempt of this request, may be once more. A key that
  // is refused is refused once, so trying another costs the budget nothing.
  bool may_ask(const Candidate& next, const routing::Route& route, const Error& error) {
    const routing::RemoteTarget& target = route.remote[next.remote];
    const routing::RemoteState state = state_of(*outside_, target);
    if (state.out) {
      receipt_.reasons.push_back({state.signal, state.value.empty() ? std::string(state.out->info().slug) : state.value,
                                  "ready", "skip " + name_of(target)});
      return false;
    }
    if (error.code() == ErrorCode::kUpstreamRefused || !has(asked_, target.provider)) return true;
    return withdraw(target);
  }

  bool withdraw(const routing::RemoteTarget& target) {
    const auto provider = outside_->config->providers.find(target.provider);
    if (provider && provider->health().retries().withdraw()) return true;
    no_budget_ = true;
    receipt_.reasons.push_back(
        {"retry_budget", "used up", "a fifth of the requests", "no retry at " + target.provider});
    return false;
  }

  // Waits before the same target is asked again: a random while, and as long as it wants. False: that is not worth it.
  Result<bool> wait_for(const Candidate& now, const routing::Route& route, const Error& error, base::Yield yield) {
    const routing::RemoteTarget& target = route.remote[now.remote];
    const auto provider = outside_->config->providers.find(target.provider);
    if (!provider) return false;
    const std::int64_t ms = provider->health().backoff_ms(remote_attempts_) + error.retry_after_ms().value_or(0);
    if (deadline_.left_ns(clock_) / 1'000'000 <= ms) return false;
    if (const auto outage = provider->health().outage(target.model); outage && outage->signal == "breaker")
      return false;
    if (!withdraw(target)) return false;
    note_move(error, fmt::format("ask again after {} ms", ms));
    SHOAL_TRY(pause(ms, "waiting for " + target.provider, yield));
    const routing::RemoteState state = state_of(*outside_, target);
    return !state.out.has_value();
  }

  Result<void> pause(std::int64_t ms, const std::string& waiting_for, base::Yield yield) {
    const base::Deadline until = base::Deadline::after_ms(clock_, ms);
    base::asio::steady_timer timer(yield.get_executor());
    const std::stop_callback gone(request_.cancel, [&timer] { timer.cancel(); });
    while (!until.passed(clock_) && !request_.cancel.stop_requested()) {
      timer.expires_after(std::chrono::nanoseconds(std::min(until.left_ns(clock_), wake_.left_ns(clock_))));
      base::error_code woken;
      timer.async_wait(yield[woken]);
      if (!wake_.passed(clock_)) continue;
      if (!sink_.open()) SHOAL_TRY(sink_.open_stream(yield));
      SHOAL_TRY(sink_.ping(waiting_for, yield));
      wake_ = base::Deadline::after_ms(clock_, options_.ping_interval_ms);
    }
    if (request_.cancel.stop_requested()) return Error(ErrorCode::kCancelled, "the client went away");
    return {};
  }

  // Each request pays into the retry budget of each provider that it asks, once.
  void first_time_at(const std::string& provider) {
    if (has(asked_, provider)) return;
    asked_.push_back(provider);
    if (const auto found = outside_->config->providers.find(provider)) found->health().retries().request();
  }

  void note_end(const AttemptEnd& end, const Candidate& candidate, bool failed) {
    last_ = end;
    spent_ += end.cost;
    // Failing once more says nothing new of the target: it may be the request's fault.
    if (failed && end.sent && !end.stale) counted_.push_back(candidate.remote);
  }

  // A client that repeats what was repeated already would multiply it. What passes by itself says when.
  Error final_error(Error error) const {
    const bool passes = error.info().http_status == 429 || error.code() == ErrorCode::kProviderDown;
    if ((remote_attempts_ < 2 && !no_budget_) || (passes && error.retry_after_ms())) return error;
    return std::move(error).with_no_retry();
  }

  static std::string name_of(const routing::RemoteTarget& target) { return target.provider + "/" + target.model; }

  void note_move(const Error& error, std::string effect) {
    // Of confidence the judge has told.
    if (error.code() != ErrorCode::kLowConfidence)
      receipt_.reasons.push_back({"error", std::string(error.info().slug), receipt_.model, std::move(effect)});
    held_.clear();
    held_local_.clear();
    sink_.discard();
  }

  void note_egress(const std::string& provider) {
    if (receipt_.egress == "none") {
      receipt_.egress = provider;
    } else if (receipt_.egress.find(provider) == std::string::npos) {
      receipt_.egress += "," + provider;
    }
  }

  engine::Engine& engine_;
  Outside* const outside_;
  const base::Clock& clock_;
  const PipelineOptions& options_;
  AnswerRequest& request_;
  AnswerSink& sink_;
  base::Deadline deadline_;
  base::Deadline wake_;
  routing::Route route_;
  types::Receipt receipt_;
  routing::Calibration calibration_;  // of the local model
  base::Deadline commit_by_;          // a judged answer is sure by then, or is not
  std::int64_t admitted_ns_;
  std::int64_t started_ns_ = 0;  // the local model took the prompt
  bool unsure_ = false;          // its answer was thrown away
  std::vector<types::RemoteEvent> held_;
  std::vector<AnswerEvent> held_local_;  // until the judge has spoken
  std::int32_t remote_attempts_ = 0;
  AttemptEnd last_;                   // of the latest attempt at a provider
  ledger::Pico spent_;                // by all of them
  std::vector<std::string> asked_;    // providers
  std::vector<std::size_t> counted_;  // targets whose failure counts already, as indices into Route::remote
  bool fresh_ = false;                // the next attempt needs a connection of its own
  bool no_budget_ = false;            // a retry was not made, for there were too many
  bool closed_ = false;
};

}  // namespace

Pipeline::Pipeline(engine::Engine& engine, Outside* outside, const base::Clock& clock, base::Log& log,
                   PipelineOptions options)
    : engine_(engine), outside_(outside), clock_(clock), log_(log), options_(std::move(options)) {}

void Pipeline::answer(AnswerRequest request, AnswerSink& sink, base::Yield yield) {
  Life life(engine_, outside_, clock_, options_, request, sink);
  auto done = life.run(yield);
  if (done.ok()) return;
  const Error& error = done.error();
  life.close(error.info().http_status);
  log_.info("request failed", {{"request", request.id}, {"code", error.info().slug}, {"committed", sink.committed()}});
  sink.fail(error, yield);
}

std::vector<types::OtherModel> Pipeline::other_models() const {
  std::vector<types::OtherModel> all;
  if (outside_ == nullptr) return all;
  for (const routing::Route& route : outside_->config->routes) all.push_back({route.name, {}});
  for (const auto& provider : outside_->config->providers.all()) {
    const provider::ProviderOptions& options = provider->options();
    for (const std::string& model : options.models) all.push_back({options.name + "/" + model, options.name});
  }
  return all;
}

Result<Explanation> Pipeline::explain(const AnswerRequest& request) const {
  return gateway::explain(engine_, outside_, clock_, options_.default_model, request);
}

}  // namespace shoal::gateway
