// Expiry: looks once a second for reservations that nobody has ended, a minute after the deadline of their request.
// What they were for is unknown then: each counts at its estimate, in the budgets and in the journal. Owned by cli/'s
// OutsideParts. Threads: the I/O thread.
#pragma once

#include <cstddef>
#include <memory>

#include "shoal/base/clock.h"
#include "shoal/base/log.h"
#include "shoal/gateway/outside.h"

namespace shoal::gateway {

class Expiry {
 public:
  // Everything passed by reference outlives it.
  Expiry(base::Executor executor, Outside& outside, const base::Clock& clock, base::Log& log);
  Expiry(const Expiry&) = delete;
  Expiry& operator=(const Expiry&) = delete;
  ~Expiry();

  // No more looks: the server ends.
  void stop();
  // Looks now; how many it ended.
  std::size_t sweep();

 private:
  void sweep_later();

  Outside& outside_;
  const base::Clock& clock_;
  base::Log& log_;
  base::Timer timer_;
  // Gone when it is stopped: a wait that was done when it was cancelled still reports.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace shoal::gateway
