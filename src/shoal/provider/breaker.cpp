#include "shoal/provider/breaker.h"

#include <algorithm>
#include <cassert>
#include <memory>
#include <random>
#include <utility>

namespace shoal::provider {
namespace {

constexpr std::int64_t kNsPerMs = 1'000'000;
constexpr std::size_t kMaxOutcomes = 1024;
// The longest that a provider may ask us to stay away: a day.
constexpr std::int64_t kMaxRetryAfterMs = 86'400'000;
// Cooldowns differ by a tenth both ways, so that many gateways do not come back at once.
constexpr double kJitter = 0.1;

}  // namespace

Random make_random() {
  // No secret depends on it.
  auto engine = std::make_shared<std::minstd_rand>(std::random_device()());
  return [engine] { return std::uniform_real_distribution<>(0, 1)(*engine); };
}

Breaker::Breaker(BreakerOptions options, const base::Clock& clock, Random random)
    : options_(options), clock_(clock), random_(std::move(random)) {}

Breaker::State Breaker::state() const {
  if (!open_) return State::kClosed;
  return clock_.monotonic_ns() < until_ns_ ? State::kOpen : State::kHalfOpen;
}

std::optional<std::int64_t> Breaker::wait_ms() const {
  switch (state()) {
    case State::kClosed:
      return std::nullopt;
    case State::kOpen:
      return (until_ns_ - clock_.monotonic_ns() + kNsPerMs - 1) / kNsPerMs;
    case State::kHalfOpen:
      break;
  }
  return probing_ ? std::optional<std::int64_t>(0) : std::nullopt;
}

std::optional<Breaker::Pass> Breaker::enter() {
  if (wait_ms()) return std::nullopt;
  const bool probe = open_;
  if (probe) probing_ = true;
  return Pass{generation_, probe};
}

void Breaker::answers(Pass& pass) {
  if (!pass.probe) return;
  close();
  pass = {generation_, false};
}

void Breaker::succeeded(const Pass& pass) {
  if (pass.probe) close();
  if (pass.probe || pass.generation == generation_) note(false);
}

void Breaker::failed(const Pass& pass, std::optional<std::int64_t> retry_after_ms, bool counts) {
  if (pass.probe) {
    ++streak_;
    open(retry_after_ms);
    return;
  }
  if (pass.generation != generation_) {
    // It began before the breaker tripped. What the provider asks for is news all the same.
    if (open_ && retry_after_ms) {
      const std::int64_t ms = std::min(*retry_after_ms, kMaxRetryAfterMs);
      until_ns_ = std::max(until_ns_, clock_.monotonic_ns() + ms * kNsPerMs);
    }
    return;
  }
  if (!counts) return;
  note(true);
  if (trips()) open(retry_after_ms);
}

void Breaker::left(const Pass& pass) {
  if (pass.probe) probing_ = false;
}

void Breaker::note(bool failed) {
  const std::int64_t now = clock_.monotonic_ns();
  while (!outcomes_.empty() &&
         (outcomes_.size() >= kMaxOutcomes || outcomes_.front().at_ns <= now - options_.window_ms * kNsPerMs)) {
    failures_ -= outcomes_.front().failed ? 1 : 0;
    outcomes_.pop_front();
  }
  outcomes_.push_back({now, failed});
  failures_ += failed ? 1 : 0;
}

bool Breaker::trips() const {
  return outcomes_.size() >= options_.min_outcomes &&
         static_cast<double>(failures_) >= options_.trip_rate * static_cast<double>(outcomes_.size());
}

void Breaker::open(std::optional<std::int64_t> retry_after_ms) {
  // 2^20 is more than any limit; a longer shift would be undefined.
  const std::int64_t doubled = options_.cooldown_ms << std::min<std::int64_t>(streak_, 20);
  const double jitter = 1 - kJitter + 2 * kJitter * random_();
  auto ms = static_cast<std::int64_t>(static_cast<double>(std::min(doubled, options_.max_cooldown_ms)) * jitter);
  if (retry_after_ms) ms = std::max(ms, std::min(*retry_after_ms, kMaxRetryAfterMs));
  until_ns_ = clock_.monotonic_ns() + ms * kNsPerMs;
  open_ = true;
  probing_ = false;
  ++generation_;
  outcomes_.clear();
  failures_ = 0;
}

void Breaker::close() {
  assert(open_);
  open_ = false;
  probing_ = false;
  streak_ = 0;
  ++generation_;
}

}  // namespace shoal::provider
