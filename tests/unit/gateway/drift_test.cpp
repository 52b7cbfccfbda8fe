// When a certificate no longer describes what runs, its threshold becomes stricter; and how many answers a key
// escalates.
#include "shoal/gateway/drift.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "shoal/gateway/escalations.h"
#include "shoal/statistics/random.h"

namespace shoal::gateway {
namespace {

using statistics::Random;

routing::Certificate certificate_of(std::vector<double> strictest_first) {
  routing::Certificate out;
  out.sha256 = "3f0c9a1122334455";
  for (const double one : strictest_first) out.shown.certified.push_back({.threshold = one});
  return out;
}

struct DriftTest : testing::Test {
  // A kept answer with this score, audited at once.
  void audited(double score, bool wrong, const std::string& id_of_gate = "3f0c9a112233") {
    const std::string id = std::to_string(++requests);
    audit::Judged judged;
    judged.drawn = true;
    judged.certificate = id_of_gate;
    drift.judged(id, "r", judged, score);
    drift.labelled(id, audit::LabelKind::kAudit, !wrong);
  }
  // Audits until an alarm, all wrong.
  void alarm(double score) {
    const std::uint64_t before = drift.alarms();
    for (int i = 0; i < 200 && drift.alarms() == before; ++i) audited(score, true);
    ASSERT_EQ(drift.alarms(), before + 1);
  }

  base::Log log = base::Log::null();
  Drift drift{log};
  const routing::Certificate certificate = certificate_of({0.95, 0.9, 0.85});
  int requests = 0;
};

TEST_F(DriftTest, EachAlarmIsAStepAndAfterTheStrictestNothingIsLeft) {
  drift.promise("r", 0.05, certificate);
  EXPECT_EQ(drift.steps_back("r", certificate), 0U);
  alarm(0.99);
  EXPECT_EQ(drift.steps_back("r", certificate), 1U);
  alarm(0.99);
  EXPECT_EQ(drift.steps_back("r", certificate), 2U);
  alarm(0.99);
  EXPECT_EQ(drift.steps_back("r", certificate), std::nullopt);
  for (int i = 0; i < 200; ++i) audited(0.99, true);
  EXPECT_EQ(drift.alarms(), 3U) << "nothing is left to be stricter";
  EXPECT_EQ(drift.json("r"), R"([{"certificate":"3f0c9a112233","alarms":3,"threshold":null,"audits":0,"wrong":0}])");
  EXPECT_EQ(drift.json("other"), "[]");
}

TEST_F(DriftTest, AuditsOfAnswersThatTheThresholdOfNowWouldNotKeepSayNothingOfIt) {
  drift.promise("r", 0.05, certificate);
  alarm(0.86);
  for (int i = 0; i < 500; ++i) audited(0.86, true);
  EXPECT_EQ(drift.steps_back("r", certificate), 1U);
  alarm(0.9);
}

TEST_F(DriftTest, OtherGatesAndOtherLabelsChangeNothing) {
  drift.promise("r", 0.05, certificate);
  for (int i = 0; i < 500; ++i) audited(0.99, true, "another");
  audit::Judged judged;
  judged.drawn = true;
  judged.certificate = "3f0c9a112233";
  for (int i = 0; i < 200; ++i) {
    const std::string id = "f" + std::to_string(i);
    drift.judged(id, "r", judged, 0.99);
    drift.labelled(id, audit::LabelKind::kFeedback, false);
    drift.labelled(id, audit::LabelKind::kEscalation, false);
    drift.judged("o" + id, "other", judged, 0.99);
    drift.labelled("o" + id, audit::LabelKind::kAudit, false);
    drift.labelled("nobody", audit::LabelKind::kAudit, false);
  }
  EXPECT_EQ(drift.alarms(), 0U);
  EXPECT_EQ(drift.steps_back("other", certificate), 0U);
}

TEST_F(DriftTest, TheSameRecordsLeadToTheSameThreshold) {
  drift.promise("r", 0.05, certificate);
  Drift again{log};
  again.promise("r", 0.05, certificate);
  again.set_replaying(true);
  Random random(3);
  audit::Judged judged;
  judged.drawn = true;
  judged.certificate = "3f0c9a112233";
  for (int i = 0; i < 3000; ++i) {
    const double score = random.uniform();
    const bool right = random.uniform() > 0.2;
    for (Drift* one : {&drift, &again}) {
      one->judged(std::to_string(i), "r", judged, score);
      one->labelled(std::to_string(i), audit::LabelKind::kAudit, right);
    }
  }
  EXPECT_EQ(drift.json("r"), again.json("r"));
  EXPECT_GT(drift.alarms(), 0U);
  drift.promise("r", 0.05, certificate);  // a reload
  EXPECT_EQ(drift.json("r"), again.json("r"));
}

// The bars: a rise from 5 to 10 % is found after 150 labels at the median, and 95 of 100 calm runs of 3,000 raise none.
TEST(GateDrift, FindsARiseAndStaysCalmWithoutOne) {
  std::vector<int> delays;
  int false_alarms = 0;
  for (std::uint64_t run = 0; run < 1000; ++run) {
    Random random(run);
    GateDrift calm(0.05, 5, {});
    for (int i = 0; i < 3000 && calm.alarms() == 0; ++i) calm.audited(1, random.chance(0.05), 0.5);
    false_alarms += calm.alarms() > 0 ? 1 : 0;
    GateDrift rises(0.05, 5, {});
    int audits = 0;
    while (rises.alarms() == 0 && audits < 5000) {
      rises.audited(1, random.chance(0.10), 0.5);
      ++audits;
    }
    delays.push_back(audits);
  }
  std::ranges::sort(delays);
  EXPECT_LE(false_alarms, 71) << "three standard deviations";
  RecordProperty("median_delay", delays[delays.size() / 2]);
  EXPECT_LT(delays[delays.size() / 2], 400) << "with a promise that holds for 3,000 audits; measured by bench-routing";
}

TEST(GateDrift, ScoresThatAreSpreadOtherwiseAreFoundWithoutALabel) {
  Random random(5);
  GateDrift gate(0.05, 5, {});
  for (int i = 0; i < 20'000; ++i) EXPECT_FALSE(gate.scored(random.uniform()));
  int seen = 0;
  while (!gate.scored(random.uniform() * 0.7) && seen < 2000) ++seen;
  EXPECT_LT(seen, 300);
  EXPECT_EQ(gate.alarms(), 1U);
  for (int i = 0; i < 5000; ++i) EXPECT_FALSE(gate.scored(random.uniform() * 0.7)) << "what is usual is learned anew";
}

TEST(GateDrift, ScoresThatAreAllTheSameAreNoDrift) {
  GateDrift gate(0.05, 5, {});
  for (int i = 0; i < 5000; ++i) EXPECT_FALSE(gate.scored(0.97));
}

constexpr std::int64_t kHourNs = 3'600'000'000'000;

TEST(Escalations, EachKeyHasItsOwnAndTheyComeBack) {
  Escalations all;
  for (int i = 0; i < 60; ++i) EXPECT_TRUE(all.take("r", "alice", 60, 0)) << i;
  EXPECT_FALSE(all.left("r", "alice", 60, 0));
  EXPECT_FALSE(all.take("r", "alice", 60, 0));
  EXPECT_EQ(all.refused(), 1U);
  EXPECT_TRUE(all.take("r", "bob", 60, 0));
  EXPECT_TRUE(all.take("other", "alice", 60, 0));
  EXPECT_FALSE(all.take("r", "alice", 60, kHourNs / 61));
  EXPECT_TRUE(all.take("r", "alice", 60, kHourNs / 59));
  EXPECT_FALSE(all.take("r", "alice", 60, kHourNs / 59));
  EXPECT_TRUE(all.take("r", "alice", 60, 100 * kHourNs));
  for (int i = 0; i < 59; ++i) EXPECT_TRUE(all.take("r", "alice", 60, 100 * kHourNs));
  EXPECT_FALSE(all.take("r", "alice", 60, 100 * kHourNs)) << "never more than an hour's";
}

TEST(Escalations, WithoutALimitNothingIsKept) {
  Escalations all;
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(all.take("r", "alice", 0, 0));
  EXPECT_EQ(all.buckets(), 0U);
}

TEST(Escalations, ManyKeysTakeNoMoreMemory) {
  Escalations all;
  for (int i = 0; i < 50'000; ++i) all.take("r", std::to_string(i), 60, i * kHourNs);
  EXPECT_LT(all.buckets(), 10'002U);
}

}  // namespace
}  // namespace shoal::gateway
