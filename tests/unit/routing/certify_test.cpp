#include "shoal/routing/certify.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "shoal/statistics/binomial.h"
#include "shoal/statistics/random.h"

namespace shoal::routing {
namespace {

using statistics::mixed;
using statistics::Random;

// A model whose score tells something: of answers with the score s the share wrong_at(s) is wrong, and kept from t on
// the share risk_from(t).
constexpr double kWorst = 0.5;
double wrong_at(double score) {
  return kWorst * (1 - score) * (1 - score);
}
double risk_from(double threshold) {
  return kWorst * (1 - threshold) * (1 - threshold) / 3;
}

std::vector<ScoredLabel> drawn(std::uint64_t seed, std::size_t count) {
  Random random(mixed(seed));
  std::vector<ScoredLabel> out;
  for (std::size_t i = 0; i < count; ++i) {
    const double score = random.uniform();
    out.push_back({.score = score, .right = !random.chance(wrong_at(score)), .group = std::to_string(i)});
  }
  return out;
}

// What others do: the largest coverage whose risk on these labels is the wanted one.
std::optional<double> naive_threshold(std::vector<ScoredLabel> labels, double risk) {
  std::ranges::sort(labels, std::greater(), [](const ScoredLabel& label) { return *label.score; });
  std::optional<double> out;
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    wrong += labels[i].right ? 0 : 1;
    if (static_cast<double>(wrong) <= risk * static_cast<double>(i + 1)) out = *labels[i].score;
  }
  return out;
}

struct Broken {
  int certified = 0;  // and the naive rule's choices
  int promises = 0;
  double coverage = 0;  // mean of those certified
};
constexpr int kRuns = 500;
constexpr double kDelta = 0.05;
// Two standard errors of a share of kDelta.
const double kMost = kRuns * (kDelta + 2 * std::sqrt(kDelta * (1 - kDelta) / kRuns));

Broken simulate(std::size_t labels, double risk) {
  Broken out;
  for (std::uint64_t run = 0; run < kRuns; ++run) {
    const auto result = certify(drawn(run, labels), {.risk = risk, .confidence = 1 - kDelta});
    if (!result->ok()) continue;
    ++out.certified;
    const double threshold = result->certified.back().threshold;
    out.promises += risk_from(threshold) > risk ? 1 : 0;
    out.coverage += 1 - threshold;
  }
  out.coverage /= std::max(out.certified, 1);
  return out;
}

// The bar: over 500 resamples the promise is broken in at most delta + 2 SE of the runs, at every size and risk.
TEST(Certify, KeepsItsPromise) {
  for (const double risk : {0.02, 0.05, 0.10}) {
    for (const std::size_t labels : {400U, 1500U}) {
      const Broken seen = simulate(labels, risk);
      RecordProperty(std::to_string(risk) + " of " + std::to_string(labels),
                     std::to_string(seen.certified) + " certified, coverage " + std::to_string(seen.coverage) +
                         ", broken " + std::to_string(seen.promises));
      EXPECT_LE(seen.promises, kMost) << risk << " of " << labels;
    }
  }
}

// A risk of 10 % allows a coverage of 77 % here, and the walk comes near to it: a rule that never certifies keeps every
// promise too.
TEST(Certify, KeepsMuch) {
  const Broken seen = simulate(1500, 0.10);
  EXPECT_GE(seen.certified, kRuns * 99 / 100);
  EXPECT_GE(seen.coverage, 0.66);
  EXPECT_GT(seen.promises, 0) << "where 5 % are allowed, none is a sign that much is given away";
}

TEST(Certify, WhereTheNaiveRuleBreaksIts) {
  int broken = 0;
  for (std::uint64_t run = 0; run < kRuns; ++run) {
    const auto threshold = naive_threshold(drawn(run, 400), 0.05);
    broken += threshold && risk_from(*threshold) > 0.05 ? 1 : 0;
  }
  RecordProperty("broken", broken);
  EXPECT_GE(broken, kRuns * 2 / 5);
}

TEST(Certify, SaysWhatItSaw) {
  const auto labels = drawn(7, 2000);
  const auto result = certify(labels, {.risk = 0.05, .confidence = 0.95});
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->labels, 2000U);
  EXPECT_EQ(result->ranking, 1000U);
  EXPECT_EQ(result->certifying, 1000U);
  const auto wrong = static_cast<std::size_t>(std::ranges::count(labels, false, &ScoredLabel::right));
  EXPECT_EQ(result->wrong, wrong);
  EXPECT_NEAR(result->least_escalated, (static_cast<double>(wrong) / 2000 - 0.05) / 0.95, 1e-12);
  ASSERT_TRUE(result->ok());
  EXPECT_TRUE(result->refusal.empty());
  const GatePoint& last = result->certified.back();
  EXPECT_LE(statistics::binomial_at_most(last.wrong, last.kept, 0.05), 0.05);
  EXPECT_LE(last.upper, 0.05);
  EXPECT_TRUE(result->coverage.has(last.coverage));
  EXPECT_LT(result->coverage.high - result->coverage.low, 0.08);
  ASSERT_GT(result->certified.size(), 5U);
  for (std::size_t i = 1; i < result->certified.size(); ++i) {
    EXPECT_LT(result->certified[i].threshold, result->certified[i - 1].threshold);
    EXPECT_GE(result->certified[i].kept, result->certified[i - 1].kept);
  }
  EXPECT_NEAR(result->curve.back().coverage, 1, 0.02);
  EXPECT_EQ(*certify(labels, {.risk = 0.05, .confidence = 0.95}), *result);
}

// The certified thresholds are those before the first failure: a looser one that passes by luck is not among them.
TEST(Certify, EndsAtTheFirstFailure) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const auto result = certify(drawn(seed, 600), {.risk = 0.05, .confidence = 0.95});
    if (!result->ok()) continue;
    const auto first = std::ranges::find(result->curve, result->certified.front());
    ASSERT_NE(first, result->curve.end());
    for (std::size_t i = 0; i < result->certified.size(); ++i) {
      EXPECT_EQ(*(first + static_cast<std::ptrdiff_t>(i)), result->certified[i]);
    }
  }
}

TEST(Certify, SaysHowManyLabelsAreMissing) {
  std::vector<ScoredLabel> few;
  for (int i = 0; i < 60; ++i) few.push_back({.score = 1 - i * 0.01, .right = true, .group = std::to_string(i)});
  const auto result = certify(few, {.risk = 0.02, .confidence = 0.95});
  ASSERT_FALSE(result->ok());
  ASSERT_TRUE(result->more_labels);
  EXPECT_GE(*result->more_labels + 60, 2 * 149U);
  EXPECT_LE(*result->more_labels, 1'000U);
  EXPECT_NE(result->refusal.find("149 kept ones are needed"), std::string::npos) << result->refusal;
  EXPECT_NE(result->refusal.find(std::to_string(*result->more_labels) + " more"), std::string::npos);
}

// The number that a refusal names is enough in about four of five cases.
TEST(Certify, NamesANumberThatIsEnough) {
  std::optional<std::size_t> more;
  for (std::uint64_t seed = 0; !more && seed < 50; ++seed) {
    more = certify(drawn(seed, 200), {.risk = 0.02, .confidence = 0.95})->more_labels;
  }
  ASSERT_TRUE(more);
  int certified = 0;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    certified += certify(drawn(seed + 1000, 200 + *more), {.risk = 0.02, .confidence = 0.95})->ok() ? 1 : 0;
  }
  EXPECT_GE(certified, 70) << *more;
}

TEST(Certify, SaysThatLabelsAreNotWhatIsMissing) {
  Random random(3);
  std::vector<ScoredLabel> hopeless;
  for (int i = 0; i < 2'000; ++i) {
    hopeless.push_back({.score = random.uniform(), .right = random.chance(0.6), .group = std::to_string(i)});
  }
  const auto result = certify(hopeless, {.risk = 0.05, .confidence = 0.95});
  EXPECT_FALSE(result->ok());
  EXPECT_FALSE(result->more_labels);
  EXPECT_NE(result->refusal.find("more labels would not help"), std::string::npos) << result->refusal;
  EXPECT_NEAR(result->least_escalated, 0.37, 0.03);
}

// What was committed for its first tokens and went wrong after them is wrong.
TEST(Certify, CountsLateMisses) {
  auto labels = drawn(5, 2000);
  const auto without = certify(labels, {.risk = 0.05, .confidence = 0.95});
  for (std::size_t i = 0; i < labels.size(); i += 12) labels[i].late = true;
  const auto with = certify(labels, {.risk = 0.05, .confidence = 0.95});
  ASSERT_TRUE(without->ok());
  EXPECT_EQ(with->late, 167U);
  EXPECT_GT(with->wrong, without->wrong);
  EXPECT_FALSE(with->ok()) << "8 % late misses everywhere cannot be within 5 %";
}

TEST(Certify, CountsCopiesOnce) {
  auto labels = drawn(5, 500);
  const auto once = certify(labels, {.risk = 0.10, .confidence = 0.95});
  const auto copies = labels;
  for (int i = 0; i < 4; ++i) labels.insert(labels.end(), copies.begin(), copies.end());
  const auto often = certify(labels, {.risk = 0.10, .confidence = 0.95});
  EXPECT_EQ(often->repeated, 2000U);
  EXPECT_EQ(often->certified, once->certified);
}

TEST(Certify, NeverKeepsWhatHasNoScore) {
  auto labels = drawn(6, 1000);
  for (std::size_t i = 0; i < labels.size(); i += 2) labels[i].score.reset();
  const auto result = certify(labels, {.risk = 0.10, .confidence = 0.95});
  EXPECT_EQ(result->unscored, 500U);
  EXPECT_LE(result->curve.back().coverage, 0.6);
  for (ScoredLabel& label : labels) label.score.reset();
  const auto none = certify(labels, {.risk = 0.10, .confidence = 0.95});
  EXPECT_FALSE(none->ok());
  EXPECT_NE(none->refusal.find("none of the labels has a score"), std::string::npos);
}

// Ties are kept or escalated together: a threshold is a score, not a number of labels.
TEST(Certify, KeepsTiesTogether) {
  Random random(8);
  std::vector<ScoredLabel> labels;
  for (int i = 0; i < 1'000; ++i) {
    const bool sure = random.chance(0.5);
    labels.push_back(
        {.score = sure ? 0.9 : 0.1, .right = random.chance(sure ? 0.99 : 0.5), .group = std::to_string(i)});
  }
  const auto result = certify(labels, {.risk = 0.05, .confidence = 0.95});
  ASSERT_TRUE(result->ok());
  EXPECT_EQ(result->curve.size(), 2U);
  EXPECT_EQ(result->certified.size(), 1U);
  EXPECT_EQ(result->certified.back().threshold, 0.9);
}

TEST(Certify, RefusesWhatIsNoQuestion) {
  const auto labels = drawn(1, 10);
  EXPECT_FALSE(certify({}, {}).ok());
  EXPECT_FALSE(certify(labels, {.risk = 0}).ok());
  EXPECT_FALSE(certify(labels, {.risk = 0.1, .confidence = 1}).ok());
  EXPECT_FALSE(certify(std::vector<ScoredLabel>{{.score = std::nan("")}}, {}).ok());
  EXPECT_TRUE(certify(std::vector<ScoredLabel>{{.score = 0.5}}, {}).ok());
}

}  // namespace
}  // namespace shoal::routing
