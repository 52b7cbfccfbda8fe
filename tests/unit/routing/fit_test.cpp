// Tables from labels: the probabilities are right on answers that were not seen, and nothing is fitted on too few.
#include "shoal/routing/fit.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoal/routing/calibration_file.h"
#include "shoal/routing/groups.h"

#include "unit/routing/tables.h"

namespace shoal::routing {
namespace {

using testing::HasSubstr;

// Answers of one to nine tokens that are right with the probability `truth` of their statistic.
template <class Truth>
std::vector<Label> labels_of(std::size_t n, Truth truth, std::uint64_t seed = 3) {
  std::mt19937_64 random(seed);
  std::exponential_distribution<double> surprise(2);
  std::uniform_int_distribution<int> length(1, 9);
  std::uniform_real_distribution<double> uniform(0, 1);
  std::vector<Label> out;
  for (std::size_t i = 0; i < n; ++i) {
    Label label;
    const int tokens = length(random);
    for (int t = 0; t < tokens; ++t) label.statistic.add(-surprise(random));
    label.right = uniform(random) < truth(label.statistic);
    label.group = std::to_string(i);
    out.push_back(std::move(label));
  }
  return out;
}
double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}
double truth(const Statistic& s) {
  return sigmoid(2 + 1.5 * s.first + 2 * s.sum / s.tokens + 0.3 * s.least + 0.2 * std::log(s.tokens));
}
double mean_error(const Table& table, const std::vector<Label>& labels) {
  double sum = 0;
  for (const Label& label : labels) sum += std::abs(table.confidence(label.statistic) - truth(label.statistic));
  return sum / static_cast<double>(labels.size());
}

TEST(Fit, FindsTheProbabilityOfAnswersThatItDidNotSee) {
  const auto table = fit_table(labels_of(3000, truth), {});
  ASSERT_TRUE(table.ok()) << table.error().message();
  EXPECT_EQ(table->fitted_on, 2100U);
  EXPECT_EQ(table->held_out.answers, 900U);
  EXPECT_LT(mean_error(*table, labels_of(2000, truth, 4)), 0.03);
  EXPECT_LT(table->held_out.ece, 0.06);
  EXPECT_GT(table->held_out.auroc, 0.7);
  EXPECT_TRUE(table->steps.empty()) << "the truth is logistic";
  double predicted = 0;
  std::size_t answers = 0;
  for (const Bin& bin : table->held_out.bins) {
    EXPECT_GE(bin.predicted, predicted);
    predicted = bin.predicted;
    answers += bin.answers;
  }
  EXPECT_EQ(answers, 900U);
}

// What is said to be held out has no say in the table: another answer to it gives the same one.
TEST(Fit, SaysWhatIsCleanForAThirdUse) {
  auto labels = labels_of(3000, truth);
  const FitOptions options{.held_out = 0.25, .seed = 9};
  const auto table = fit_table(labels, options);
  const std::uint64_t place = first_fitted_place(labels, options);
  std::size_t clean = 0;
  for (Label& label : labels) {
    if (group_place(label.group, options.seed) >= place) continue;
    ++clean;
    label.right = !label.right;
  }
  EXPECT_EQ(clean, 750U);
  const auto again = fit_table(labels, options);
  EXPECT_EQ(again->logistic.weight, table->logistic.weight);
  EXPECT_EQ(again->logistic.bias, table->logistic.bias);
  EXPECT_NE(again->held_out.right, table->held_out.right);
}

TEST(Fit, StepsWinWhereTheTruthIsOne) {
  const auto stairs = [](const Statistic& s) { return s.sum / s.tokens < -0.6 ? 0.05 : 0.6; };
  const auto table = fit_table(labels_of(3000, stairs), {});
  ASSERT_TRUE(table.ok());
  ASSERT_FALSE(table->steps.empty());
  for (const Step& step : table->steps) {
    EXPECT_GT(step.probability, 0);
    EXPECT_LT(step.probability, 1);
  }
  EXPECT_TRUE(parse_table(print_table([&] {
                Table named = *table;
                named.key.task = named.key.weights = "t";
                return named;
              }()))
                  .ok())
      << "what is fitted can be loaded";
}

TEST(Fit, AMoreProbableAnswerNeverCountsAsLessSure) {
  const auto against = [](const Statistic& s) { return sigmoid(-1.5 - 1.5 * s.first + 2 * s.least); };
  const auto table = fit_table(labels_of(3000, against), {});
  ASSERT_TRUE(table.ok());
  for (std::size_t i = 0; i < kMonotone; ++i) EXPECT_GE(table->logistic.weight[i], 0) << kFeatureNames[i];
  EXPECT_GT(table->logistic.weight[2], 0);
}

TEST(Fit, OneTokenMakesItsFeaturesEqualAndTheWeightsStayFinite) {
  std::vector<Label> labels;
  for (Label& label : labels_of(1500, truth)) {
    Label one = label;
    one.statistic = {};
    one.statistic.add(label.statistic.first);
    labels.push_back(one);
  }
  const auto table = fit_table(labels, {});
  ASSERT_TRUE(table.ok());
  for (const double weight : table->logistic.weight) EXPECT_LT(std::abs(weight), 5);
  EXPECT_GT(table->held_out.auroc, 0.6);
}

TEST(Fit, TooFewLabelsAreRefusedWithTheNumberThatIsMissing) {
  EXPECT_EQ(labels_needed({}), 1428U);
  EXPECT_EQ(labels_needed({.held_out = 0.5}), 1999U);
  const auto few = fit_table(labels_of(1400, truth), {});
  ASSERT_FALSE(few.ok());
  EXPECT_THAT(few.error().message(), HasSubstr("1428 are needed"));
  EXPECT_THAT(few.error().message(), HasSubstr("28 more. --few"));
  const auto enough = fit_table(labels_of(1428, truth), {});
  ASSERT_TRUE(enough.ok());
  EXPECT_EQ(enough->fitted_on, 1000U);
}

TEST(Fit, FewLabelsWillDoForWhoSaysSo) {
  EXPECT_EQ(labels_needed({.few = true}), 285U);
  const auto few = fit_table(labels_of(257, truth), {.few = true});
  ASSERT_FALSE(few.ok());
  EXPECT_THAT(few.error().message(), testing::EndsWith("28 more"));
  const auto enough = fit_table(labels_of(285, truth), {.few = true});
  ASSERT_TRUE(enough.ok());
  EXPECT_EQ(enough->fitted_on, 200U);
  EXPECT_TRUE(enough->steps.empty());
}

TEST(Fit, NothingIsLearnedFromAnswersThatAreAllAlike) {
  const auto sure = fit_table(labels_of(1500, [](const Statistic&) { return 1.0; }), {});
  ASSERT_FALSE(sure.ok());
  EXPECT_THAT(sure.error().message(), HasSubstr("of each"));
}

TEST(Fit, TheSameQuestionIsNeverOnBothSides) {
  // Each question five times; what is right depends on the question alone, so that a leak would show as skill.
  std::mt19937_64 random(5);
  std::vector<Label> labels;
  for (int question = 0; question < 600; ++question) {
    Label label;
    label.statistic.add(-0.5);
    label.right = random() % 2 == 0;
    label.group = "q" + std::to_string(question);
    for (int i = 0; i < 5; ++i) labels.push_back(label);
  }
  const auto table = fit_table(labels, {.held_out = 0.31});
  ASSERT_TRUE(table.ok());
  EXPECT_EQ(table->held_out.answers % 5, 0U);
  EXPECT_LE(table->held_out.answers, 930U);
}

TEST(Fit, TheSeedDrawsTheSplitAndNothingElseDoes) {
  const auto labels = labels_of(2000, truth);
  const auto a = fit_table(labels, {});
  const auto b = fit_table(labels, {});
  const auto c = fit_table(labels, {.seed = 2});
  auto turned = labels;
  std::ranges::reverse(turned);
  const auto d = fit_table(turned, {});
  EXPECT_EQ(print_table(*a), print_table(*b));
  EXPECT_NE(print_table(*a), print_table(*c));
  EXPECT_EQ(print_table(*a), print_table(*d)) << "not the order of the file";
}

TEST(Measure, IsWhatTheBookSays) {
  const Table table = table_of({.mean = 1}, 0);  // sigmoid of the one token
  std::vector<Label> labels(4);
  const double logit = std::log(0.4 / 0.6);
  for (std::size_t i = 0; i < 4; ++i) {
    labels[i].statistic.add(i < 2 ? 0 : logit);
    labels[i].right = i == 0;
  }
  const Reliability all = measure(table, labels);
  EXPECT_EQ(all.answers, 4U);
  EXPECT_DOUBLE_EQ(all.right, 0.25);
  EXPECT_NEAR(all.brier, (0.25 + 0.25 + 0.16 + 0.16) / 4, 1e-9);
  EXPECT_NEAR(all.log_loss, -(2 * std::log(0.5) + 2 * std::log(0.6)) / 4, 1e-9);
  EXPECT_NEAR(all.auroc, (2 * 1 + 0.5) / 3, 1e-12) << "one right answer, three wrong ones, one of them tied";
  ASSERT_EQ(all.bins.size(), 2U);
  EXPECT_NEAR(all.bins[0].predicted, 0.4, 1e-9);
  EXPECT_EQ(all.bins[0].right, 0);
  EXPECT_EQ(all.bins[1].right, 0.5);
  // (0.4^2 - 0) / 2 + ((0.5 - 0.5)^2 - 0.5 * 0.5 / 1) / 2 is below 0.
  EXPECT_EQ(all.ece, 0);
}

TEST(Measure, SharesOfAllAreOneAndCanBeLoaded) {
  // 49 times 1/49 is 1.0000000000000004.
  for (std::size_t n = 1; n < 200; ++n) {
    std::vector<Label> labels(n);
    for (Label& label : labels) {
      label.statistic.add(0);
      label.right = true;
    }
    Table table = table_of({}, 40);  // a confidence of 1, as far as a double can tell
    table.held_out = measure(table, labels);
    ASSERT_EQ(table.held_out.right, 1) << n;
    ASSERT_TRUE(parse_table(print_table(table)).ok()) << n;
  }
}

TEST(Measure, ThePlainErrorOfAPerfectModelIsNotCountedAgainstIt) {
  double sum = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Table perfect = table_of({.first = 1.5, .mean = 2, .least = 0.3, .log_tokens = 0.2}, 2);
    sum += measure(perfect, labels_of(500, truth, seed)).ece;
  }
  EXPECT_LT(sum / 20, 0.025) << "the plain one averages 0.038 at this size";
}

// Labels whose answers are half as often right where a sum in them is wrong, which a quarter of them are.
std::vector<Label> checked_labels(std::size_t n, double less, std::uint64_t seed = 3) {
  std::mt19937_64 random(seed);
  std::vector<Label> out = labels_of(n, truth, seed);
  std::uniform_real_distribution<double> uniform(0, 1);
  for (Label& label : out) {
    const bool wrong = uniform(random) < 0.25;
    label.checks.emplace();
    (*label.checks)[static_cast<std::size_t>(Check::kWrong)] = wrong ? 1 : 0;
    (*label.checks)[static_cast<std::size_t>(Check::kBytes)] = static_cast<float>(uniform(random));
    if (wrong && uniform(random) < less) label.right = false;
  }
  return out;
}

TEST(FitChecks, AreWeighedWhereTheyTellSomething) {
  const auto labels = checked_labels(3000, 0.8);
  const auto with = fit_table(labels, {});
  ASSERT_TRUE(with.ok()) << with.error().message();
  ASSERT_EQ(with->checks.size(), 1U) << "others saw nothing, or may be more than 1";
  EXPECT_EQ(with->checks.front().check, Check::kWrong);
  EXPECT_LT(with->checks.front().weight, 0);
  auto unseen = labels;
  for (Label& label : unseen) label.checks.reset();
  const auto without = fit_table(unseen, {});
  ASSERT_TRUE(without.ok());
  EXPECT_TRUE(without->checks.empty());
  EXPECT_GT(with->held_out.auroc, without->held_out.auroc + 0.02);
  EXPECT_LT(with->held_out.log_loss, without->held_out.log_loss);
  EXPECT_LT(with->held_out.ece, 0.06);
}

TEST(FitChecks, AreLeftOutWhereTheyTellNothing) {
  std::size_t weighed = 0;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    auto labels = checked_labels(600, 0, seed);
    const auto with = fit_table(labels, {.few = true});
    ASSERT_TRUE(with.ok());
    weighed += with->checks.empty() ? 0 : 1;
    for (Label& label : labels) label.checks.reset();
    const auto without = fit_table(labels, {.few = true});
    if (with->checks.empty()) {
      EXPECT_EQ(with->logistic, without->logistic) << "to the last bit";
    }
  }
  EXPECT_LE(weighed, 3U);
}

TEST(FitChecks, OneThatIsNotReadLeavesThemOut) {
  auto labels = checked_labels(3000, 0.8);
  labels[7].checks.reset();
  EXPECT_TRUE(fit_table(labels, {})->checks.empty());
}

TEST(Fit, StepsTakeAThousandAnswers) {
  const auto stairs = [](const Statistic& s) { return s.sum / s.tokens < -0.6 ? 0.05 : 0.6; };
  EXPECT_TRUE(fit_table(labels_of(1400, stairs), {.held_out = 0.3, .few = true})->steps.empty()) << "980 are fitted on";
  EXPECT_FALSE(fit_table(labels_of(1500, stairs), {.held_out = 0.3})->steps.empty());
}

}  // namespace
}  // namespace shoal::routing
