// CoreShare: the CoreArbiter of a running gateway, with the clock and a timer for the ends of turns.
// Owned by the Supervisor; the hosts of the models call in. Threads: the I/O thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "shoal/base/async.h"
#include "shoal/base/clock.h"
#include "shoal/base/result.h"
#include "shoal/engine/core_lease.h"
#include "shoal/ipc/frames.h"

namespace shoal::engine {

class CoreShare {
 public:
  CoreShare(const base::Executor& executor, const base::Clock& clock, CoreOptions options)
      : clock_(clock), timer_(executor), arbiter_(options) {}

  // As in CoreArbiter, now.
  [[nodiscard]] CoreArbiter::Id add(std::uint32_t threads, CoreArbiter::Send send);
  void loaded(CoreArbiter::Id id);
  void remove(CoreArbiter::Id id);
  void want(CoreArbiter::Id id, bool wants);
  Result<void> held(CoreArbiter::Id id, const ipc::LeaseHeld& held);
  [[nodiscard]] CoreArbiter::Use use(CoreArbiter::Id id) const { return arbiter_.use(id); }

 private:
  void arm();

  const base::Clock& clock_;
  base::Timer timer_;
  std::optional<std::int64_t> armed_ns_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for handlers that come later than the end of this
  CoreArbiter arbiter_;
};

}  // namespace shoal::engine
