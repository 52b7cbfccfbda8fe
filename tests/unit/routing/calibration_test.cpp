// What a statistic is, what a table makes of it, and which table is for whom.
#include "shoal/routing/calibration.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "unit/routing/tables.h"

namespace shoal::routing {
namespace {

Statistic of(const std::vector<double>& logprobs) {
  Statistic out;
  for (const double logprob : logprobs) out.add(logprob);
  return out;
}

TEST(Statistic, HasTheFirstTheMeanTheLeastAndTheNumber) {
  const Features features = features_of(of({-0.5, -2, -0.1}));
  EXPECT_DOUBLE_EQ(features[0], -0.5);
  EXPECT_DOUBLE_EQ(features[1], -2.6 / 3);
  EXPECT_DOUBLE_EQ(features[2], -2);
  EXPECT_DOUBLE_EQ(features[3], std::log(3));
}

TEST(Statistic, StaysFinite) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const Statistic odd = of({-kInfinity, std::nan(""), 0.5});
  EXPECT_EQ(odd.first, -30);
  EXPECT_EQ(odd.sum, -60);
  EXPECT_EQ(odd.least, -30);
}

TEST(Table, IsALogisticModelOverStandardisedFeatures) {
  Table table = table_of({.first = 2, .mean = 3}, 0.5);
  table.logistic.center = {-1, 0, 0, 0};
  table.logistic.spread = {4, 2, 1, 1};
  const double score = 0.5 + 2 * (-0.5 + 1) / 4 + 3 * -1.0 / 2;
  EXPECT_NEAR(table.confidence(of({-0.5, -1.5})), 1 / (1 + std::exp(-score)), 1e-12);
}

TEST(Table, StepsReplaceTheLogisticFunction) {
  Table table = table_of({.mean = 1}, 0);
  table.steps = {{-3, 0.1}, {-2, 0.4}, {-1, 0.9}};
  EXPECT_EQ(table.confidence(of({-9})), 0.1) << "below the first one";
  EXPECT_EQ(table.confidence(of({-2.5})), 0.1);
  EXPECT_EQ(table.confidence(of({-2})), 0.4) << "a step begins at its score";
  EXPECT_EQ(table.confidence(of({-0.5})), 0.9);
}

TEST(Table, TheCeilingIsThatOfCertainTokensToTheEnd) {
  const Table table = table_of({.first = 1, .mean = 2, .least = 3, .log_tokens = -1}, 4);
  EXPECT_NEAR(table.ceiling(of({-1, -0.5}), 4), table.confidence(of({-1, -0.5, 0, 0})), 1e-8);
  EXPECT_GE(table.ceiling(of({-1, -0.5}), 2), table.confidence(of({-1, -0.5})));
}

TEST(Sampler, IsGreedyOrAllThatMovesTheChoice) {
  types::SamplingParams sampling;
  sampling.temperature = 0;
  sampling.seed = 3;
  sampling.top_p = 0.5F;
  EXPECT_EQ(sampler_name(sampling), "greedy") << "the likeliest token, whatever the rest says";
  sampling.presence_penalty = 0.5F;
  EXPECT_NE(sampler_name(sampling), "greedy");
  sampling.presence_penalty = 0;
  sampling.logit_bias = {{7, -100}};
  EXPECT_NE(sampler_name(sampling), "greedy");
  types::SamplingParams warm;
  const std::string plain = sampler_name(warm);
  EXPECT_EQ(plain, "temperature 1 top_p 1 top_k 0 min_p 0");
  warm.top_k = 40;
  EXPECT_NE(sampler_name(warm), plain);
}

TEST(FindCalibration, TakesTheTablesOfTheSameKey) {
  const std::vector<Table> tables = {table_of({}, 0), table_of({}, 0, 8), table_of({}, 0, 16)};
  TableKey running = tables[0].key;
  running.tokens = 16;
  const Calibration found = find_calibration(tables, running);
  EXPECT_EQ(found.whole, &tables[0]);
  EXPECT_EQ(found.prefix, &tables[2]) << "of exactly that many tokens";
  EXPECT_FALSE(found.gap);
  running.tokens = 12;
  EXPECT_EQ(find_calibration(tables, running).prefix, nullptr);
  EXPECT_TRUE(find_calibration(tables, running).any());
}

TEST(FindCalibration, SaysWhatDiffers) {
  const std::vector<Table> tables = {table_of({}, 0)};
  const auto gap = [&tables](auto change) {
    TableKey running = tables[0].key;
    running.tokens = 16;
    change(running);
    const Calibration found = find_calibration(tables, running);
    EXPECT_FALSE(found.any());
    return found.gap.value_or(Gap{}).field + ": " + found.gap.value_or(Gap{}).value + " for " +
           found.gap.value_or(Gap{}).wanted;
  };
  EXPECT_EQ(gap([](TableKey& key) { key.task = "banking"; }), "task: banking for snips");
  EXPECT_EQ(gap([](TableKey& key) { key.task.clear(); }), "task: unknown for snips");
  EXPECT_EQ(gap([](TableKey& key) { key.weights = "ffffffffffffffffffff"; }), "weights: ffffffffffff for b179c9523d0e");
  EXPECT_EQ(gap([](TableKey& key) { key.quantisation = "Q8_0", key.weights = "f"; }), "quantisation: Q8_0 for Q4_1")
      << "other weights follow from it";
  EXPECT_EQ(gap([](TableKey& key) { key.chat_template = "none"; }), "chat_template: none for c0ffee");
  EXPECT_EQ(gap([](TableKey& key) { key.sampler = "temperature 1"; }), "sampler: temperature 1 for greedy");
}

TEST(FindCalibration, ComparesWithTheTableThatIsNearest) {
  std::vector<Table> tables = {table_of({}, 0), table_of({}, 0)};
  tables[0].key.task = "other";
  TableKey running = tables[1].key;
  running.sampler = "temperature 1";
  EXPECT_EQ(find_calibration(tables, running).gap->field, "sampler");
  EXPECT_EQ(find_calibration({}, running).gap->field, "table");
  tables = {table_of({}, 0, 8)};
  running = tables[0].key;
  running.tokens = 16;
  EXPECT_EQ(find_calibration(tables, running).gap->field, "commit_tokens");
}

}  // namespace
}  // namespace shoal::routing
