// Guesses come from where the last tokens stood before, and are made only while they pay.
#include "shoal/worker/speculation.h"

#include <gtest/gtest.h>

#include "shoal/worker/ngram_draft.h"

namespace shoal::worker {
namespace {

TEST(NgramDraft, GuessesWhatFollowedTheSameTokensTheLastTime) {
  NgramDraft draft;
  const std::vector<std::int32_t> tokens = {1, 2, 3, 4, 5, 6, 1, 2, 3, 7, 8, 9, 1, 2, 3};
  EXPECT_EQ(draft.guess(tokens, 2), (std::vector<std::int32_t>{7, 8}));
  EXPECT_EQ(draft.guess(tokens, 99), (std::vector<std::int32_t>{7, 8, 9, 1, 2, 3}));
}

TEST(NgramDraft, KnowsNothingOfWhatWasNotSeen) {
  NgramDraft draft;
  EXPECT_TRUE(draft.guess(std::vector<std::int32_t>{1, 2}, 4).empty());
  EXPECT_TRUE(draft.guess(std::vector<std::int32_t>{1, 2, 3, 4}, 4).empty());
  EXPECT_TRUE(draft.guess(std::vector<std::int32_t>{1, 2, 3, 4, 9, 2, 3}, 4).empty());
}

TEST(NgramDraft, LearnsTheAnswerWhileItGrows) {
  NgramDraft draft;
  std::vector<std::int32_t> tokens = {5, 5, 5};
  EXPECT_TRUE(draft.guess(tokens, 4).empty());
  tokens.push_back(5);
  EXPECT_EQ(draft.guess(tokens, 4), (std::vector<std::int32_t>{5}));
  for (const std::int32_t token : {1, 2, 3, 4}) tokens.push_back(token);
  EXPECT_TRUE(draft.guess(tokens, 4).empty());
  for (const std::int32_t token : {1, 2, 3}) tokens.push_back(token);
  EXPECT_EQ(draft.guess(tokens, 1), (std::vector<std::int32_t>{4}));
}

// Steps of 1 ms, and of 0.2 ms more for each guess; guesses are right with the given share.
double speed_up(std::size_t right_of_four) {
  constexpr double kStep = 1e6;
  Speculation speculation;
  double time = 0;
  double tokens = 0;
  while (tokens < 20'000) {
    const bool guess = speculation.affords(1, 4);
    const double step = guess ? kStep + 4 * 0.2e6 : kStep;
    speculation.observe(1, guess ? 4 : 0, guess ? right_of_four : 0, static_cast<std::int64_t>(step));
    time += step;
    tokens += guess ? 1 + static_cast<double>(right_of_four) : 1;
  }
  return tokens * kStep / time;
}

TEST(Speculation, WhatTheNextStepCostsMoreIsTheirsToo) {
  Speculation speculation;
  double time = 0;
  constexpr int kSteps = 20'000;
  bool guessed = false;
  for (int i = 0; i < kSteps; ++i) {
    const bool guess = speculation.affords(1, 4);
    const double step = 1e6 + (guess ? 0.1e6 : 0) + (guessed ? 0.2e6 : 0);
    speculation.observe(1, guess ? 4 : 0, 0, static_cast<std::int64_t>(step));
    time += step;
    guessed = guess;
  }
  EXPECT_LT(time / (kSteps * 1e6), 1.03);
}

TEST(Speculation, GoesOnWhileItPays) {
  EXPECT_GT(speed_up(4), 2.5);
  EXPECT_GT(speed_up(2), 1.5);
}

TEST(Speculation, CostsNextToNothingWhereItDoesNotPay) {
  EXPECT_GT(speed_up(0), 0.97);
}

TEST(Speculation, WhatWasSavedLongAgoDoesNotPayForever) {
  Speculation speculation;
  for (int i = 0; i < 100; ++i) speculation.observe(1, 0, 0, 1'000'000);
  for (int i = 0; i < 10'000; ++i) speculation.observe(1, 4, 4, 1'800'000);
  int wrong = 0;
  while (speculation.affords(1, 4)) {
    speculation.observe(1, 4, 0, 1'800'000);
    ASSERT_LT(++wrong, 100);
  }
  EXPECT_GT(wrong, 1);
}

TEST(Speculation, DoesNotBeginBeforeItKnowsAStep) {
  EXPECT_FALSE(Speculation().affords(1, 1));
}

}  // namespace
}  // namespace shoal::worker
