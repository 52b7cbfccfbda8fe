#include "shoal/statistics/weighted_risk.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "shoal/statistics/binomial.h"
#include "shoal/statistics/random.h"

namespace shoal::statistics {
namespace {

// Traffic of a gate: what is not sure is escalated, and what is sure is wrong less often.
struct Traffic {
  std::vector<KeptAnswer> kept;
  double risk = 0;            // of those kept, all of them known
  double escalated_risk = 0;  // of the local drafts that were thrown away: all that is seen for nothing
};

Traffic replay(std::uint64_t seed, std::size_t requests, double usual) {
  Random random(mixed(seed));
  Traffic out;
  double wrong = 0;
  double escalated = 0;
  double escalated_wrong = 0;
  for (std::size_t i = 0; i < requests; ++i) {
    const double score = random.uniform();
    const double chance = 0.35 * (1 - score) * (1 - score) + 0.02;
    const bool is_wrong = random.chance(chance);
    if (score < 0.4) {
      ++escalated;
      escalated_wrong += is_wrong ? 1 : 0;
      continue;
    }
    const double q = score < 0.5 ? 0.3 : usual;
    const bool audited = random.chance(q);
    // A prediction that is far from calibrated, as one must expect.
    out.kept.push_back({.propensity = q, .audited = audited, .wrong = audited && is_wrong, .predicted = 0.3 * chance});
    wrong += is_wrong ? 1 : 0;
  }
  out.risk = wrong / static_cast<double>(out.kept.size());
  out.escalated_risk = escalated_wrong / escalated;
  return out;
}

TEST(WeightedRisk, IsAsCountedWhereAllAreAudited) {
  const std::vector<KeptAnswer> answers = {{.propensity = 1, .audited = true, .wrong = true},
                                           {.propensity = 1, .audited = true},
                                           {.propensity = 1, .audited = true},
                                           {.propensity = 1, .audited = true}};
  const auto hajek = hajek_risk(answers);
  ASSERT_TRUE(hajek);
  EXPECT_NEAR(hajek->risk, 0.25, 1e-12);
  EXPECT_NEAR(hajek->effective, 4, 1e-9);
  EXPECT_NEAR(hajek->interval.high, clopper_pearson(1, 4).high, 1e-9);
  EXPECT_NEAR(doubly_robust_risk(answers)->risk, 0.25, 1e-12);
}

TEST(WeightedRisk, WeighsByThePropensity) {
  const std::vector<KeptAnswer> answers = {{.propensity = 0.5, .audited = true, .wrong = true},
                                           {.propensity = 0.1, .audited = true},
                                           {.propensity = 0.1, .audited = false}};
  const auto risk = hajek_risk(answers);
  ASSERT_TRUE(risk);
  EXPECT_NEAR(risk->risk, 2.0 / 12, 1e-12);
  EXPECT_EQ(risk->kept, 3U);
  EXPECT_EQ(risk->audited, 2U);
  EXPECT_EQ(risk->wrong, 1U);
  EXPECT_FALSE(hajek_risk(std::vector<KeptAnswer>{{.propensity = 0.1}}));
  EXPECT_FALSE(doubly_robust_risk({}));
}

// None wrong among a few is not no risk.
TEST(WeightedRisk, IsNotSureOfNothing) {
  const std::vector<KeptAnswer> answers(50, {.propensity = 0.05, .audited = true});
  const auto risk = hajek_risk(answers);
  ASSERT_TRUE(risk);
  EXPECT_EQ(risk->risk, 0);
  EXPECT_NEAR(risk->interval.high, clopper_pearson(0, 50).high, 1e-9);
}

// The bar: the interval covers the risk of what was kept in at least 93 % of 500 replays with 5 % audits, and what the
// escalated ones say is never in it.
TEST(WeightedRisk, CoversWhereTheEscalatedAloneDoNot) {
  constexpr int kReplays = 500;
  int hajek = 0;
  int robust = 0;
  int escalated = 0;
  double width_hajek = 0;
  double width_robust = 0;
  for (std::uint64_t seed = 0; seed < kReplays; ++seed) {
    const Traffic traffic = replay(seed, 6'000, 0.05);
    const auto weighted = hajek_risk(traffic.kept);
    const auto doubly = doubly_robust_risk(traffic.kept);
    hajek += weighted->interval.has(traffic.risk) ? 1 : 0;
    robust += doubly->interval.has(traffic.risk) ? 1 : 0;
    escalated += weighted->interval.has(traffic.escalated_risk) ? 1 : 0;
    width_hajek += weighted->interval.high - weighted->interval.low;
    width_robust += doubly->interval.high - doubly->interval.low;
  }
  RecordProperty("hajek", hajek);
  RecordProperty("robust", robust);
  RecordProperty("escalated", escalated);
  EXPECT_GE(hajek, 465);
  EXPECT_GE(robust, 465);
  EXPECT_LE(escalated, 25);
  EXPECT_LT(width_hajek / kReplays, 0.08) << "an interval that is always wide covers for nothing";
  EXPECT_LT(width_robust / kReplays, 0.08);
}

TEST(WeightedRisk, TakesNothingFromOnePartForAnother) {
  Stratum open{.name = "open", .answers = std::vector<KeptAnswer>(100, {.propensity = 1, .audited = true})};
  open.answers[0].wrong = true;
  const Stratum closed{.name = "local_only", .answers = std::vector<KeptAnswer>(300, {.propensity = 0.1})};
  const StratifiedRisk risk = stratified_risk(std::vector<Stratum>{open, closed});
  ASSERT_EQ(risk.parts.size(), 2U);
  EXPECT_FALSE(risk.parts[1].risk);
  EXPECT_EQ(risk.unknown, 300U);
  ASSERT_TRUE(risk.known);
  EXPECT_EQ(risk.known->kept, 100U);
  EXPECT_NEAR(risk.known->risk, 0.01, 1e-12);
  EXPECT_FALSE(stratified_risk(std::vector<Stratum>{closed}).known);
}

TEST(WeightedRisk, AddsPartsByWhatWasKept) {
  Stratum small{.name = "small", .answers = std::vector<KeptAnswer>(100, {.propensity = 1, .audited = true})};
  for (int i = 0; i < 20; ++i) small.answers[static_cast<std::size_t>(i)].wrong = true;
  Stratum large{.name = "large", .answers = std::vector<KeptAnswer>(900, {.propensity = 1, .audited = true})};
  for (int i = 0; i < 9; ++i) large.answers[static_cast<std::size_t>(i)].wrong = true;
  const StratifiedRisk risk = stratified_risk(std::vector<Stratum>{small, large});
  ASSERT_TRUE(risk.known);
  EXPECT_NEAR(risk.known->risk, 0.029, 1e-12);
  EXPECT_TRUE(risk.known->interval.has(0.029));
}

// A judge that calls 10 % of the right ones wrong finds 14 % where 5 % are.
TEST(WeightedRisk, LooksBehindAJudgeThatErrs) {
  constexpr int kReplays = 500;
  constexpr double kTruth = 0.05;
  int covered = 0;
  int uncorrected = 0;
  for (std::uint64_t seed = 0; seed < kReplays; ++seed) {
    Random random(mixed(seed + 51));
    JudgeRecord record{.right = 200, .false_alarms = 0, .wrong = 60, .misses = 0};
    for (int i = 0; i < 200; ++i) record.false_alarms += random.chance(0.10) ? 1 : 0;
    for (int i = 0; i < 60; ++i) record.misses += random.chance(0.15) ? 1 : 0;
    std::vector<KeptAnswer> answers(600, {.propensity = 1, .audited = true});
    for (KeptAnswer& one : answers) one.wrong = random.chance(random.chance(kTruth) ? 0.85 : 0.10);
    const auto seen = hajek_risk(answers);
    const auto behind = behind_judge(*seen, record);
    ASSERT_TRUE(behind);
    covered += behind->interval.has(kTruth) ? 1 : 0;
    uncorrected += seen->interval.has(kTruth) ? 1 : 0;
  }
  EXPECT_GE(covered, 465);
  EXPECT_LE(uncorrected, 10);
}

TEST(WeightedRisk, DoesNotBelieveAJudgeThatGuesses) {
  const RiskEstimate seen{
      .risk = 0.4, .interval = {0.3, 0.5}, .effective = 100, .kept = 100, .audited = 100, .wrong = 40};
  EXPECT_FALSE(behind_judge(seen, {.right = 100, .false_alarms = 50, .wrong = 100, .misses = 48}));
  EXPECT_FALSE(behind_judge(seen, {.right = 100, .false_alarms = 0, .wrong = 0, .misses = 0}));
  EXPECT_TRUE(behind_judge(seen, {.right = 100, .false_alarms = 5, .wrong = 100, .misses = 5}));
}

}  // namespace
}  // namespace shoal::statistics
