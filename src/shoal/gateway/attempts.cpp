#include "shoal/gateway/attempts.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "shoal/gateway/resolve.h"
#include "shoal/provider/failure.h"

namespace shoal::gateway {
namespace {

using routing::Candidate;

template <class T>
bool has(const std::vector<T>& all, const T& one) {
  return std::ranges::find(all, one) != all.end();
}

std::string name_of(const routing::RemoteTarget& target) {
  return target.provider + "/" + target.model;
}

}  // namespace

Attempts::Begun Attempts::begin(std::size_t remote) {
  const std::string& provider = route_.remote[remote].provider;
  // Each request pays into the retry budget of each provider that it asks, once.
  if (!has(asked_, provider)) {
    asked_.push_back(provider);
    if (const auto found = outside_->config->providers.find(provider)) found->health().retries().request();
  }
  Begun begun{.number = ++number_,
              .cost_cap_micro = route_.cost_cap_micro,
              .fresh = std::exchange(fresh_, false),
              .counts = !has(counted_, remote)};
  if (begun.cost_cap_micro) {
    const std::int64_t left = *begun.cost_cap_micro - ledger::round_up_to_micro(spent_).value;
    begun.cost_cap_micro = std::max<std::int64_t>(left, 0);
  }
  return begun;
}

void Attempts::ended(std::size_t remote, const AttemptEnd& end, bool failed) {
  last_ = end;
  spent_ += end.cost;
  journaled_ = journaled_ || end.in_journal;
  // Failing once more says nothing new of the target: it may be the request's fault.
  if (failed && end.sent && !end.stale) counted_.push_back(remote);
}

// The same target at once, where another connection or another key may help; else the next candidate; else, when it may
// pass by itself, the same target after a pause.
std::optional<NextAttempt> Attempts::after(const Error& error, const std::vector<Candidate>& all, std::size_t at,
                                           bool thrown_away, base::Deadline deadline, const base::Clock& clock) {
  if (deadline.passed(clock)) return std::nullopt;
  const Candidate& now = all[at];
  const AttemptEnd last = std::exchange(last_, std::nullopt).value_or(AttemptEnd());
  const bool more = number_ < route_.max_attempts;
  if (!now.local && more && (last.stale || (last.other_key && may_ask(route_.remote[now.remote], error)))) {
    fresh_ = last.stale;
    return NextAttempt{at, last.stale ? "ask again on another connection" : "ask again with another key"};
  }
  for (std::size_t i = at + 1; i < all.size(); ++i) {
    const Candidate& next = all[i];
    // A second look at the local model is for an answer that was thrown away, and nobody has a better one.
    if ((next.fallback && !thrown_away) || !may_go_on(error, now, next)) continue;
    if (!next.local && !(more && may_ask(route_.remote[next.remote], error))) continue;
    return NextAttempt{i, "go on with " + (next.local ? route_.local : name_of(route_.remote[next.remote]))};
  }
  if (now.local || !more || provider::class_of(error) != provider::FailureClass::kTransient) return std::nullopt;
  const auto wait = wait_ms(route_.remote[now.remote], error, deadline, clock);
  if (!wait) return std::nullopt;
  return NextAttempt{at, fmt::format("ask again after {} ms", *wait), *wait};
}

// Whether asking somebody else may help, and the route allows it.
bool Attempts::may_go_on(const Error& error, const Candidate& now, const Candidate& next) const {
  if (error.code() == ErrorCode::kLowConfidence) return !next.local;
  // Another provider has a budget of its own, and may cost less, or nothing. That of escalations is for all of them.
  if (error.code() == ErrorCode::kBudgetExhausted) return !now.local && (!next.local || route_.local_on_budget);
  // A provider that does not know the model that the route names is no fault of the client's.
  const bool wrong_target = !now.local && error.code() == ErrorCode::kModelNotFound;
  const bool gate_shut = error.code() == ErrorCode::kJournalFailed && next.local;
  if (!error.info().escalatable && !wrong_target && !gate_shut) return false;
  if (next.local) return route_.local_on_remote_errors;
  return !now.local || route_.escalate_local_errors;
}

bool Attempts::ready(const routing::RemoteTarget& target) {
  const routing::RemoteState state = state_of(*outside_, target);
  if (!state.out) return true;
  reasons_.push_back({state.signal, state.value.empty() ? std::string(state.out->info().slug) : state.value, "ready",
                      "skip " + name_of(target)});
  return false;
}

// Where a provider has had an attempt of this request, another one is paid for. A key that is refused is refused once,
// so trying another costs the budget nothing.
bool Attempts::may_ask(const routing::RemoteTarget& target, const Error& error) {
  if (!ready(target)) return false;
  if (error.code() == ErrorCode::kUpstreamRefused || !has(asked_, target.provider)) return true;
  return withdraw(target);
}

bool Attempts::withdraw(const routing::RemoteTarget& target) {
  const auto provider = outside_->config->providers.find(target.provider);
  if (provider && provider->health().retries().withdraw()) return true;
  no_budget_ = true;
  reasons_.push_back({"retry_budget", "used up", "a fifth of the requests", "no retry at " + target.provider});
  return false;
}

// A random while, and as long as the provider wants. Nothing: waiting is not worth it.
std::optional<std::int64_t> Attempts::wait_ms(const routing::RemoteTarget& target, const Error& error,
                                              base::Deadline deadline, const base::Clock& clock) {
  const auto provider = outside_->config->providers.find(target.provider);
  if (!provider) return std::nullopt;
  const std::int64_t ms = provider->health().backoff_ms(number_) + error.retry_after_ms().value_or(0);
  if (deadline.left_ns(clock) / 1'000'000 <= ms) return std::nullopt;
  if (const auto outage = provider->health().outage(target.model); outage && outage->signal == "breaker")
    return std::nullopt;
  if (!withdraw(target)) return std::nullopt;
  return ms;
}

void Attempts::failed(const Error& error, bool local) {
  const bool asked = local || (last_ && last_->sent);
  // That an answer was not sure is nothing to tell when somebody else was to give a better one.
  if (!told_ || asked || told_->code() == ErrorCode::kLowConfidence) told_ = error;
}

// A client that repeats what was repeated already would multiply it. What passes by itself says when.
Error Attempts::last_word() const {
  Error error = *told_;
  const bool passes = error.info().http_status == 429 || error.code() == ErrorCode::kProviderDown;
  if ((number_ < 2 && !no_budget_) || (passes && error.retry_after_ms())) return error;
  return std::move(error).with_no_retry();
}

}  // namespace shoal::gateway
