// A locked-up process cannot do what a captured worker would try, and can tell from inside that it is locked.
#include "shoal/sandbox/sandbox.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace shoal::sandbox {
namespace {

// Runs `body` in a child; its return value is the exit code.
template <class Body>
int in_child(Body body) {
  const pid_t pid = fork();
  if (pid == 0) _exit(body());
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST(Sandbox, EveryAttackIsRefused) {
  if (!support().missing.empty()) GTEST_SKIP() << "this kernel lacks " << support().missing;
  const auto attacks = self_test();
  EXPECT_EQ(attacks.size(), 12U);
  for (const Attack& attack : attacks) EXPECT_TRUE(attack.refused) << attack.name << ": " << attack.how;
}

TEST(Sandbox, ProbeHoldsOnlyInThePhaseThatWasClosed) {
  if (!support().missing.empty()) GTEST_SKIP() << "this kernel lacks " << support().missing;
  EXPECT_FALSE(probe(Phase::kLoad).ok()) << "nothing is closed in this process";
  EXPECT_EQ(in_child([] {
              if (!close_for_load(2).ok()) return 1;
              if (!probe(Phase::kLoad).ok()) return 2;
              if (probe(Phase::kWork).ok()) return 3;
              if (!close_for_work(2).ok()) return 4;
              if (!probe(Phase::kWork).ok()) return 5;
              return 0;
            }),
            0);
}

TEST(Sandbox, AnOrphanRefusesToRun) {
  EXPECT_EQ(in_child([] { return die_with_parent(1'999'999'999).ok() ? 1 : 0; }), 0);
  EXPECT_EQ(in_child([parent = getpid()] { return die_with_parent(parent).ok() ? 0 : 1; }), 0);
}

}  // namespace
}  // namespace shoal::sandbox
