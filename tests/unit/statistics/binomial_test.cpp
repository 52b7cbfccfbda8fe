#include "shoal/statistics/binomial.h"

#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace shoal::statistics {
namespace {

double by_sum(std::size_t k, std::size_t trials, double p) {
  double term = std::pow(1 - p, static_cast<double>(trials));
  double sum = 0;
  for (std::size_t i = 0; i <= k; ++i) {
    sum += term;
    term *= static_cast<double>(trials - i) / static_cast<double>(i + 1) * p / (1 - p);
  }
  return sum;
}

TEST(Binomial, IsTheSumOfItsTerms) {
  for (const double p : {0.01, 0.1, 0.5, 0.9}) {
    for (const std::size_t k : {0U, 1U, 7U, 19U}) {
      EXPECT_NEAR(binomial_at_most(k, 20, p), by_sum(k, 20, p), 1e-12);
      EXPECT_NEAR(binomial_at_least(k + 1, 20, p), 1 - by_sum(k, 20, p), 1e-12);
    }
  }
  EXPECT_EQ(binomial_at_most(3, 3, 0.5), 1);
  EXPECT_EQ(binomial_at_most(0, 0, 0.5), 1);
  EXPECT_EQ(binomial_at_least(0, 5, 0.5), 1);
  EXPECT_EQ(binomial_at_least(6, 5, 0.5), 0);
  EXPECT_EQ(binomial_at_most(0, 5, 0.0), 1);
}

// The table of the least labels: for none, one, two and three wrong ones at 95 %.
TEST(Binomial, KnowsHowManyLabelsAPromiseNeeds) {
  const std::vector<std::pair<double, std::vector<std::size_t>>> table = {
      {0.01, {299, 473, 628, 773}}, {0.02, {149, 236, 313, 386}}, {0.05, {59, 93, 124, 153}}, {0.10, {29, 46, 61, 76}}};
  for (const auto& [alpha, least] : table) {
    for (std::size_t k = 0; k < least.size(); ++k) {
      EXPECT_EQ(least_trials(k, alpha, 0.05), least[k]) << alpha << " " << k;
      EXPECT_LE(binomial_at_most(k, least[k], alpha), 0.05);
      EXPECT_GT(binomial_at_most(k, least[k] - 1, alpha), 0.05);
    }
  }
  EXPECT_EQ(least_trials(0, 0.9, 0.5), 1U);
}

// Values of Clopper and Pearson's intervals as R's binom.test prints them.
TEST(Binomial, HasTheIntervalsOfR) {
  const Interval of_682 = clopper_pearson(682, 925);
  EXPECT_NEAR(of_682.low, 0.7076683, 5e-8);
  EXPECT_NEAR(of_682.high, 0.7654066, 5e-8);
  const Interval none = clopper_pearson(0, 10);
  EXPECT_EQ(none.low, 0);
  EXPECT_NEAR(none.high, 0.3084971, 5e-8);
  EXPECT_EQ(clopper_pearson(10, 10).high, 1);
  EXPECT_EQ(clopper_pearson(0, 0), (Interval{0, 1}));
}

// One bound is the other test: what is certified at alpha has its upper bound at or below alpha.
TEST(Binomial, BoundsAgreeWithTheTest) {
  for (std::size_t m = 1; m <= 400; m += 7) {
    for (std::size_t k = 0; k < std::min<std::size_t>(m, 12); ++k) {
      EXPECT_EQ(binomial_at_most(k, m, 0.05) <= 0.05, clopper_pearson_upper(k, m, 0.05) <= 0.05) << k << " of " << m;
      EXPECT_NEAR(binomial_at_most(k, m, clopper_pearson_upper(k, m, 0.1)), 0.1, 1e-9);
      if (k > 0) {
        EXPECT_NEAR(binomial_at_least(k, m, clopper_pearson_lower(k, m, 0.1)), 0.1, 1e-9);
      }
    }
  }
}

// By the distribution itself: the chance of all outcomes whose interval has the true share is at least what it says.
TEST(Binomial, CoversAtLeastAsOftenAsItSays) {
  for (const double p : {0.003, 0.02, 0.13, 0.5, 0.97}) {
    double covered = 0;
    for (std::size_t k = 0; k <= 60; ++k) {
      const double chance = binomial_at_most(k, 60, p) - (k == 0 ? 0 : binomial_at_most(k - 1, 60, p));
      if (clopper_pearson(k, 60).has(p)) covered += chance;
    }
    EXPECT_GE(covered, 0.95) << p;
    EXPECT_LE(covered, 1 + 1e-12);
  }
}

}  // namespace
}  // namespace shoal::statistics
