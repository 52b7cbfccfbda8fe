// The kernel takes the wish, and children do not inherit it.
#include "shoal/base/scheduling.h"

#include <array>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

namespace shoal::base {
namespace {

// Of the calling thread, in nanoseconds; before Linux 6.12 always 0.
std::uint64_t turn() {
  std::array<std::uint64_t, 6> attr{};
  if (syscall(SYS_sched_getattr, 0, attr.data(), sizeof attr, 0) != 0) return 0;
  return attr[3];
}

TEST(Scheduling, TurnsAreShortAndOnlyOwn) {
  std::thread([] {
    const std::uint64_t before = turn();
    if (before == 0) GTEST_SKIP() << "this kernel has no turns of one's own";
    ASSERT_TRUE(ask_for_turns_of(200'000));
    EXPECT_EQ(turn(), 200'000U);
    const pid_t child = fork();
    if (child == 0) _exit(turn() == before ? 0 : 1);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0) << "a worker that computes must not have short turns";
  }).join();
}

}  // namespace
}  // namespace shoal::base
