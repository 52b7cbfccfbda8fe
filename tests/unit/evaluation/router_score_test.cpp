#include "shoal/evaluation/router_score.h"

#include <cmath>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoal/evaluation/router.h"
#include "shoal/evaluation/router_comparison.h"
#include "shoal/statistics/random.h"

namespace shoal::evaluation {
namespace {

using testing::HasSubstr;

struct Made {
  std::vector<std::string> texts;
  std::vector<PairedRow> rows;
};

PairedRow row(double weak, double strong, std::string_view group = "all") {
  return {.prompt = "",
          .group = group,
          .weak = weak,
          .strong = strong,
          .weak_answer = "",
          .weak_usd = {},
          .strong_usd = {}};
}

// Questions of two subjects; the strong model gains in one of them only.
Made two_subjects(std::size_t n, std::uint64_t seed) {
  statistics::Random random(seed);
  Made made;
  made.texts.reserve(n);
  for (std::size_t i = 0; i < n; ++i) {
    const bool hard = random.chance(0.5);
    made.texts.push_back("question " + std::to_string(i));
    PairedRow one = row(random.chance(hard ? 0.2 : 0.8) ? 1 : 0, random.chance(0.8) ? 1 : 0, hard ? "hard" : "easy");
    one.prompt = made.texts.back();
    made.rows.push_back(one);
  }
  return made;
}

// Gains 1, 0, -1, 1 in the order of the scores: the curve is 0, 1, 1, 0, 1 above the weak model.
const std::vector<PairedRow> kFour = {row(0, 1), row(1, 1), row(1, 0), row(0, 1)};

TEST(RouterCurve, IsAsComputedByHand) {
  const CurveMeasures found = RouterCurve(kFour, std::vector<double>{4, 3, 2, 1}).measures();
  EXPECT_DOUBLE_EQ(found.weak, 0.5);
  EXPECT_DOUBLE_EQ(found.strong, 0.75);
  EXPECT_DOUBLE_EQ(found.apgr, (0.5 + 1 + 0.5 + 0.5) / 4 / 1);
  EXPECT_DOUBLE_EQ(found.audc, 0.5 + 2.5 / 4 / 4);
  EXPECT_DOUBLE_EQ(found.cpt50, 0.125);
  EXPECT_DOUBLE_EQ(found.cpt80, 0.2);
}

TEST(RouterCurve, TiesAreAveraged) {
  const double tied = RouterCurve(kFour, std::vector<double>{1, 1, 1, 1}).measures().apgr;
  EXPECT_DOUBLE_EQ(tied, 0.5);  // a score that says nothing is chance
  // Of two tied rows either may come first.
  const double half = RouterCurve(kFour, std::vector<double>{2, 2, 1, 1}).measures().apgr;
  double sum = 0;
  for (const auto& scores : {std::vector<double>{4, 3, 2, 1}, {3, 4, 2, 1}, {4, 3, 1, 2}, {3, 4, 1, 2}})
    sum += RouterCurve(kFour, scores).measures().apgr / 4;
  EXPECT_DOUBLE_EQ(half, sum);
}

TEST(RouterCurve, WeightsAreRepeatedRows) {
  std::vector<PairedRow> repeated = kFour;
  repeated.push_back(kFour[0]);
  repeated.push_back(kFour[0]);
  const CurveMeasures wanted = RouterCurve(repeated, std::vector<double>{4, 3, 2, 1, 4, 4}).measures();
  const CurveMeasures found =
      RouterCurve(kFour, std::vector<double>{4, 3, 2, 1}).measures(std::vector<double>{3, 1, 1, 1});
  EXPECT_DOUBLE_EQ(found.apgr, wanted.apgr);
  EXPECT_DOUBLE_EQ(found.cpt80, wanted.cpt80);
  EXPECT_DOUBLE_EQ(found.weak, wanted.weak);
}

TEST(RouterCurve, HasNoWorthWhereThereIsNoGap) {
  const std::vector<PairedRow> none = {row(1, 0), row(0, 1)};
  EXPECT_TRUE(std::isnan(RouterCurve(none, std::vector<double>{1, 2}).measures().apgr));
}

TEST(RouterScore, OracleAndItsOpposite) {
  const Made made = two_subjects(400, 1);
  const RouterScore best = score_router(made.rows, oracle_scores(made.rows), {.resamples = 50});
  EXPECT_DOUBLE_EQ(best.normalised, 1);
  EXPECT_GT(best.measures.apgr, 1);
  const RouterScore difficulty = score_router(made.rows, difficulty_scores(made.rows), {.resamples = 50});
  EXPECT_DOUBLE_EQ(difficulty.difficulty_auroc, 1);
  EXPECT_LT(difficulty.measures.apgr, best.measures.apgr);
  // A reversed score is worth what is missing to one.
  std::vector<double> reversed = oracle_scores(made.rows);
  for (double& score : reversed) score = -score;
  EXPECT_NEAR(RouterCurve(made.rows, reversed).measures().apgr, 1 - best.measures.apgr, 1e-12);
}

TEST(RouterScore, DifficultyCountsPairsAndHalvesTies) {
  // The weak model is wrong in rows 0 and 3: above both right ones; tied with one, above the other.
  const RouterCurve curve(kFour, std::vector<double>{4, 3, 2, 3});
  EXPECT_DOUBLE_EQ(curve.difficulty_auroc(std::vector<double>(4, 1)), (2 + 0.5 + 1) / 4);
  EXPECT_DOUBLE_EQ(curve.difficulty_auroc(std::vector<double>{0, 1, 1, 2}), (2 * 0.5 + 2) / 4);
  EXPECT_DOUBLE_EQ(curve.difficulty_auroc(std::vector<double>{1, 0, 0, 1}), 0.5);
}

TEST(RouterScore, AnswersAreNeededForTheirLength) {
  std::vector<PairedRow> rows = kFour;
  EXPECT_THAT(answer_length_scores(rows).error().message(), HasSubstr("NAME_response"));
  rows[1].weak_answer = "yes";
  EXPECT_EQ(*answer_length_scores(rows), (std::vector<double>{0, 3, 0, 0}));
}

TEST(RouterScore, RouteLlmsIntegralIsClose) {
  const Made made = two_subjects(2'000, 2);
  std::vector<double> scores = random_scores(made.rows.size(), 3);
  for (std::size_t i = 0; i < scores.size(); ++i) scores[i] += made.rows[i].group == "hard" ? 0.5 : 0;
  const double ours = RouterCurve(made.rows, scores).measures().apgr;
  EXPECT_NEAR(routellm_apgr(made.rows, scores), ours, 0.02);
  // Eleven points of ten rows are all there are: the integrals are the same.
  const std::vector<PairedRow> ten(made.rows.begin(), made.rows.begin() + 10);
  const std::vector<double> order = {9, 8, 7, 6, 5, 4, 3, 2, 1, 0};
  EXPECT_NEAR(routellm_apgr(ten, order), RouterCurve(ten, order).measures().apgr, 1e-12);
}

TEST(RouterScore, ArenaScoreHasItsEnds) {
  EXPECT_DOUBLE_EQ(arena_score(1, 0.0044), 1);
  EXPECT_DOUBLE_EQ(arena_score(0.7, 200), 0);
  EXPECT_DOUBLE_EQ(arena_score(0.7, 0.0001), 1.1 * 0.7 / (0.07 + 1));
  const double half = std::sqrt(200 * 0.0044);  // half way on the scale of logarithms
  EXPECT_NEAR(arena_score(0.7, half), 1.1 * 0.7 * 0.5 / (0.07 + 0.5), 1e-12);
}

TEST(RouterScore, ArenaPointsNeedACostOfEachRow) {
  std::vector<PairedRow> rows = kFour;
  const std::vector<double> scores = {4, 3, 2, 1};
  EXPECT_TRUE(arena_points(rows, RouterCurve(rows, scores), {}).empty());
  const auto points = arena_points(rows, RouterCurve(rows, scores), Prices{1, 10});
  ASSERT_EQ(points.size(), 6U);
  EXPECT_DOUBLE_EQ(points[0].usd_per_1k, 1);
  EXPECT_DOUBLE_EQ(points[1].usd_per_1k, 3.25);
  EXPECT_DOUBLE_EQ(points[1].accuracy, 0.75);
  EXPECT_DOUBLE_EQ(points[4].usd_per_1k, 10);
  EXPECT_DOUBLE_EQ(points[5].share, 0.25);  // the best
  // Of tied rows a quarter goes, whichever it is.
  const auto tied = arena_points(rows, RouterCurve(rows, std::vector<double>(4, 1)), Prices{1, 10});
  EXPECT_DOUBLE_EQ(tied[1].usd_per_1k, 3.25);
  EXPECT_DOUBLE_EQ(tied[1].accuracy, 0.5625);
  for (PairedRow& one : rows) one.strong_usd = 0.02;
  EXPECT_DOUBLE_EQ(arena_points(rows, RouterCurve(rows, scores), Prices{1, 10})[4].usd_per_1k, 20);
}

TEST(Folds, CopiesOfAPromptStayTogether) {
  Made made = two_subjects(300, 4);
  for (std::size_t i = 0; i < 100; ++i) made.texts.push_back("QUESTION: " + std::to_string(i) + "!");
  std::vector<PairedRow> rows;
  for (const std::string& text : made.texts) {
    rows.push_back(row(0, 1, text.size() % 2 == 0 ? "even" : "odd"));
    rows.back().prompt = text;
  }
  const std::vector<std::size_t> folds = random_folds(rows, 5, 1);
  std::vector<int> sizes(5);
  for (std::size_t i = 0; i < 100; ++i) EXPECT_EQ(folds[i], folds[300 + i]);
  for (std::size_t i = 0; i < 300; ++i) ++sizes[folds[i]];
  EXPECT_THAT(sizes, testing::Each(60));
  EXPECT_NE(random_folds(rows, 5, 2), folds);
  EXPECT_EQ(group_folds(rows, 3, 1).error().code(), ErrorCode::kInvalidData);
  const auto held = group_folds(rows, 2, 1);
  ASSERT_TRUE(held.ok());
  for (std::size_t i = 1; i < rows.size(); ++i) EXPECT_EQ((*held)[i] == (*held)[0], rows[i].group == rows[0].group);
}

// Remembers every prompt that it was fitted on, and fails when it is asked about one of them.
class Witness final : public TrainableRouter {
 public:
  Result<void> fit(std::span<const PairedRow> rows) override {
    for (const PairedRow& one : rows) seen_.emplace_back(one.prompt);
    return {};
  }
  [[nodiscard]] double score(const RouterInput& input) const override {
    EXPECT_THAT(seen_, testing::Not(testing::Contains(std::string(input.prompt))));
    return static_cast<double>(seen_.size());
  }

 private:
  std::vector<std::string> seen_;
};

TEST(CrossFit, NeverScoresWhatItWasFittedOn) {
  const Made made = two_subjects(100, 5);
  const auto scores =
      cross_fit(made.rows, random_folds(made.rows, 4, 1), [](std::uint64_t) { return std::make_unique<Witness>(); }, 1);
  ASSERT_TRUE(scores.ok());
  EXPECT_THAT(scores->scores, testing::Each(75));
}

class Sure final : public TrainableRouter {
 public:
  explicit Sure(bool always) : always_(always) {}
  [[nodiscard]] Result<void> fit(std::span<const PairedRow> /*rows*/) override { return {}; }
  [[nodiscard]] double score(const RouterInput& /*input*/) const override { return 1; }
  [[nodiscard]] std::optional<double> confidence(const RouterInput& input) const override {
    if (!always_ && input.prompt.back() == '7') return std::nullopt;
    return 0.25;
  }

 private:
  const bool always_;
};

TEST(CrossFit, KeepsConfidencesWhereEachRowHasOne) {
  const Made made = two_subjects(100, 5);
  const auto folds = random_folds(made.rows, 4, 1);
  for (const bool always : {true, false}) {
    const auto scores = cross_fit(made.rows, folds, [&](std::uint64_t) { return std::make_unique<Sure>(always); }, 1);
    ASSERT_TRUE(scores.ok());
    EXPECT_EQ(scores->confidences.size(), always ? made.rows.size() : 0U);
    EXPECT_THAT(scores->confidences, testing::Each(0.25));
  }
}

TEST(CompareRouters, FindsWhatIsThereAndDoesNotFindWhatIsNot) {
  const Made made = two_subjects(3'000, 6);
  const std::vector<NamedRouter> routers = {random_router("random"), trained("group", make_group_router),
                                            fixed("length", {.scores = length_scores(made.rows), .confidences = {}})};
  const auto found = compare_routers(made.rows, routers, {.partitions = 2, .resamples = 200});
  ASSERT_TRUE(found.ok()) << found.error().message();
  ASSERT_EQ(found->routers.size(), 3U);
  EXPECT_EQ(found->groups, 2U);
  EXPECT_FALSE(found->difference_by_group);
  const RouterReport& random = found->routers[0];
  const RouterReport& group = found->routers[1];
  EXPECT_NEAR(random.score.measures.apgr, 0.5, 4 * random.score.by_row.standard_error);
  EXPECT_EQ(random.pooled.size(), 2U);
  // Half of the rows gain .6 on average, the others nothing: the curve rises to 1 at .5, and stays.
  EXPECT_NEAR(group.score.measures.apgr, 0.75, 0.04);
  EXPECT_NEAR(group.mean_of_folds, group.score.measures.apgr, 0.03);
  EXPECT_EQ(group.verdict, statistics::Verdict::kBetter);
  EXPECT_EQ(found->routers[2].verdict, statistics::Verdict::kCannotTell);
  const auto again = compare_routers(made.rows, routers, {.partitions = 2, .resamples = 200});
  EXPECT_EQ(again->routers[1].score.by_row.standard_error, group.score.by_row.standard_error);
}

TEST(CompareRouters, HeldOutGroupsTeachALookUpNothing) {
  Made made = two_subjects(2'000, 7);
  const auto found = compare_routers(made.rows, std::vector{trained("group", make_group_router)},
                                     {.folds = 2, .partitions = 1, .by_group = true, .resamples = 10});
  ASSERT_TRUE(found.ok()) << found.error().message();
  EXPECT_LE(found->routers[0].score.measures.apgr, 0.5);
  EXPECT_DOUBLE_EQ(found->routers[0].mean_of_folds, 0.5);  // inside a fold all of its scores are the same
}

TEST(CompareRouters, RefusesAPairTheWrongWayRound) {
  const std::vector<PairedRow> rows = {row(1, 0), row(1, 1)};
  const auto found = compare_routers(rows, std::vector{random_router("random")}, {.folds = 2});
  ASSERT_FALSE(found.ok());
  EXPECT_THAT(found.error().message(), HasSubstr("the right way round"));
}

}  // namespace
}  // namespace shoal::evaluation
