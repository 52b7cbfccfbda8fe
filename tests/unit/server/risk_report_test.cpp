// What is told of a route's risk, from receipts and labels: strata apart, feedback apart, nothing invented.
#include "shoal/server/risk_report.h"

#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include "shoal/statistics/binomial.h"

namespace shoal::server {
namespace {

using audit::Action;
using audit::LabelKind;
using audit::Stratum;
using store::JudgedAnswer;

struct Answers {
  std::vector<JudgedAnswer> all;

  JudgedAnswer& add(Action action, double propensity, bool drawn = false) {
    JudgedAnswer& one = all.emplace_back();
    one.sequence = all.size();
    one.request = std::to_string(all.size());
    one.confidence = 0.9;
    one.judged.action = action;
    one.judged.threshold = 0.8;
    one.judged.propensity = propensity;
    one.judged.drawn = drawn;
    return one;
  }
  static void label(JudgedAnswer& one, LabelKind kind, bool right) {
    store::LabelRow& row = one.labels.emplace_back();
    row.label.kind = kind;
    row.label.right = right;
    row.label.source = std::to_string(one.labels.size());
  }
};

const RiskStratum* find(const RiskReport& report, const std::string& name) {
  for (const RiskStratum& one : report.strata) {
    if (one.name == name) return &one;
  }
  return nullptr;
}

TEST(RiskReport, WeighsAuditsByTheirPropensities) {
  Answers answers;
  for (int i = 0; i < 100; ++i) {
    JudgedAnswer& often = answers.add(Action::kKept, 0.5, i % 2 == 0);
    if (i % 2 == 0) Answers::label(often, LabelKind::kAudit, i % 10 != 0);
  }
  for (int i = 0; i < 100; ++i) {
    JudgedAnswer& seldom = answers.add(Action::kKept, 0.1, i % 10 == 0);
    if (i % 10 == 0) Answers::label(seldom, LabelKind::kAudit, i % 20 != 0);
  }
  const RiskReport report = risk_report(answers.all);
  ASSERT_EQ(report.strata.size(), 1U);
  const RiskStratum& open = report.strata.front();
  EXPECT_EQ(open.kept, 200U);
  EXPECT_EQ(open.drawn, 60U);
  EXPECT_EQ(open.hajek->audited, 60U);
  EXPECT_EQ(open.hajek->wrong, 15U);
  // 10 of 50 audits that stand for 2 each, 5 of 10 that stand for 10 each.
  EXPECT_NEAR(open.hajek->risk, (10 * 2 + 5 * 10) / 200.0, 1e-12);
  EXPECT_TRUE(open.hajek->interval.has(0.35));
}

TEST(RiskReport, PartsThatAreAuditedByOtherRulesAreApart) {
  Answers answers;
  Answers::label(answers.add(Action::kKept, 1, true), LabelKind::kAudit, true);
  answers.add(Action::kKept, 0).judged.stratum = Stratum::kLocalOnly;
  answers.add(Action::kKept, 0).judged.stratum = Stratum::kSeveral;
  answers.add(Action::kKept, 0);  // while the share was 0
  answers.add(Action::kKept, 0).judged.late = true;
  const RiskReport report = risk_report(answers.all);
  EXPECT_EQ(find(report, "open")->kept, 1U);
  EXPECT_EQ(find(report, "local_only")->kept, 1U);
  EXPECT_FALSE(find(report, "local_only")->hajek);
  EXPECT_EQ(find(report, "several")->kept, 1U);
  EXPECT_EQ(find(report, "unaudited")->kept, 2U);
  EXPECT_EQ(find(report, "unaudited")->late, 1U);
  EXPECT_FALSE(find(report, "unaudited")->hajek);
}

TEST(RiskReport, FeedbackIsCountedAndEstimatesNothing) {
  Answers answers;
  for (int i = 0; i < 10; ++i) {
    JudgedAnswer& one = answers.add(Action::kKept, 1, true);
    Answers::label(one, LabelKind::kAudit, true);
    Answers::label(one, LabelKind::kFeedback, false);
  }
  Answers::label(answers.add(Action::kEscalated, 1), LabelKind::kFeedback, true);
  const RiskReport report = risk_report(answers.all);
  EXPECT_EQ(find(report, "open")->hajek->wrong, 0U);
  EXPECT_EQ(report.feedback_of_kept.wrong, 10U);
  EXPECT_EQ(report.feedback_of_others.right, 1U);
}

TEST(RiskReport, TheEscalatedOnesStandByThemselves) {
  Answers answers;
  for (int i = 0; i < 20; ++i) Answers::label(answers.add(Action::kEscalated, 1), LabelKind::kEscalation, i % 4 == 0);
  answers.add(Action::kEscalated, 1);  // its draft was cut
  const RiskReport report = risk_report(answers.all);
  EXPECT_TRUE(report.strata.empty());
  EXPECT_EQ(report.escalated.wrong, 15U);
  EXPECT_EQ(report.escalated_interval, statistics::clopper_pearson(15, 20, 0.95));
  EXPECT_EQ(report.actions.at(Action::kEscalated), 21U);
}

TEST(RiskReport, AuditsThatNeverCameAreLostByChance) {
  Answers answers;
  for (int i = 0; i < 100; ++i) {
    JudgedAnswer& one = answers.add(Action::kKept, 0.4, i % 5 < 2);
    one.confidence = 0.5;
    if (i % 5 == 0) Answers::label(one, LabelKind::kAudit, i % 10 == 0);
  }
  const RiskStratum open = risk_report(answers.all).strata.front();
  EXPECT_EQ(open.drawn, 40U);
  EXPECT_EQ(open.hajek->audited, 20U);
  EXPECT_NEAR(open.hajek->risk, 0.5, 1e-12);
  // Half of them came: each was seen with the probability 0.2. With 0.4 it would be 0.5 + 0.
  EXPECT_NEAR(open.doubly_robust->risk, 0.5, 1e-12);
  answers.all.front().labels.clear();
  EXPECT_GT(risk_report(answers.all).strata.front().doubly_robust->risk, 0.5) << "one that was right is gone";
}

TEST(RiskReport, OnlyWhatWasDrawnCountsAsAudited) {
  Answers answers;
  Answers::label(answers.add(Action::kKept, 0.5), LabelKind::kAudit, false);
  EXPECT_FALSE(risk_report(answers.all).strata.front().hajek);
}

TEST(RiskReport, IsToldToTheLastDigit) {
  Answers answers;
  for (int i = 0; i < 3; ++i) {
    JudgedAnswer& one = answers.add(Action::kKept, 0.3, true);
    one.judged.certificate = "3f0c";
    Answers::label(one, LabelKind::kAudit, i > 0);
  }
  const RiskReport report = risk_report(answers.all);
  const std::string text = risk_json(report, "r", 0, 86'400, 0.95, "[]");
  const boost::json::value json = boost::json::parse(text);
  EXPECT_EQ(json.at("route").as_string(), "r");
  EXPECT_EQ(json.at("until").as_string(), "1970-01-01");
  const boost::json::value& open = json.at("strata").at(0);
  EXPECT_EQ(open.at("wrong").as_int64(), 1);
  const statistics::RiskEstimate& hajek = *report.strata.front().hajek;
  EXPECT_NE(text.find(fmt::format(R"("hajek":{{"risk":{},"low":{},"high":{},)", hajek.risk, hajek.interval.low,
                                  hajek.interval.high)),
            std::string::npos);
  EXPECT_EQ(json.at("gates").at(0).at("certificate").as_string(), "3f0c");
  EXPECT_EQ(json.at("gates").at(0).at("wrong").as_int64(), 1);
  EXPECT_TRUE(json.at("escalated_only").at("risk").is_null());
}

TEST(RiskReport, OfNothingIsNothing) {
  const RiskReport report = risk_report({});
  EXPECT_TRUE(report.strata.empty());
  EXPECT_EQ(boost::json::parse(risk_json(report, "r", 0, 86'400, 0.95, "null")).at("judged").at("kept").as_int64(), 0);
}

}  // namespace
}  // namespace shoal::server
