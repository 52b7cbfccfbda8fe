// The inner loops against loops that are plain, the minimiser, and the parts of an embedding's models.
#include "shoal/learning/kernels.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "shoal/learning/lbfgs.h"
#include "shoal/learning/probe.h"
#include "shoal/learning/softmax.h"
#include "shoal/statistics/random.h"

namespace shoal::learning {
namespace {

std::vector<float> drawn(std::size_t n, std::uint64_t seed) {
  statistics::Random random(seed);
  std::vector<float> out(n);
  for (float& one : out) one = static_cast<float>(random.normal());
  return out;
}

TEST(Kernels, ProductsOfEveryShapeAndTransposed) {
  for (const std::size_t m : {1U, 2U, 5U}) {
    for (const std::size_t k : {1U, 3U, 4U, 9U}) {
      for (const std::size_t n : {1U, 7U, 19U}) {
        const auto a = drawn(m * k, 1);
        const auto b = drawn(k * n, 2);
        std::vector<float> plain(m * n, 1.0F);
        std::vector<float> turned(m * n, 1.0F);
        add_product(plain.data(), {a.data(), k, 1}, b.data(), m, k, n);
        std::vector<float> transposed(m * k);
        for (std::size_t i = 0; i < m; ++i) {
          for (std::size_t j = 0; j < k; ++j) transposed[j * m + i] = a[i * k + j];
        }
        add_product(turned.data(), {transposed.data(), 1, m}, b.data(), m, k, n);
        EXPECT_EQ(plain, turned);
        for (std::size_t i = 0; i < m; ++i) {
          for (std::size_t c = 0; c < n; ++c) {
            double wanted = 1;
            for (std::size_t j = 0; j < k; ++j) wanted += double{a[i * k + j]} * double{b[j * n + c]};
            EXPECT_NEAR(plain[i * n + c], wanted, 1e-5) << m << " " << k << " " << n;
          }
        }
      }
    }
  }
}

TEST(Kernels, RowsOfBytesAndStepsOfAdaGrad) {
  const std::vector<std::int8_t> bytes = {-127, 3, 0, 127, 5, -6, 7, 8, 9, 10, 11};
  std::vector<float> out(bytes.size(), 0.5F);
  add_scaled(out.data(), bytes.data(), 2.0F, bytes.size());
  for (std::size_t i = 0; i < bytes.size(); ++i) EXPECT_EQ(out[i], 0.5F + 2.0F * static_cast<float>(bytes[i]));
  EXPECT_EQ(dot(bytes.data(), bytes.data(), 4), 2 * 127 * 127 + 9);
  std::vector<float> weight = {1.0F};
  std::vector<float> square = {7.0F};
  const std::vector<float> slope = {3.0F};
  adagrad_step(weight.data(), square.data(), slope.data(), 1.0F, 0.5F, 1);
  EXPECT_EQ(square[0], 16.0F);
  EXPECT_EQ(weight[0], 1.0F - 0.5F * 3.0F / 4.0F);
}

TEST(Lbfgs, FindsTheBottomOfALongValley) {
  // Rosenbrock 1960: curved, and not even convex.
  const auto valley = [](std::span<const double> x, std::span<double> slope) {
    const double up = x[1] - x[0] * x[0];
    slope[0] = -400 * x[0] * up - 2 * (1 - x[0]);
    slope[1] = 200 * up;
    return 100 * up * up + (1 - x[0]) * (1 - x[0]);
  };
  std::vector<double> at = {-1.2, 1};
  EXPECT_LT(minimise(valley, at, {.steps = 200, .tolerance = 1e-8}), 100U);
  EXPECT_NEAR(at[0], 1, 1e-6);
  EXPECT_NEAR(at[1], 1, 1e-6);
}

TEST(Softmax, LogProbabilitiesSumToOne) {
  std::vector<float> one = {1000.0F, 999.0F, -1000.0F};
  std::vector<float> two = one;
  std::vector<float> probabilities(3);
  to_log_probabilities(one);
  to_log_probabilities(two, probabilities);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(one[i], two[i], 1e-3);
  EXPECT_NEAR(probabilities[0], 1 / (1 + std::exp(-1.0)), 1e-6);
  EXPECT_NEAR(probabilities[0] + probabilities[1], 1, 1e-6);
}

// Two classes of a known covariance: variance 4 along the first axis, 1 along the second.
TEST(Neighbours, DistancesAreThoseOfMahalanobis) {
  statistics::Random random(5);
  EmbeddingRows rows{2, {}};
  std::vector<std::uint32_t> classes;
  for (int i = 0; i < 20000; ++i) {
    const auto label = static_cast<std::uint32_t>(i % 2);
    rows.append(std::vector<float>{static_cast<float>(2 * random.normal()),
                                   static_cast<float>(random.normal() + (label == 1 ? 10 : 0))});
    classes.push_back(label);
  }
  const Neighbours near = Neighbours::fit(rows, classes, 2, 0);
  std::vector<float> scratch;
  EXPECT_NEAR(near.measure(std::vector<float>{2, 0}, scratch)[0], 1, 0.1);
  EXPECT_NEAR(near.measure(std::vector<float>{0, 8}, scratch)[0], 4, 0.3);
  // From the mean of all, (0, 5), along an axis of variance 1 + 25.
  const auto middle = near.measure(std::vector<float>{0, 5}, scratch);
  EXPECT_NEAR(middle[0] - middle[1], 0, 0.1);
  EXPECT_GT(middle[0], 20);
}

}  // namespace
}  // namespace shoal::learning
