// Reports and gates: the numbers, what is left out of them, and what must not be claimed.
#include "shoal/evaluation/report.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>

#include "shoal/evaluation/gate.h"
#include "shoal/evaluation/report_words.h"
#include "shoal/evaluation/svg.h"

namespace shoal::evaluation {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

RowResult said(const std::string& text, bool right, double confidence = -1) {
  RowResult out;
  out.asked = true;
  out.answer.text = text;
  out.answer.latency_ms = right ? 10 : 30;
  out.answer.prompt_tokens = 5;
  out.answer.completion_tokens = 2;
  out.answer.cost_usd = 0.25;
  out.answer.decision = right ? "local" : "escalated";
  if (confidence >= 0) out.answer.confidence = confidence;
  out.grade = Grade{.score = right ? 1.0 : 0.0, .right = right, .why = "w"};
  return out;
}

// Rows alternate between two topics; route i has right what `right[i]` says.
Report report_of(const std::vector<std::vector<bool>>& right, const std::string& baseline = "r0") {
  Suite suite;
  suite.name = "s";
  suite.sha256 = std::string(64, 'a');
  suite.grader.kind = GraderKind::kLabel;
  suite.grader.labels = {"yes", "no"};
  suite.slices = {"topic"};
  RunResult run;
  for (std::size_t r = 0; r < right.size(); ++r) {
    RouteResult& route = run.routes.emplace_back();
    route.route = "r" + std::to_string(r);
    for (std::size_t i = 0; i < right[r].size(); ++i) {
      route.rows.push_back(said(right[r][i]  ? "yes"
                                : i % 3 == 0 ? "no"
                                             : "<b>maybe</b>",
                                right[r][i], right[r][i] ? 0.9 : 0.3));
      if (r > 0) continue;
      SuiteRow row;
      row.id = "q" + std::to_string(i);
      row.gold.answers = {"yes"};
      row.slices = {i % 2 == 0 ? "even" : "odd"};
      suite.rows.push_back(row);
    }
  }
  return make_report(std::move(suite), std::move(run), baseline);
}
// `wrong` of `all` are wrong, the first ones.
std::vector<bool> wrong_first(std::size_t wrong, std::size_t all) {
  std::vector<bool> out(all, true);
  for (std::size_t i = 0; i < wrong; ++i) out[i] = false;
  return out;
}

TEST(Report, CountsAndIntervals) {
  const Report report = report_of({wrong_first(20, 100)}, "");
  const RouteSummary& route = report.routes.at(0);
  EXPECT_EQ(route.graded, 100U);
  EXPECT_DOUBLE_EQ(route.right.value, 0.8);
  // Clopper-Pearson of 80 of 100, as R's binom.test has it.
  EXPECT_NEAR(route.right.interval.low, 0.7081573, 1e-6);
  EXPECT_NEAR(route.right.interval.high, 0.8733444, 1e-6);
  EXPECT_DOUBLE_EQ(route.cost_usd, 25);
  EXPECT_DOUBLE_EQ(route.latency_p50_ms, 10);
  EXPECT_DOUBLE_EQ(route.latency_p95_ms, 30);
  EXPECT_EQ(route.prompt_tokens, 500);
  EXPECT_EQ(route.decisions.at("local"), 80U);
  EXPECT_FALSE(route.score) << "a label is right or wrong";
  ASSERT_TRUE(route.reliability);
  EXPECT_DOUBLE_EQ(route.reliability->auroc, 1);
  EXPECT_EQ(route.risk.size(), 2U);
  EXPECT_EQ(route.risk[0].risk, 0);
  ASSERT_TRUE(route.confusion);
  EXPECT_EQ(route.confusion->counts[0][0], 80U);
  EXPECT_EQ(route.confusion->counts[0][1], 7U) << "no";
  EXPECT_EQ(route.confusion->counts[0][2], 13U) << "something else";
  EXPECT_TRUE(report.comparisons.empty());
}

TEST(Report, WhatFailedIsNeitherRightNorWrong) {
  Report report = report_of({wrong_first(0, 10)}, "");
  RunResult run = report.run;
  run.routes[0].rows[0].answer.error = "overloaded: full";
  run.routes[0].rows[0].grade.reset();
  run.routes[0].rows[1].grade.reset();
  run.routes[0].rows[2] = RowResult{};
  const Report again = make_report(report.suite, run, "");
  const RouteSummary& route = again.routes.at(0);
  EXPECT_EQ(route.graded, 7U);
  EXPECT_EQ(route.errors, 1U);
  EXPECT_EQ(route.ungraded, 1U);
  EXPECT_EQ(route.unasked, 1U);
  EXPECT_DOUBLE_EQ(route.right.value, 1);
  EXPECT_EQ(missing_text(route), "3 of 10 questions: 1 failed, 1 could not be graded, 1 not asked");
  EXPECT_THAT(report_markdown(again), HasSubstr("1 failed"));
}

TEST(Report, ComparesOnPairsAndSaysWhenItCannotTell) {
  const Report clear = report_of({wrong_first(60, 200), wrong_first(10, 200)});
  ASSERT_EQ(clear.comparisons.size(), 1U);
  const RouteComparison& one = clear.comparisons[0];
  EXPECT_DOUBLE_EQ(one.difference.value, 0.25);
  EXPECT_EQ(one.only_route, 50U);
  EXPECT_EQ(one.only_baseline, 0U);
  EXPECT_LT(one.p, 1e-9);
  EXPECT_EQ(one.verdict, statistics::Verdict::kBetter);
  EXPECT_EQ(clear.slice_comparisons.size(), 2U);
  EXPECT_EQ(clear.slice_comparisons[0].verdict, statistics::Verdict::kBetter);
  EXPECT_GE(clear.slice_comparisons[0].p_holm, clear.slice_comparisons[0].p);
  const Report close = report_of({wrong_first(11, 200), wrong_first(10, 200)});
  EXPECT_EQ(close.comparisons[0].verdict, statistics::Verdict::kCannotTell);
  EXPECT_THAT(report_markdown(close), HasSubstr("cannot tell r1 from r0"));
  EXPECT_THAT(report_html(close), HasSubstr("cannot tell r1 from r0"));
}

TEST(Report, IsOnePageWithoutAnythingFromElsewhere) {
  const std::string page = report_html(report_of({wrong_first(60, 200), wrong_first(10, 200)}));
  EXPECT_THAT(page, HasSubstr("<svg"));
  for (const char* const plot : {"Cost against accuracy", "Risk against coverage", "Reliability", "Confusion of r0"})
    EXPECT_THAT(page, HasSubstr(plot));
  EXPECT_THAT(page, Not(HasSubstr("<b>maybe"))) << "answers are escaped";
  EXPECT_THAT(page, HasSubstr("&lt;b&gt;maybe"));
  for (const char* const outside : {"http:", "https:", "<script", "<link", "<img", "url("})
    EXPECT_THAT(page, Not(HasSubstr(outside)));
  EXPECT_THAT(page, Not(HasSubstr("nan")));
  EXPECT_EQ(page, report_html(report_of({wrong_first(60, 200), wrong_first(10, 200)})));
}

TEST(Report, JsonHasEveryRowAndReadsBack) {
  const Report report = report_of({wrong_first(3, 9), wrong_first(2, 9)});
  const auto json = boost::json::parse(report_json(report));
  EXPECT_EQ(json.at("format").as_string(), kReportFormat);
  EXPECT_EQ(json.at("routes").at(1).at("results").as_array().size(), 9U);
  EXPECT_EQ(json.at("routes").at(0).at("accuracy").at("rows").as_int64(), 9);
  EXPECT_EQ(json.at("comparisons").at(0).at("verdict").as_string(), "cannot tell");
}

TEST(Scales, OfPowersHaveTheirTicks) {
  const Scale scale = Scale::powers(275, 11'230);
  EXPECT_EQ(scale.ticks(), (std::vector<double>{200, 500, 1'000, 2'000, 5'000, 10'000, 20'000}));
  EXPECT_NEAR(scale.place(2'000), 0.5, 1e-9);
}

TEST(Plots, AsFilesStandAlone) {
  Plot plot("risk & more", "x", "y", {}, {}, true);
  const std::string bare = plot.file();
  plot.key("wrong <here>", "s0");
  const std::string file = plot.file();
  EXPECT_THAT(file, HasSubstr("xmlns=\"http://www.w3.org/2000/svg\""));
  EXPECT_THAT(file, HasSubstr("risk &amp; more"));
  EXPECT_THAT(file, HasSubstr("wrong &lt;here&gt;"));
  EXPECT_THAT(file, HasSubstr(std::string(plot_css())));
  EXPECT_THAT(bare, HasSubstr("height=\"320\""));
  EXPECT_THAT(file, HasSubstr("height=\"340\"")) << "room for the key";
}

TEST(Scales, AreRound) {
  const Scale scale = Scale::around(0.713, 0.846);
  EXPECT_LE(scale.low, 0.713);
  EXPECT_GE(scale.high, 0.846);
  EXPECT_NEAR(scale.step, 0.05, 1e-12);
  EXPECT_GT(Scale::around(0, 0).high, 0);
  EXPECT_GT(Scale::around(1, 1).high, Scale::around(1, 1).low);
}

struct GateTest : testing::Test {
  void SetUp() override { fs::create_directories(folder); }
  void TearDown() override { fs::remove_all(folder); }
  Results results(const std::vector<bool>& right, std::size_t unasked = 0) {
    Report report = report_of({right}, "");
    RunResult run = report.run;
    for (std::size_t i = 0; i < unasked; ++i) run.routes[0].rows[right.size() - 1 - i] = RowResult{};
    std::ofstream(folder / "r.json") << report_json(make_report(report.suite, run, ""));
    auto read = read_results(folder / "r.json", "");
    EXPECT_TRUE(read.ok()) << (read.ok() ? "" : read.error().message());
    return read.ok() ? *read : Results{};
  }
  const fs::path folder = fs::path(testing::TempDir()) / ("gate_" + std::to_string(::getpid()));
};

TEST_F(GateTest, KnowsFineFromWorseAndSaysWhenItDoesNot) {
  const Results base = results(wrong_first(20, 400));
  const auto same = gate(base, base, 0.01);
  ASSERT_TRUE(same.ok());
  EXPECT_EQ(same->verdict, GateVerdict::kFine);
  EXPECT_EQ(gate(results(wrong_first(80, 400)), base, 0.01)->verdict, GateVerdict::kRegression);
  EXPECT_EQ(gate(results(wrong_first(80, 400)), base, 0.2)->verdict, GateVerdict::kFine) << "within the margin";
  EXPECT_EQ(gate(results(wrong_first(26, 400)), base, 0.01)->verdict, GateVerdict::kCannotTell);
  EXPECT_EQ(gate(results(wrong_first(5, 400)), base, 0.01)->verdict, GateVerdict::kFine) << "better";
}

TEST_F(GateTest, CountsWhatIsMissingAsLost) {
  const Results base = results(wrong_first(20, 400));
  const auto few = gate(results(wrong_first(20, 400), 3), base, 0.01);
  EXPECT_EQ(few->missing, 3U);
  EXPECT_EQ(few->verdict, GateVerdict::kFine);
  EXPECT_EQ(gate(results(wrong_first(20, 400), 8), base, 0.01)->verdict, GateVerdict::kCannotTell);
}

TEST_F(GateTest, ASliceAloneMayBeARegression) {
  const Results base = results(wrong_first(0, 400));
  std::vector<bool> worse(400, true);
  for (std::size_t i = 0; i < 50; i += 2) worse[i] = false;  // even ones
  const auto found = gate(results(worse), base, 0.1);
  EXPECT_EQ(found->whole.verdict, GateVerdict::kFine);
  EXPECT_EQ(found->verdict, GateVerdict::kFine) << "25 of 200 is not shown to be above a tenth";
  for (std::size_t i = 50; i < 120; i += 2) worse[i] = false;
  const auto clear = gate(results(worse), base, 0.2);
  EXPECT_EQ(clear->whole.verdict, GateVerdict::kFine);
  ASSERT_EQ(clear->slices.size(), 2U);
  EXPECT_EQ(clear->slices[0].comparison.value, "even");
  EXPECT_EQ(clear->slices[0].verdict, GateVerdict::kRegression);
  EXPECT_EQ(clear->slices[1].verdict, GateVerdict::kFine);
  EXPECT_EQ(clear->verdict, GateVerdict::kRegression);
}

TEST_F(GateTest, RefusesWhatCannotBeCompared) {
  const Results base = results(wrong_first(2, 10));
  Results other = base;
  other.suite = "t";
  EXPECT_FALSE(gate(other, base, 0.01).ok());
  other = base;
  other.rows.clear();
  EXPECT_FALSE(gate(other, base, 0.01).ok());
  std::ofstream(folder / "x.json") << "{}";
  EXPECT_FALSE(read_results(folder / "x.json", "").ok());
  EXPECT_FALSE(read_results(folder / "none.json", "").ok());
  std::ofstream(folder / "two.json") << report_json(report_of({wrong_first(1, 9), wrong_first(2, 9)}));
  EXPECT_THAT(read_results(folder / "two.json", "").error().message(), HasSubstr("name one with --route"));
  EXPECT_TRUE(read_results(folder / "two.json", "r1").ok());
  EXPECT_EQ(read_results(folder / "two.json", "r2").error().suggestion(), "r0");
}

}  // namespace
}  // namespace shoal::evaluation
