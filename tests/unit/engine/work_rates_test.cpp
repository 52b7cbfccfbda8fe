#include "shoal/engine/work_rates.h"

#include <gtest/gtest.h>

namespace shoal::engine {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

ipc::Work decoded(std::uint64_t steps, std::uint64_t tokens, std::uint64_t cells, double seconds) {
  ipc::Work work;
  work.decode_steps = steps;
  work.decode_tokens = tokens;
  work.decode_cells = cells;
  work.decode_ns = static_cast<std::uint64_t>(seconds * kSecond);
  return work;
}

TEST(WorkRatesTest, AreByTheTimeOfComputingNotOfTheClock) {
  WorkRates rates;
  EXPECT_EQ(rates.rates().decode_tokens, 0);
  rates.add(100 * kSecond, decoded(10, 40, 4000, 0.1));
  EXPECT_DOUBLE_EQ(rates.rates().decode_tokens, 400);
  EXPECT_DOUBLE_EQ(rates.rates().decode_steps, 100);
  EXPECT_DOUBLE_EQ(rates.rates().decode_cells, 40'000);
  rates.add(105 * kSecond, decoded(30, 60, 6000, 0.3));
  EXPECT_DOUBLE_EQ(rates.rates().decode_tokens, 200);
  EXPECT_DOUBLE_EQ(rates.rates().decode_steps, 100);
  EXPECT_EQ(rates.rates().prefill_tokens, 0);
}

TEST(WorkRatesTest, WhatIsOlderThanTheWindowDoesNotCountUnlessThereIsNothingElse) {
  WorkRates rates;
  rates.add(0, decoded(1, 10, 0, 1));
  rates.add(1 * kSecond, decoded(2, 20, 0, 2));
  rates.add(60 * kSecond, decoded(3, 120, 0, 3));
  EXPECT_DOUBLE_EQ(rates.rates().decode_tokens, 100);
}

TEST(WorkRatesTest, AWorkerThatCountsBackwardsBeginsAnew) {
  WorkRates rates;
  rates.add(1 * kSecond, decoded(100, 1000, 0, 1));
  rates.add(2 * kSecond, decoded(1, 30, 0, 1));
  EXPECT_DOUBLE_EQ(rates.rates().decode_tokens, 30);
}

// 100 steps of 10 MB of weights and 40,000 cells of 1 kB in a second, and a prompt of 500 tokens of 2 MFLOP.
TEST(WorkRatesTest, WeightsAreReadOncePerStepAndCellsByEachSequence) {
  const Demand asked =
      demand({.decode_tokens = 400, .decode_steps = 100, .decode_cells = 40'000, .prefill_tokens = 500},
             {.bytes_per_step = 10'000'000, .bytes_per_cell = 1'000, .flops_per_token = 2'000'000});
  EXPECT_DOUBLE_EQ(asked.bytes_per_second, 1.04e9);
  EXPECT_DOUBLE_EQ(asked.flops_per_second, 1e9);
}

}  // namespace
}  // namespace shoal::engine
