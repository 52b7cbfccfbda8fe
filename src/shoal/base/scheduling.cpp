#include "shoal/base/scheduling.h"

#include <sys/syscall.h>
#include <unistd.h>

namespace shoal::base {
namespace {

// sched_setattr(2); glibc has no wrapper before 2.41.
struct SchedAttr {
  std::uint32_t size = sizeof(SchedAttr);
  std::uint32_t policy = 0;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime_ns = 0;
  std::uint64_t deadline_ns = 0;
  std::uint64_t period_ns = 0;
};
static_assert(sizeof(SchedAttr) == 48);

constexpr std::uint64_t kResetOnFork = 1;

}  // namespace

bool ask_for_turns_of(std::int64_t ns) {
  SchedAttr attr;
  if (syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0) != 0 || attr.policy != 0) return false;
  attr.size = sizeof attr;
  attr.flags |= kResetOnFork;
  attr.runtime_ns = static_cast<std::uint64_t>(ns);
  return syscall(SYS_sched_setattr, 0, &attr, 0) == 0;
}

}  // namespace shoal::base
