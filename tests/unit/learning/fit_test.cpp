#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "shoal/learning/nonnegative.h"
#include "shoal/learning/ridge.h"
#include "shoal/learning/topic_table.h"
#include "shoal/learning/trees.h"
#include "shoal/statistics/random.h"

namespace shoal::learning {
namespace {

using statistics::Random;

// Two columns: the normal equations can be solved by hand.
TEST(Ridge, IsTheSolutionOfTheNormalEquations) {
  SparseRows rows;
  const std::vector<std::vector<SparseValue>> x = {{{0, 1.0F}}, {{0, 2.0F}, {1, 1.0F}}, {{1, 3.0F}}, {}};
  for (const auto& row : x) rows.append(row);
  const std::vector<float> y = {1, 3, -2, 6};
  const Ridge fit = fit_ridge(rows, y, 2, {.penalty = 2});
  EXPECT_DOUBLE_EQ(fit.mean, 2);
  // X'X + 2 I = [[7, 2], [2, 12]]; X'(y - 2) = [1, -11]
  EXPECT_NEAR(fit.weights[0], (1 * 12 - 2 * -11) / 80.0, 1e-5);
  EXPECT_NEAR(fit.weights[1], (7 * -11 - 2 * 1) / 80.0, 1e-5);
}

TEST(Ridge, ColumnsThatNoRowHasWeighNothing) {
  SparseRows rows;
  rows.append(std::vector<SparseValue>{{3, 1.0F}});
  rows.append(std::vector<SparseValue>{});
  const Ridge fit = fit_ridge(rows, std::vector<float>{1, 0}, 5, {});
  for (const std::size_t j : {0U, 1U, 2U, 4U}) EXPECT_EQ(fit.weights[j], 0);
  EXPECT_GT(fit.weights[3], 0);
}

struct Sample {
  std::vector<float> rows;
  std::vector<float> targets;
};
Sample step_sample(std::size_t n, std::uint64_t seed) {
  Random random(seed);
  Sample out;
  for (std::size_t i = 0; i < n; ++i) {
    const double a = random.uniform();
    const double b = random.uniform();
    out.rows.insert(out.rows.end(), {static_cast<float>(a), static_cast<float>(b), 7.0F});
    const bool high = a > 0.5 && b > 0.5;
    out.targets.push_back((high ? 1.0F : 0.0F) + static_cast<float>(0.1 * random.normal()));
  }
  return out;
}

// What no linear model can learn.
TEST(Trees, LearnWhatHoldsOfTwoFeaturesTogether) {
  const Sample sample = step_sample(2'000, 1);
  const Trees trees = fit_trees(sample.rows, 3, sample.targets, {.rate = 0.3, .feature_share = 1});
  EXPECT_GT(trees.predict(std::vector<float>{0.8F, 0.8F, 7}), 0.9);
  EXPECT_LT(trees.predict(std::vector<float>{0.2F, 0.8F, 7}), 0.1);
  EXPECT_LT(trees.predict(std::vector<float>{0.8F, 0.2F, 7}), 0.1);
  EXPECT_LT(trees.predict(std::vector<float>{0.2F, 0.2F, 7}), 0.1);
}

TEST(Trees, SameSeedSameTrees) {
  const Sample sample = step_sample(500, 2);
  const std::vector<float> at = {0.3F, 0.9F, 7};
  const double one = fit_trees(sample.rows, 3, sample.targets, {.seed = 5}).predict(at);
  EXPECT_EQ(fit_trees(sample.rows, 3, sample.targets, {.seed = 5}).predict(at), one);
  EXPECT_NE(fit_trees(sample.rows, 3, sample.targets, {.seed = 6}).predict(at), one);
}

TEST(Trees, FourAtATimeIsTheSameAsOneByOne) {
  const Sample sample = step_sample(500, 3);
  Trees trees = fit_trees(sample.rows, 3, sample.targets, {.trees = 7});
  const std::vector<float> at = {0.6F, 0.4F, 7};
  double sum = trees.base;
  for (const Tree& tree : trees.trees) {
    const Trees alone{.base = 0, .nodes = trees.nodes, .trees = {tree}};
    sum += alone.predict(at);
  }
  EXPECT_EQ(trees.predict(at), sum);
}

TEST(Trees, OfOneRowOrOfRowsThatAreAlikeTheMean) {
  EXPECT_NEAR(fit_trees(std::vector<float>{1}, 1, std::vector<float>{3}, {}).predict(std::vector<float>{9}), 3, 1e-6);
  const std::vector<float> same(200, 1);
  std::vector<float> targets(200, 0);
  for (std::size_t i = 0; i < 100; ++i) targets[i] = 1;
  const Trees trees = fit_trees(same, 1, targets, {.row_share = 1});
  EXPECT_NEAR(trees.predict(std::vector<float>{1}), 0.5, 1e-6);
}

TEST(Trees, LeavesHaveTheRowsTheyMust) {
  std::vector<float> rows;
  std::vector<float> targets;
  for (int i = 0; i < 79; ++i) {
    rows.push_back(static_cast<float>(i));
    targets.push_back(i < 30 ? 1.0F : 0.0F);
  }
  const Trees trees = fit_trees(rows, 1, targets, {.trees = 3, .least_rows = 40, .row_share = 1});
  EXPECT_EQ(trees.nodes.size(), 3U) << "79 rows cannot make two leaves of 40";
}

TEST(NonnegativeWeights, FindAMixture) {
  Random random(4);
  std::vector<std::vector<double>> columns(3);
  std::vector<double> target;
  for (int i = 0; i < 400; ++i) {
    for (auto& column : columns) column.push_back(random.normal());
    target.push_back(5 + 0.5 * columns[0].back() - 0.7 * columns[1].back() + 2 * columns[2].back());
  }
  const std::vector<double> weights = nonnegative_weights(columns, target, 0);
  EXPECT_NEAR(weights[0], 0.5, 0.1);
  EXPECT_EQ(weights[1], 0) << "it would be negative";
  EXPECT_NEAR(weights[2], 2, 0.1);
  EXPECT_LT(nonnegative_weights(columns, target, 400)[2], weights[2]) << "shrunk";
}

TEST(NonnegativeWeights, AColumnThatNeverChangesIsWorthNothing) {
  const std::vector<std::vector<double>> columns = {{1, 1, 1}, {0, 1, 2}};
  const std::vector<double> weights = nonnegative_weights(columns, std::vector<double>{0, 2, 4}, 0);
  EXPECT_EQ(weights[0], 0);
  EXPECT_NEAR(weights[1], 2, 1e-9);
}

struct Topics {
  std::vector<std::vector<std::uint64_t>> texts;
  std::vector<TopicRow> rows;
};
// Topic t says the words 10 t .. 10 t + 9, and now and then a common one.
Topics topics_of(std::size_t topics, std::size_t each) {
  Topics out;
  Random random(6);
  for (std::size_t t = 0; t < topics; ++t) {
    for (std::size_t i = 0; i < each; ++i) {
      std::vector<std::uint64_t> text;
      for (int k = 0; k < 20; ++k) text.push_back(random.chance(0.3) ? 999 : 10 * t + random.index(10));
      out.texts.push_back(std::move(text));
    }
  }
  for (std::size_t i = 0; i < out.texts.size(); ++i)
    out.rows.push_back({out.texts[i], i / each, static_cast<float>(i / each) / 10});
  return out;
}

TEST(TopicTable, ExpectsTheMeanOfTheTopicThatItRecognises) {
  const Topics data = topics_of(20, 30);
  const TopicTable table = fit_topics(data.rows, 20, {.shrink = 0});
  TopicTable::Scratch scratch;
  for (const std::uint64_t t : {0U, 7U, 19U}) {
    std::vector<std::uint64_t> text;
    for (std::uint64_t k = 0; k < 10; ++k) text.push_back(10 * t + k);
    EXPECT_NEAR(table.expected(text, scratch), static_cast<double>(t) / 10, 0.05) << t;
  }
  EXPECT_NEAR(table.expected({}, scratch), 0.95, 1e-6) << "nothing said: the mean of all topics";
}

TEST(TopicTable, MeansAreShrunkTowardsTheMeanOfAll) {
  const Topics data = topics_of(2, 20);
  const TopicTable table = fit_topics(data.rows, 2, {.shrink = 20});
  EXPECT_FLOAT_EQ(table.means()[0], (0 * 20 + 20 * 0.05F) / 40);
  EXPECT_FLOAT_EQ(table.means()[1], (0.1F * 20 + 20 * 0.05F) / 40);
}

// Sums of single bytes are flushed before they overflow.
TEST(TopicTable, LongTextsCountToTheirEnd) {
  const Topics data = topics_of(2, 20);
  const TopicTable table = fit_topics(data.rows, 2, {.shrink = 0});
  TopicTable::Scratch scratch;
  std::vector<std::uint64_t> text(4'000, 10);  // a word of topic 1, over and over
  EXPECT_NEAR(table.expected(text, scratch), 0.1, 1e-3);
}

}  // namespace
}  // namespace shoal::learning
