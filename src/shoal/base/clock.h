// Time: monotonic nanoseconds for every limit and lease, wall time only to show. Injected so that tests
// can freeze it. Deadline is absolute and travels with a request through queues, processes and retries.
// Threads: any.
#pragma once

#include <cstdint>
#include <limits>

namespace shoal::base {

class Clock {
 public:
  virtual ~Clock() = default;
  // CLOCK_MONOTONIC: comparable between processes of one host.
  [[nodiscard]] virtual std::int64_t monotonic_ns() const = 0;
  // Since 1970, UTC.
  [[nodiscard]] virtual std::int64_t unix_ms() const = 0;
  [[nodiscard]] std::int64_t unix_seconds() const { return unix_ms() / 1000; }
};

class SystemClock final : public Clock {
 public:
  [[nodiscard]] std::int64_t monotonic_ns() const override;
  [[nodiscard]] std::int64_t unix_ms() const override;
};

// A point on the monotonic clock. Default: never.
struct Deadline {
  std::int64_t at_ns = std::numeric_limits<std::int64_t>::max();

  [[nodiscard]] static Deadline after_ms(const Clock& clock, std::int64_t ms) {
    return {clock.monotonic_ns() + ms * 1'000'000};
  }
  [[nodiscard]] bool never() const { return at_ns == std::numeric_limits<std::int64_t>::max(); }
  [[nodiscard]] bool passed(const Clock& clock) const { return clock.monotonic_ns() >= at_ns; }
  // Nanoseconds left, never negative.
  [[nodiscard]] std::int64_t left_ns(const Clock& clock) const {
    const std::int64_t left = at_ns - clock.monotonic_ns();
    return left > 0 ? left : 0;
  }
};

}  // namespace shoal::base
