// How many prompt tokens go into a step follows what the steps before have cost.
#include "shoal/worker/step_budget.h"

#include <gtest/gtest.h>

namespace shoal::worker {
namespace {

constexpr std::int64_t kMs = 1'000'000;

TEST(StepBudget, AloneItTakesAllAndBesideAnswersOnlyWhatTheGapAllows) {
  StepBudget budget(512);
  EXPECT_EQ(budget.prompt_tokens(0), StepBudget::kFirstTokens) << "nothing is known yet";
  EXPECT_EQ(budget.prompt_tokens(4), StepBudget::kFloorTokens) << "nothing is known yet";
  for (int i = 0; i < 20; ++i) budget.observe(100, 0, 20 * kMs);  // 0.2 ms per prompt token
  budget.observe(0, 4, 5 * kMs);
  EXPECT_EQ(budget.prompt_tokens(4), 175U) << "eight times the 5 ms of the answers, less those 5";
  EXPECT_EQ(budget.prompt_tokens(0), 512U);
}

TEST(StepBudget, AloneAStepIsNoLongerThanANewcomerMayWait) {
  StepBudget budget(512);
  for (int i = 0; i < 20; ++i) budget.observe(100, 0, 1600 * kMs);  // 16 ms per prompt token
  EXPECT_EQ(budget.prompt_tokens(0), 125U);
}

TEST(StepBudget, DeeperContextsGetSmallerChunks) {
  StepBudget budget(512);
  budget.observe(0, 4, 4 * kMs);
  for (int i = 0; i < 20; ++i) budget.observe(100, 4, 24 * kMs);
  const std::size_t shallow = budget.prompt_tokens(4);
  for (int i = 0; i < 20; ++i) budget.observe(100, 4, 104 * kMs);
  EXPECT_EQ(shallow, 150U);
  EXPECT_EQ(budget.prompt_tokens(4), 30U) << "at a millisecond each";
}

TEST(StepBudget, SlowAnswersLeaveMoreTimeToPrompts) {
  StepBudget budget(512);
  for (int i = 0; i < 20; ++i) budget.observe(100, 0, 50 * kMs);  // 0.5 ms per prompt token
  for (int i = 0; i < 20; ++i) budget.observe(0, 16, 10 * kMs);
  EXPECT_EQ(budget.prompt_tokens(16), 140U) << "eight times the 10 ms of the answers, less those 10";
  for (int i = 0; i < 50; ++i) budget.observe(0, 16, 50 * kMs);
  EXPECT_EQ(budget.prompt_tokens(16), 100U) << "100 ms at most";
  for (int i = 0; i < 20; ++i) budget.observe(0, 16, kMs);
  EXPECT_NEAR(static_cast<double>(budget.prompt_tokens(16)), 66, 1) << "34 ms at least";
}

TEST(StepBudget, AStepThatWasDisturbedDoesNotSetTheGap) {
  StepBudget budget(512);
  for (int i = 0; i < 20; ++i) budget.observe(100, 0, 50 * kMs);  // 0.5 ms per prompt token
  for (int i = 0; i < 20; ++i) budget.observe(0, 4, kMs);
  budget.observe(0, 4, 12 * kMs);
  EXPECT_GE(budget.prompt_tokens(4), 63U) << "about 34 ms";
  EXPECT_LE(budget.prompt_tokens(4), 66U) << "about 34 ms";
}

TEST(StepBudget, APromptNeverStarves) {
  StepBudget budget(512);
  budget.observe(0, 4, 100 * kMs);
  budget.observe(16, 4, 400 * kMs);
  EXPECT_EQ(budget.prompt_tokens(4), StepBudget::kFloorTokens);
}

TEST(StepBudget, TheBatchHasRoomForTheAnswersFirst) {
  StepBudget budget(8);
  budget.observe(0, 6, kMs);
  budget.observe(8, 0, kMs);
  EXPECT_EQ(budget.prompt_tokens(6), 2U);
  EXPECT_EQ(budget.prompt_tokens(8), 0U);
}

}  // namespace
}  // namespace shoal::worker
