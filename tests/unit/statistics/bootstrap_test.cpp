#include "shoal/statistics/bootstrap.h"

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "shoal/statistics/random.h"

namespace shoal::statistics {
namespace {

Statistic mean_of(const std::vector<double>& values) {
  return [&values](std::span<const double> counts) {
    double sum = 0;
    double all = 0;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      sum += counts[i] * values[i];
      all += counts[i];
    }
    return all > 0 ? sum / all : std::numeric_limits<double>::quiet_NaN();
  };
}

TEST(Bootstrap, StandardErrorOfAMeanIsTheOneOfTheTextbook) {
  Random random(7);
  std::vector<double> values(400);
  for (double& value : values) value = random.normal();
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / 400;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  const double wanted = std::sqrt(squares / 400 / 400);
  const Estimate found = bootstrap(400, mean_of(values), {.resamples = 4'000});
  EXPECT_DOUBLE_EQ(found.value, mean);
  EXPECT_NEAR(found.standard_error, wanted, 0.04 * wanted);
  EXPECT_NEAR(found.interval.low, mean - 1.96 * wanted, 0.15 * wanted);
  EXPECT_NEAR(found.interval.high, mean + 1.96 * wanted, 0.15 * wanted);
}

TEST(Bootstrap, RepeatsWithItsSeedOnly) {
  const std::vector<double> values = {1, 2, 3, 5, 8};
  const Statistic mean = mean_of(values);
  const Estimate once = bootstrap(5, mean, {.seed = 3});
  EXPECT_EQ(once.standard_error, bootstrap(5, mean, {.seed = 3}).standard_error);
  EXPECT_NE(once.standard_error, bootstrap(5, mean, {.seed = 4}).standard_error);
}

// Ten groups whose rows are all the same: there are ten observations, not a thousand.
TEST(Bootstrap, RowsOfAGroupAreNoNewEvidence) {
  Random random(9);
  std::vector<double> values;
  std::vector<std::size_t> group_of;
  for (std::size_t group = 0; group < 10; ++group) {
    const double value = random.normal();
    for (int i = 0; i < 100; ++i) {
      values.push_back(value);
      group_of.push_back(group);
    }
  }
  const double by_row = bootstrap(1'000, mean_of(values)).standard_error;
  const double by_group = group_bootstrap(group_of, mean_of(values)).standard_error;
  EXPECT_NEAR(by_group / by_row, 10, 1);
}

TEST(Bootstrap, LeavesOutResamplesWithoutAValue) {
  const Statistic rare = [](std::span<const double> counts) {
    return counts[0] > 0 ? 1.0 : std::numeric_limits<double>::quiet_NaN();
  };
  const Estimate found = bootstrap(2, rare, {.resamples = 400});
  EXPECT_NEAR(static_cast<double>(found.undefined), 100, 40);
  EXPECT_EQ(found.standard_error, 0);
  const Estimate none = bootstrap(2, [](std::span<const double>) { return std::numeric_limits<double>::quiet_NaN(); });
  EXPECT_TRUE(std::isnan(none.standard_error));
  EXPECT_EQ(verdict(none), Verdict::kCannotTell);
}

TEST(Bootstrap, PairsAreComparedAsPairs) {
  // Questions differ a lot, the two systems by very little, but always.
  std::vector<double> a;
  std::vector<double> b;
  Random random(11);
  for (int i = 0; i < 100; ++i) {
    a.push_back(10 * random.normal());
    b.push_back(a.back() + 0.1 + 0.01 * random.normal());
  }
  const Estimate difference = paired_difference(a, b);
  EXPECT_NEAR(difference.value, 0.1, 0.01);
  EXPECT_EQ(verdict(difference), Verdict::kBetter);
  EXPECT_EQ(verdict(difference, 0.2), Verdict::kCannotTell);
  EXPECT_EQ(verdict(paired_difference(b, a)), Verdict::kWorse);
  EXPECT_EQ(verdict(paired_difference(a, a)), Verdict::kCannotTell);
  EXPECT_EQ(verdict_name(Verdict::kCannotTell), "cannot tell");
}

// A false verdict in at most about 5 % of comparisons of a thing with its equal.
TEST(Bootstrap, EqualsAreSeldomToldApart) {
  int told = 0;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    Random random(seed);
    std::vector<double> a(100);
    std::vector<double> b(100);
    for (double& value : a) value = random.chance(0.7) ? 1 : 0;
    for (double& value : b) value = random.chance(0.7) ? 1 : 0;
    const Verdict found = verdict(paired_difference(a, b, {.resamples = 400, .seed = seed}));
    told += found == Verdict::kCannotTell ? 0 : 1;
  }
  EXPECT_LE(told, 36);  // 20 expected, four standard deviations more
  EXPECT_GE(told, 4);   // and it does tell
}

// Fagerland, Lydersen and Laake 2013, table 3: airway hyper-responsiveness, 1 and 7.
TEST(McNemar, IsAsPublished) {
  const McNemar found = mcnemar(1, 7);
  EXPECT_NEAR(found.exact, 0.0703125, 1e-12);
  EXPECT_NEAR(found.mid_p, 0.0390625, 1e-12);
  EXPECT_EQ(mcnemar(7, 1).exact, found.exact);
  EXPECT_EQ(mcnemar(0, 0).exact, 1);
  EXPECT_EQ(mcnemar(3, 3).exact, 1);
  EXPECT_NEAR(mcnemar(3, 3).mid_p, 1 - 0.5 * 20 / 64, 1e-12);
  EXPECT_NEAR(mcnemar(0, 6).exact, 2.0 / 64, 1e-12);
}

TEST(Holm, IsAsComputedByHand) {
  const std::vector<double> adjusted = holm(std::vector<double>{0.01, 0.04, 0.03, 0.005});
  EXPECT_DOUBLE_EQ(adjusted[3], 0.02);
  EXPECT_DOUBLE_EQ(adjusted[0], 0.03);
  EXPECT_DOUBLE_EQ(adjusted[2], 0.06);
  EXPECT_DOUBLE_EQ(adjusted[1], 0.06);  // never below one that is more significant
  EXPECT_TRUE(holm({}).empty());
  EXPECT_DOUBLE_EQ(holm(std::vector<double>{0.7, 0.9})[0], 1);
}

}  // namespace
}  // namespace shoal::statistics
