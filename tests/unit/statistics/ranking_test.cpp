#include "shoal/statistics/ranking.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "shoal/statistics/random.h"

namespace shoal::statistics {
namespace {

const std::vector<Scored> kFive = {{0.9, true}, {0.8, false}, {0.7, true}, {0.7, false}, {0.1, false}};

TEST(Ranking, AurocCountsPairsAndHalvesTies) {
  // Right ones at .9 and .7, wrong ones at .8, .7 and .1: .9 wins three pairs, .7 loses one, ties one, wins one.
  EXPECT_DOUBLE_EQ(auroc(kFive), (3 + 0 + 0.5 + 1) / 6.0);
  EXPECT_DOUBLE_EQ(auroc(std::vector<Scored>{{0.2, true}, {0.1, true}}), 0.5);
  EXPECT_DOUBLE_EQ(auroc(std::vector<Scored>{{0.2, true}, {0.1, false}}), 1);
  EXPECT_DOUBLE_EQ(auroc(std::vector<Scored>{{0.1, true}, {0.2, false}}), 0);
}

TEST(Ranking, RiskGrowsAsMoreIsKept) {
  const std::vector<RiskPoint> points = risk_coverage(kFive);
  ASSERT_EQ(points.size(), 4U);  // .7 occurs twice
  EXPECT_EQ(points[0], (RiskPoint{0.2, 0, 0}));
  EXPECT_EQ(points[1], (RiskPoint{0.4, 0.5, 0.2}));
  EXPECT_EQ(points[2], (RiskPoint{0.8, 0.5, 0.4}));
  EXPECT_EQ(points[3], (RiskPoint{1, 0.6, 0.6}));
}

TEST(Ranking, AurcIsTheMeanRiskOfEveryCoverage) {
  // Errors among the first 1, 2, 3, 4, 5 kept; inside the tie half an error on average.
  EXPECT_DOUBLE_EQ(aurc(kFive), (0 + 1 / 2.0 + 1.5 / 3 + 2 / 4.0 + 3 / 5.0) / 5);
}

TEST(Ranking, NothingIsBetterThanThePerfectOrder) {
  std::vector<Scored> perfect;
  for (int i = 0; i < 20'000; ++i) perfect.push_back({-static_cast<double>(i), i < 15'000});
  EXPECT_NEAR(excess_aurc(perfect), 0, 1e-4);
  for (Scored& one : perfect) one.score = -one.score;
  EXPECT_GT(excess_aurc(perfect), 0.2);
}

TEST(Ranking, AugrcIsItsClosedForm) {
  Random random(5);
  std::vector<Scored> predictions;
  for (int i = 0; i < 500; ++i) {
    const double p = static_cast<double>(random.index(40)) / 40;  // many ties
    predictions.push_back({p, random.chance(p)});
  }
  double right = 0;
  for (const Scored& one : predictions) right += one.right ? 1 : 0;
  const double a = right / 500;
  EXPECT_NEAR(augrc(predictions), (1 - auroc(predictions)) * a * (1 - a) + (1 - a) * (1 - a) / 2, 1e-12);
}

TEST(Ranking, NoMeasureDependsOnTheOrderOfTheInput) {
  std::vector<Scored> turned = kFive;
  std::ranges::reverse(turned);
  EXPECT_EQ(auroc(turned), auroc(kFive));
  EXPECT_EQ(aurc(turned), aurc(kFive));
  EXPECT_EQ(augrc(turned), augrc(kFive));
  EXPECT_EQ(reliability(turned, 2), reliability(kFive, 2));
}

TEST(Ranking, ReliabilityIsAsComputedByHand) {
  const std::vector<Scored> four = {{0.2, false}, {0.4, true}, {0.6, true}, {0.8, true}};
  const Reliability found = reliability(four, 2);
  EXPECT_EQ(found.answers, 4U);
  EXPECT_DOUBLE_EQ(found.right, 0.75);
  EXPECT_DOUBLE_EQ(found.brier, (0.04 + 0.36 + 0.16 + 0.04) / 4);
  EXPECT_DOUBLE_EQ(found.log_loss, -(std::log(0.8) + std::log(0.4) + std::log(0.6) + std::log(0.8)) / 4);
  ASSERT_EQ(found.bins.size(), 2U);
  EXPECT_DOUBLE_EQ(found.bins[0].predicted, 0.3);
  EXPECT_DOUBLE_EQ(found.bins[0].right, 0.5);
  // The first bin: .2^2 - .25; the second: .3^2 - 0; below zero together.
  EXPECT_DOUBLE_EQ(found.ece, 0);
  EXPECT_DOUBLE_EQ(reliability(std::vector<Scored>{{0.2, true}, {0.2, true}}, 2).ece, 0.8);
}

// What a plain ECE gets wrong: of a perfect model it grows as answers become few.
TEST(Ranking, EceOfAPerfectModelIsNearZero) {
  double squares = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    Random random(seed);
    std::vector<Scored> predictions;
    for (int i = 0; i < 200; ++i) {
      const double p = random.uniform();
      predictions.push_back({p, random.chance(p)});
    }
    const double ece = reliability(predictions).ece;
    squares += ece * ece / 200;
  }
  EXPECT_LT(std::sqrt(squares), 0.05);  // the plain one has .09
}

}  // namespace
}  // namespace shoal::statistics
