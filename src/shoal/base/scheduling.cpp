#include "shoal/base/scheduling.h"

#include <utility>

#include <pthread.h>
#include <signal.h>
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

std::thread start_thread(const char* name, std::function<void()> body) {
  // The new thread inherits the mask.
  class Blocked {
   public:
    Blocked() {
      sigset_t all;
      sigfillset(&all);
      pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~Blocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    Blocked(const Blocked&) = delete;
    Blocked& operator=(const Blocked&) = delete;

   private:
    sigset_t before_{};
  };
  const Blocked blocked;
  return std::thread([name, run = std::move(body)] {
    pthread_setname_np(pthread_self(), name);
    run();
  });
}

}  // namespace shoal::base
