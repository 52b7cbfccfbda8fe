// Signals equal a float64 reference to 1e-5, on rows of every shape.
#include "shoal/worker/signals.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "row_reference.h"

namespace shoal::worker {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// With every kernel that this machine has.
void expect_equal_to_reference(const std::vector<float>& row, const std::string& what) {
  for (const SignalKernel kernel : signal_kernels()) {
    const auto signals = measure_with(kernel, row);
    ASSERT_TRUE(signals);
    expect_signals(row, *signals, fmt::format("{}, kernel {}", what, static_cast<int>(kernel)));
  }
  EXPECT_EQ(argmax(row), std::max_element(row.begin(), row.end()) - row.begin()) << what;
}

TEST(Signals, EqualToTheReference) {
  std::mt19937 random(1);
  for (const std::size_t n :
       std::initializer_list<std::size_t>{2, 3, 15, 16, 17, 512, 1023, 1025, 6400, 49152, 151936}) {
    for (const float spread : {0.1F, 3.0F, 12.0F}) {
      std::normal_distribution<float> logits(-2, spread);
      std::vector<float> row(n);
      for (float& l : row) l = logits(random);
      expect_equal_to_reference(row, fmt::format("{} logits, spread {}", n, spread));
    }
  }
}

TEST(Signals, ExtremeRows) {
  std::vector<float> certain(1000, -200.0F);
  certain[77] = 50;
  expect_equal_to_reference(certain, "certain");
  expect_equal_to_reference(std::vector<float>(1000, 3.0F), "uniform");
  certain[5] = -kInfinity;
  expect_equal_to_reference(certain, "one impossible token");
  std::vector<float> masked(49152, -kInfinity);
  masked[9] = 1;
  masked[40000] = 2;
  expect_equal_to_reference(masked, "all but two impossible");
  masked[9] = -kInfinity;
  expect_equal_to_reference(masked, "all but one impossible");
  // The same rounding in every lane, and values that a running float sum would swallow.
  std::vector<float> equal(49152, -250.1F);
  equal[49151] = 0.3F;
  expect_equal_to_reference(equal, "one far above the rest");
  std::mt19937 random(2);
  std::normal_distribution<float> logits(1000, 40);
  std::vector<float> far(32003);
  for (float& l : far) l = logits(random);
  expect_equal_to_reference(far, "around 1000");
  for (std::size_t i = 0; i < far.size(); ++i) far[i] = i % 2 == 0 ? 88.0F : -88.0F;
  expect_equal_to_reference(far, "two levels");
  std::cauchy_distribution<float> heavy(0, 1);
  for (float& l : far) l = std::clamp(heavy(random), -1e4F, 1e4F);
  expect_equal_to_reference(far, "heavy tails");
}

TEST(Signals, TheLowestIndexWinsATieWhereverItIs) {
  for (const std::size_t n : std::initializer_list<std::size_t>{1024, 1030, 5000}) {
    for (std::size_t at = 0; at < n; at += 61) {
      std::vector<float> row(n, 1.0F);
      row[at] = row[n - 1] = 5.0F;
      expect_equal_to_reference(row, fmt::format("best at {} of {}", at, n));
    }
  }
}

TEST(Signals, NotFiniteIsFoundWhereverItIs) {
  for (const std::size_t n : std::initializer_list<std::size_t>{2, 17, 1000, 1003}) {
    for (std::size_t at = 0; at < n; at += 1 + n / 40) {
      std::vector<float> row(n, 1.0F);
      row[at] = std::nanf("");
      for (const SignalKernel kernel : signal_kernels()) EXPECT_FALSE(measure_with(kernel, row)) << n << " " << at;
      row[at] = kInfinity;
      for (const SignalKernel kernel : signal_kernels()) EXPECT_FALSE(measure_with(kernel, row)) << n << " " << at;
    }
  }
}

TEST(Signals, ARowWithoutAnyPossibleTokenIsBroken) {
  EXPECT_FALSE(measure(std::vector<float>(100, -kInfinity)));
}

TEST(Signals, WeightsEqualTheReference) {
  std::mt19937 random(4);
  std::normal_distribution<float> logits(3, 20);
  for (const std::size_t n : std::initializer_list<std::size_t>{2, 1023, 1024, 5000}) {
    std::vector<float> row(n);
    for (float& l : row) l = logits(random);
    row[n / 2] = -kInfinity;
    const float max = *std::ranges::max_element(row);
    std::vector<float> weights(n);
    std::vector<double> sums((n + kWeightBlock - 1) / kWeightBlock);
    exp_weights(row, max, 0.5F, weights, sums);
    std::vector<double> wanted(sums.size());
    for (std::size_t i = 0; i < n; ++i) {
      const double d = (static_cast<double>(row[i]) - static_cast<double>(max)) / 2;
      EXPECT_NEAR(weights[i], d < -87 ? 0 : std::exp(d), 1e-5 * std::exp(d)) << i;
      wanted[i / kWeightBlock] += static_cast<double>(weights[i]);
    }
    for (std::size_t b = 0; b < sums.size(); ++b) EXPECT_NEAR(sums[b], wanted[b], 1e-6 * wanted[b]);
    EXPECT_EQ(weights[n / 2], 0);
  }
}

TEST(Signals, BestOfIsSortedAndTiesGoToTheLowerId) {
  const std::vector<float> row = {1, 5, 3, 5, 2};
  const auto best = best_of(row, 3);
  ASSERT_EQ(best.size(), 3U);
  EXPECT_EQ(best[0].first, 1);
  EXPECT_EQ(best[1].first, 3);
  EXPECT_EQ(best[2].first, 2);
  EXPECT_EQ(best_of(row, 99).size(), 5U);
  EXPECT_TRUE(best_of(row, 0).empty());
}

}  // namespace
}  // namespace shoal::worker
