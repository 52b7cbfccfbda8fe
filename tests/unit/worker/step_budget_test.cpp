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
  for (int i = 0; i < 20; ++i) budget.observe(200, 0, 40 * kMs);  // 0.2 ms per prompt token
  budget.observe(0, 4, 5 * kMs);
  EXPECT_EQ(budget.prompt_tokens(4), 175U) << "eight times the 5 ms of the answers, less those 5";
  EXPECT_EQ(budget.prompt_tokens(0), 512U);
}

TEST(StepBudget, AloneAStepIsNoLongerThanANewcomerMayWait) {
  StepBudget budget(512);
  for (int i = 0; i < 20; ++i) budget.observe(128, 0, 2048 * kMs);  // 16 ms per prompt token
  EXPECT_EQ(budget.prompt_tokens(0), 187U);
  for (int i = 0; i < 20; ++i) budget.observe(187, 0, 5984 * kMs);
  EXPECT_EQ(budget.prompt_tokens(0), 93U);
  for (int i = 0; i < 20; ++i) budget.observe(93, 0, 5952 * kMs);
  EXPECT_EQ(budget.prompt_tokens(0), 46U) << "as long as it may be, though short: the machine has become slower";
}

// Where kernels unpack weights for each step, a token of a short one costs twice as much and more.
TEST(StepBudget, ShortStepsAndThoseBesideAnswersSayNothingAboutLongOnes) {
  StepBudget budget(1024);
  for (int i = 0; i < 20; ++i) budget.observe(256, 0, 1408 * kMs);
  EXPECT_EQ(budget.prompt_tokens(0), 545U);
  for (int i = 0; i < 20; ++i) budget.observe(25, 0, 250 * kMs);
  for (int i = 0; i < 20; ++i) budget.observe(16, 4, 240 * kMs);
  EXPECT_EQ(budget.prompt_tokens(0), 545U);
  EXPECT_EQ(budget.prompt_tokens(4), StepBudget::kFloorTokens);
}

TEST(StepBudget, DeeperContextsGetSmallerChunks) {
  StepBudget budget(512);
  budget.observe(0, 4, 4 * kMs);
  for (int i = 0; i < 20; ++i) budget.observe(100, 4, 24 * kMs);
  const std::size_t shallow = budget.prompt_tokens(4);
  for (int i = 0; i < 20; ++i) budget.observe(100, 4, 104 * kMs);
  EXPECT_EQ(shallow, 160U);
  EXPECT_EQ(budget.prompt_tokens(4), 32U) << "at a millisecond each";
}

TEST(StepBudget, SlowAnswersLeaveMoreTimeToPrompts) {
  StepBudget budget(512);
  for (int i = 0; i < 20; ++i) budget.observe(200, 0, 100 * kMs);  // 0.5 ms per prompt token
  for (int i = 0; i < 20; ++i) budget.observe(0, 16, 10 * kMs);
  EXPECT_EQ(budget.prompt_tokens(16), 140U) << "eight times the 10 ms of the answers, less those 10";
  for (int i = 0; i < 50; ++i) budget.observe(0, 16, 50 * kMs);
  EXPECT_EQ(budget.prompt_tokens(16), 100U) << "100 ms at most";
  for (int i = 0; i < 20; ++i) budget.observe(0, 16, kMs);
  EXPECT_NEAR(static_cast<double>(budget.prompt_tokens(16)), 70, 1) << "36 ms at least";
}

TEST(StepBudget, AStepThatWasDisturbedDoesNotSetTheGap) {
  StepBudget budget(512);
  for (int i = 0; i < 20; ++i) budget.observe(200, 0, 100 * kMs);  // 0.5 ms per prompt token
  for (int i = 0; i < 20; ++i) budget.observe(0, 4, kMs);
  budget.observe(0, 4, 12 * kMs);
  EXPECT_GE(budget.prompt_tokens(4), 67U) << "about 36 ms";
  EXPECT_LE(budget.prompt_tokens(4), 70U) << "about 36 ms";
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
