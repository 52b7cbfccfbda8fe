// A clock for tests of the worker: it stands still until a test moves it.
#pragma once

#include <cstdint>

#include "shoal/base/clock.h"

namespace shoal::worker {

class MovedClock final : public base::Clock {
 public:
  [[nodiscard]] std::int64_t monotonic_ns() const override { return 3'600'000'000'000 + moved_ns; }
  [[nodiscard]] std::int64_t unix_ms() const override { return 1'700'000'000'000; }

  std::int64_t moved_ns = 0;
};

}  // namespace shoal::worker
