// RetryBudget: how often a provider may be asked twice for the same request. Each request pays in a fifth of a retry,
// and some more come with time, so that a provider which is wholly down sees at most that much more than its requests.
// What is paid in is good for ten seconds. Source: Finagle's RetryBudget, with a floor of 1/s in place of 10.
// Owned by Health. Threads: the I/O thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "shoal/base/clock.h"

namespace shoal::provider {

class RetryBudget {
 public:
  explicit RetryBudget(const base::Clock& clock) : clock_(clock) {}

  // The first attempt of a request.
  void request();
  // One retry; false: there is none left.
  [[nodiscard]] bool withdraw();

  // Since the server began.
  [[nodiscard]] std::uint64_t made() const { return made_; }
  [[nodiscard]] std::uint64_t refused() const { return refused_; }

 private:
  static constexpr std::size_t kSeconds = 10;
  struct Slot {
    std::int64_t second = -1;
    std::int64_t requests = 0;
    std::int64_t retries = 0;
  };
  Slot& now();

  const base::Clock& clock_;
  std::array<Slot, kSeconds> slots_;
  std::uint64_t made_ = 0;
  std::uint64_t refused_ = 0;
};

}  // namespace shoal::provider
