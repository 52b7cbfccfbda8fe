// Breaker: whether a target, one model of one provider, is worth asking. It looks at what became of the attempts of the
// last half minute, opens when too many failed, lets one request try again when the cooldown is over, and closes when
// that one is answered.
//
//   std::optional<Breaker::Pass> pass = breaker.enter();  // nothing: leave it alone
//   ...
//   breaker.succeeded(*pass);                             // or failed(), or left() when that says nothing of it
//
// Source of the numbers: GetBusbar/busbar, docs/circuit-breaker.md; LiteLLM's issue 40130 for the longer of two waits.
// Owned by Health. Threads: the I/O thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>

#include "shoal/base/clock.h"

namespace shoal::provider {

// A number from 0 to below 1, each time another.
using Random = std::function<double()>;
[[nodiscard]] Random make_random();

struct BreakerOptions {
  std::int64_t window_ms = 30'000;
  std::size_t min_outcomes = 5;  // fewer say nothing
  double trip_rate = 0.5;        // of the outcomes in the window; more than 1: never
  std::int64_t cooldown_ms = 15'000;
  std::int64_t max_cooldown_ms = 120'000;
};

class Breaker {
 public:
  enum class State : std::uint8_t { kClosed, kHalfOpen, kOpen };

  // One attempt's leave. Ended once, by one of the three calls below.
  struct Pass {
    std::uint64_t generation = 0;  // of the breaker: what began before it tripped says nothing afterwards
    bool probe = false;
  };

  Breaker(BreakerOptions options, const base::Clock& clock, Random random);

  [[nodiscard]] State state() const;
  // Until it may be asked: nothing when it may be now, 0 while another request tries it.
  [[nodiscard]] std::optional<std::int64_t> wait_ms() const;

  [[nodiscard]] std::optional<Pass> enter();
  // Content came: enough to close it. The pass goes on.
  void answers(Pass& pass);
  void succeeded(const Pass& pass);
  // `counts`: false where an earlier attempt of the same request has failed here already, which may be the request's
  // fault. What a probe finds always holds. `retry_after_ms`: what the provider said; it stays open at least so long.
  void failed(const Pass& pass, std::optional<std::int64_t> retry_after_ms, bool counts);
  void left(const Pass& pass);

 private:
  struct Outcome {
    std::int64_t at_ns = 0;
    bool failed = false;
  };

  void note(bool failed);
  [[nodiscard]] bool trips() const;
  void open(std::optional<std::int64_t> retry_after_ms);
  void close();

  const BreakerOptions options_;
  const base::Clock& clock_;
  const Random random_;
  std::deque<Outcome> outcomes_;  // of the window, at most kMaxOutcomes
  std::size_t failures_ = 0;      // among them
  std::uint64_t generation_ = 0;
  std::int64_t streak_ = 0;    // of cooldowns without a success
  std::int64_t until_ns_ = 0;  // of the cooldown
  bool open_ = false;          // or half open
  bool probing_ = false;
};

}  // namespace shoal::provider
