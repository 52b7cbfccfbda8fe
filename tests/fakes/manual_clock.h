// A clock that stands still until the test moves it. Owned by the test. Threads: one.
#pragma once

#include <cstdint>

#include "shoal/base/clock.h"

namespace shoal::fakes {

class ManualClock final : public base::Clock {
 public:
  [[nodiscard]] std::int64_t monotonic_ns() const override { return now_ns; }
  [[nodiscard]] std::int64_t unix_ms() const override { return 1'790'000'000'000 + now_ns / 1'000'000; }
  void pass_ms(std::int64_t ms) { now_ns += ms * 1'000'000; }

  std::int64_t now_ns = 1'000'000'000'000;
};

}  // namespace shoal::fakes
