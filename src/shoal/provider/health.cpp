#include "shoal/provider/health.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include <fmt/format.h>

namespace shoal::provider {
namespace {

// Names may be a client's own, where a provider lists no models. Past so many of them, those that nobody asks are
// forgotten.
constexpr std::size_t kMaxTargets = 256;
constexpr std::int64_t kBackoffMs = 250;
constexpr std::int64_t kMaxBackoffMs = 4'000;
// A key that may not do what it was used for is left out for that model for so long.
constexpr std::int64_t kForbiddenMs = 30'000;
// For clients: when nobody can say how long it takes.
constexpr std::int64_t kSoonMs = 1'000;

std::int64_t in_seconds(std::int64_t ms) {
  return (ms + 999) / 1000;
}

}  // namespace

struct Turn::Target {
  std::string model;
  Breaker breaker;
  TargetCounts counts;
};

// --- Turn

Turn::~Turn() {
  if (health_) target_->breaker.left(pass_);
}

void Turn::answers() {
  if (!health_ || !pass_.probe) return;
  const Breaker::State before = target_->breaker.state();
  target_->breaker.answers(pass_);
  health_->tell("a probe is answered", *target_, before);
}

void Turn::succeeded() {
  assert(health_);
  const auto health = std::exchange(health_, nullptr);
  const Breaker::State before = target_->breaker.state();
  target_->breaker.succeeded(pass_);
  health->tell("a probe is answered", *target_, before);
}

Sequel Turn::failed(const Failure& failure) {
  assert(health_);
  const auto health = std::exchange(health_, nullptr);
  ++target_->counts.failures.at(static_cast<std::size_t>(failure.failure));
  const bool refused = failure.failure == FailureClass::kHardDown && !failure.forbidden;
  // The only key does not rest for it: one client's prompt would take the provider away from all.
  const bool forbidden = failure.forbidden && health->keys_.size() > 1;
  const std::int64_t rest_ms = forbidden ? kForbiddenMs : failure.rate_limited ? failure.retry_after_ms.value_or(0) : 0;
  if (key_ && (refused || rest_ms > 0)) {
    // What is wrong with a key says nothing of the model.
    target_->breaker.left(pass_);
    if (refused) {
      health->keys_.refuse(*key_);
    } else {
      health->keys_.rest(*key_, target_->model, rest_ms);
    }
    if (health->log_ != nullptr) {
      health->log_->warn(refused     ? "a provider refused a key: it is left out for 30 min"
                         : forbidden ? "a provider forbids a key a request: it rests"
                                     : "a provider takes no more requests with a key: it rests",
                         {{"provider", health->provider_},
                          {"model", target_->model},
                          {"key", health->keys_.place(*key_)},
                          {"usable", health->keys_.accepted()},
                          {"wait_ms", rest_ms}});
    }
    return {.other_key = health->keys_.has(target_->model)};
  }
  if (failure.failure != FailureClass::kTransient) {
    target_->breaker.left(pass_);
    return {};
  }
  const Breaker::State before = target_->breaker.state();
  target_->breaker.failed(pass_, failure.retry_after_ms, failure.counts);
  health->tell("too many attempts failed", *target_, before);
  return {};
}

// --- Health

Health::Health(std::string provider, const base::Clock& clock, base::Log* log, HealthOptions options)
    : provider_(std::move(provider)),
      clock_(clock),
      log_(log),
      options_{options.breaker, options.random ? std::move(options.random) : make_random()},
      keys_(clock),
      retries_(clock) {}

void Health::tell(std::string_view event, const Target& target, Breaker::State before) {
  const Breaker::State now = target.breaker.state();
  if (log_ == nullptr || now == before) return;
  if (now == Breaker::State::kClosed) {
    log_->info("breaker closed", {{"provider", provider_}, {"model", target.model}, {"reason", event}});
  } else {
    log_->warn("breaker open", {{"provider", provider_},
                                {"model", target.model},
                                {"reason", event},
                                {"wait_ms", target.breaker.wait_ms().value_or(0)}});
  }
}

std::shared_ptr<Turn::Target> Health::target(std::string_view model) {
  const auto found = targets_.find(model);
  if (found != targets_.end()) return found->second;
  if (targets_.size() >= kMaxTargets) {
    std::erase_if(targets_, [](const auto& one) {
      return one.second.use_count() == 1 && one.second->breaker.state() == Breaker::State::kClosed;
    });
  }
  auto made = std::make_shared<Target>(
      Target{std::string(model), Breaker(options_.breaker, clock_, options_.random), TargetCounts()});
  // Where even that leaves no room, the new one is known to its own attempt alone.
  if (targets_.size() < kMaxTargets) targets_.emplace(std::string(model), made);
  return made;
}

Error Health::keys_error(std::string_view model) const {
  const KeyRing::Recovery recovery = keys_.recovery(model);
  if (recovery.refused)
    return {ErrorCode::kUpstreamRefused, fmt::format("{} refused every key of this server", provider_)};
  return Error(ErrorCode::kRateLimited,
               fmt::format("{} takes no more requests for {} s", provider_, in_seconds(recovery.ms)))
      .with_retry_after_ms(recovery.ms);
}

std::optional<Outage> Health::outage(std::string_view model) const {
  if (!keys_.empty() && !keys_.has(model)) {
    return Outage{keys_error(model), "keys",
                  fmt::format("none of {} usable for {} s", keys_.size(), in_seconds(keys_.recovery(model).ms))};
  }
  const auto found = targets_.find(model);
  if (found == targets_.end()) return std::nullopt;
  const auto wait = found->second->breaker.wait_ms();
  if (!wait) return std::nullopt;
  const std::string what = *wait > 0 ? fmt::format("open for {} s", in_seconds(*wait)) : "half-open, being tried";
  return Outage{
      Error(ErrorCode::kProviderDown,
            fmt::format("{}/{} failed too often and is left alone: the breaker is {}", provider_, model, what))
          .with_retry_after_ms(*wait > 0 ? *wait : kSoonMs),
      "breaker", what};
}

Result<Turn> Health::admit(std::string_view model) {
  if (auto out = outage(model)) return std::move(out->error);
  const auto asked = target(model);
  const auto pass = asked->breaker.enter();
  assert(pass);
  ++asked->counts.attempts;
  return Turn(shared_from_this(), asked, keys_.next(model), *pass);
}

std::int64_t Health::backoff_ms(std::int32_t attempt) const {
  const std::int64_t most = std::min(kMaxBackoffMs, kBackoffMs << std::clamp(attempt - 1, 0, 20));
  return static_cast<std::int64_t>(options_.random() * static_cast<double>(most));
}

std::vector<Health::TargetState> Health::targets() const {
  std::vector<TargetState> out;
  for (const auto& [model, target] : targets_) out.push_back({model, target->breaker.state(), target->counts});
  return out;
}

}  // namespace shoal::provider
