// Signals equal a float64 reference to 1e-5, on rows of every shape.
#include "shoal/worker/signals.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

namespace shoal::worker {
namespace {

void expect_equal_to_reference(const std::vector<float>& row) {
  double max = -std::numeric_limits<double>::infinity();
  for (const float l : row) max = std::max(max, static_cast<double>(l));
  double z = 0;
  for (const float l : row) z += std::exp(static_cast<double>(l) - max);
  double entropy = 0;
  std::vector<double> p;
  for (const float l : row) {
    const double log_p = static_cast<double>(l) - max - std::log(z);
    p.push_back(std::exp(log_p));
    if (p.back() > 0) entropy -= p.back() * log_p;
  }
  std::sort(p.rbegin(), p.rend());
  const auto signals = measure(row);
  ASSERT_TRUE(signals);
  EXPECT_NEAR(signals->logprob(row[0]), static_cast<double>(row[0]) - max - std::log(z),
              1e-5 * std::max(1.0, std::abs(max)));
  EXPECT_NEAR(signals->entropy, entropy, 1e-5);
  EXPECT_NEAR(signals->margin, p[0] - p[1], 1e-5);
  EXPECT_EQ(static_cast<double>(signals->max), max);
  EXPECT_EQ(signals->best, std::max_element(row.begin(), row.end()) - row.begin());
}

TEST(Signals, EqualToTheReference) {
  std::mt19937 random(1);
  for (const std::size_t n : std::initializer_list<std::size_t>{2, 3, 15, 16, 17, 512, 6400, 32000, 49152, 151936}) {
    for (const float spread : {0.1F, 3.0F, 12.0F}) {
      std::normal_distribution<float> logits(-2, spread);
      std::vector<float> row(n);
      for (float& l : row) l = logits(random);
      expect_equal_to_reference(row);
    }
  }
}

TEST(Signals, ACertainRowAndAUniformRow) {
  std::vector<float> row(1000, -200.0F);
  row[77] = 50;
  expect_equal_to_reference(row);
  expect_equal_to_reference(std::vector<float>(1000, 3.0F));
  row[5] = -std::numeric_limits<float>::infinity();
  expect_equal_to_reference(row);
}

TEST(Signals, NotFiniteIsFoundWhereverItIs) {
  for (const std::size_t n : std::initializer_list<std::size_t>{2, 17, 1000, 1003}) {
    for (std::size_t at = 0; at < n; at += 1 + n / 40) {
      std::vector<float> row(n, 1.0F);
      row[at] = std::nanf("");
      EXPECT_FALSE(measure(row)) << n << " " << at;
      row[at] = std::numeric_limits<float>::infinity();
      EXPECT_FALSE(measure(row)) << n << " " << at;
    }
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
