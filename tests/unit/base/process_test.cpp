// Another program is run to its end, or to its deadline, and what it said comes back.
#include "shoal/base/process.h"

#include <gtest/gtest.h>

namespace shoal::base {
namespace {

TEST(Process, GivesTheExitCodeTheOutputAndTheErrors) {
  const auto run = run_process({"sh", "-c", "read nothing || echo end of input; echo bad >&2; exit 7"});
  ASSERT_TRUE(run.ok()) << run.error().message();
  EXPECT_EQ(run->exit_code, 7);
  EXPECT_EQ(run->output, "end of input\n");
  EXPECT_EQ(run->error_tail, "bad\n");
}

TEST(Process, AKilledOneSaysItsSignal) {
  const auto run = run_process({"sh", "-c", "kill -TERM $$"});
  ASSERT_TRUE(run.ok()) << run.error().message();
  EXPECT_EQ(run->exit_code, 128 + 15);
}

TEST(Process, AMissingProgramIsNotFound) {
  const auto run = run_process({"shoal-no-such-program", "x"});
  ASSERT_FALSE(run.ok());
  EXPECT_EQ(run.error().code(), ErrorCode::kNotFound);
  EXPECT_NE(run.error().message().find("shoal-no-such-program"), std::string::npos);
}

TEST(Process, WhatIsLateIsKilled) {
  ProcessOptions options;
  options.timeout_ms = 50;
  const auto run = run_process({"sleep", "600"}, options);
  ASSERT_FALSE(run.ok());
  EXPECT_EQ(run.error().code(), ErrorCode::kDeadlineExceeded);
}

}  // namespace
}  // namespace shoal::base
