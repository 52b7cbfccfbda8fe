#include "shoal/engine/core_share.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace shoal::engine {

CoreArbiter::Id CoreShare::add(std::uint32_t threads, CoreArbiter::Send send) {
  const CoreArbiter::Id id = arbiter_.add(threads, std::move(send), clock_.monotonic_ns());
  arm();
  return id;
}

void CoreShare::loaded(CoreArbiter::Id id) {
  arbiter_.loaded(id, clock_.monotonic_ns());
  arm();
}

void CoreShare::remove(CoreArbiter::Id id) {
  arbiter_.remove(id, clock_.monotonic_ns());
  arm();
}

void CoreShare::want(CoreArbiter::Id id, bool wants) {
  arbiter_.want(id, wants, clock_.monotonic_ns());
  arm();
}

Result<void> CoreShare::held(CoreArbiter::Id id, const ipc::LeaseHeld& held) {
  SHOAL_TRY(arbiter_.held(id, held, clock_.monotonic_ns()));
  arm();
  return {};
}

// A timer that is not needed any more may ring: a tick too many changes nothing.
void CoreShare::arm() {
  const std::optional<std::int64_t> due_ns = arbiter_.due_ns();
  if (!due_ns || (armed_ns_ && *armed_ns_ <= *due_ns)) return;
  armed_ns_ = due_ns;
  timer_.expires_after(std::chrono::nanoseconds(std::max<std::int64_t>(*due_ns - clock_.monotonic_ns(), 0)));
  timer_.async_wait([this, alive = std::weak_ptr(alive_)](base::error_code ec) {
    if (ec || alive.expired()) return;
    armed_ns_.reset();
    arbiter_.tick(clock_.monotonic_ns());
    arm();
  });
}

}  // namespace shoal::engine
