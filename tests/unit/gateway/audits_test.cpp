// Kept answers that are held against a provider's afterwards, and what is written down of each decision.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoal/gateway/drift.h"
#include "shoal/gateway/judgement.h"
#include "shoal/ledger/calendar.h"

#include "unit/gateway/remote_fixture.h"
#include "unit/routing/tables.h"

namespace shoal::gateway {
namespace {

using audit::Action;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using types::FinishReason;

// After two tokens, and at the end, the confidence is sigmoid(4 + 10 * mean log-probability). All that is kept is
// audited; the provider says "Hi".
struct AuditsTest : RouteTest {
  AuditsTest() {
    route.policy = routing::Policy::kSlmFirst;
    route.on_null_confidence = routing::NullConfidence::kEscalate;
    route.commit_tokens = 2;
    route.commit_ms = 60'000;
    route.task = "snips";
    route.audit_share = 1;
    with_audits = true;
    types::ModelInfo info;
    info.name = "m";
    info.sha256 = "b179c9523d0e6a0f";
    info.quantisation = "Q4_1";
    info.template_sha256 = "c0ffee";
    engine.model_list = {info};
    tables = {routing::table_of({.mean = 10}, 4), routing::table_of({.mean = 10}, 4, 2)};
  }
  void start(std::string response = http(kAnswer)) {
    routes = {route};
    acme(std::move(response));
  }
  static AnswerRequest greedy(bool stream) {
    AnswerRequest out = by_route(stream);
    out.params.sampling.temperature = 0;
    return out;
  }
  void model_says(const std::string& text, float logprob = 0) {
    engine.answers = {{{says(text, logprob), ends(FinishReason::kStop, 7, 1)}, {}, {}}};
  }
};

const std::string kStream = event(R"({"content":"Hi"})") + event("{}", R"("stop")") +
                            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":3}}\n\n"
                            "data: [DONE]\n\n";

TEST_F(AuditsTest, AKeptAnswerIsHeldAgainstTheProvidersAfterTheClientHasIt) {
  start();
  model_says("Hi");
  Recorder sink(false);
  sink.on_say = [&](const std::string&) { EXPECT_TRUE(asked.empty()) << "nobody is asked before the client has it"; };
  run(greedy(false), sink);
  EXPECT_EQ(sink.said, (Said{"0:Hi", "0.stop", "commit m local", "done"}));
  EXPECT_THAT(sink.receipt.reasons,
              Contains(types::Reason{"audit", "drawn", "audit_share 1", "ask acme/big too, afterwards"}));
  EXPECT_THAT(asked, HasSubstr("Hello"));
  const Said lines = written();
  EXPECT_THAT(
      lines, ElementsAre("receipt local 200 0", "intent acme/big audit", "settled 3045", "label audit right acme/big"));
  EXPECT_EQ(spent(), (std::pair<std::int64_t, std::int64_t>{3045, 0})) << "it is paid from the same budgets";
  EXPECT_EQ(audit_counts.right, 1U);
  ASSERT_TRUE(judged);
  EXPECT_EQ(judged->action, Action::kKept);
  EXPECT_EQ(judged->propensity, 1);
  EXPECT_TRUE(judged->drawn);
  EXPECT_EQ(judged->threshold, 0.8);
  EXPECT_EQ(judged->stratum, audit::Stratum::kOpen);
  EXPECT_EQ(judged->model, "b179c9523d0e Q4_1 c0ffee greedy snips");
  EXPECT_EQ(judged_counts.kept, 1U);
}

TEST_F(AuditsTest, WhatIsNotDrawnIsNotAskedAndSaysWithWhichProbabilityItWouldHaveBeen) {
  route.audit_share = 1e-12;
  start();
  model_says("Hi");
  Recorder sink(false);
  run(greedy(false), sink);
  EXPECT_THAT(written(), ElementsAre("receipt local 200 0"));
  EXPECT_EQ(server->connections, 0);
  EXPECT_FALSE(judged->drawn);
  EXPECT_EQ(judged->propensity, 1e-12);
}

TEST_F(AuditsTest, AnotherAnswerIsWrong) {
  start();
  model_says("Ho");
  Recorder sink(false);
  run(greedy(false), sink);
  EXPECT_EQ(written().back(), "label audit wrong acme/big");
  EXPECT_EQ(audit_counts.wrong, 1U);
}

TEST_F(AuditsTest, OfAStreamAllOfTheTextIsCompared) {
  start(http(event(R"({"content":"Hi"})") + event(R"({"content":" there"})", R"("stop")") +
                 "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":3}}\n\ndata: [DONE]\n\n",
             "200 OK", "text/event-stream"));
  engine.answers = {{{says("Hi", 0), says(" th", 0), says("ere", -0.01F), ends(FinishReason::kStop, 7, 3)}, {}, {}}};
  Recorder sink(true);
  run(greedy(true), sink);
  EXPECT_EQ(sink.said.back(), "done");
  EXPECT_EQ(written().back(), "label audit right acme/big");
}

TEST_F(AuditsTest, WhatIsLocalOnlyIsAStratumApartAndLeavesNever) {
  route.risk = 0.05;  // judged also where nobody else may answer
  routing::Certificate certificate;
  certificate.key = tables[1].key;
  certificate.gate = routing::Gate::kWhole;
  tables[0].sha256 = "whole";
  tables[1].sha256 = "prefix";
  certificate.scores = "prefix+whole";
  certificate.shown.certified = {{.threshold = 0.9}};
  certificate.sha256 = "3f0c9a1122334455";
  certificates = {certificate};
  start();
  model_says("Hi");
  Recorder sink(false);
  AnswerRequest asks = greedy(false);
  asks.local_only = true;
  run(std::move(asks), sink);
  EXPECT_EQ(sink.said.back(), "done");
  EXPECT_THAT(written(), ElementsAre("receipt local 200 0"));
  EXPECT_EQ(server->connections, 0);
  ASSERT_TRUE(judged);
  EXPECT_EQ(judged->stratum, audit::Stratum::kLocalOnly);
  EXPECT_EQ(judged->propensity, 0);
  EXPECT_FALSE(judged->drawn);
  EXPECT_EQ(judged->certificate, "3f0c9a112233");
  EXPECT_EQ(judged->threshold, 0.9);
}

TEST_F(AuditsTest, SeveralAnswersAtOnceAreNotCompared) {
  start();
  engine.answers = {{{says("a", 0), ends(FinishReason::kStop, 7, 1)}, {}, {}},
                    {{says("b", 0), ends(FinishReason::kStop, 7, 1)}, {}, {}}};
  Recorder sink(false);
  AnswerRequest two = greedy(false);
  two.params.n = 2;
  run(std::move(two), sink);
  EXPECT_THAT(written(), ElementsAre("receipt local 200 0"));
  EXPECT_EQ(judged->stratum, audit::Stratum::kSeveral);
  EXPECT_EQ(judged->propensity, 0);
}

TEST_F(AuditsTest, ADraftThatWasThrownAwayIsHeldAgainstTheAnswerThatTookItsPlace) {
  start();
  model_says("Hi", -0.5F);  // not sure when it has ended, and not before
  Recorder sink(false);
  run(greedy(false), sink);
  EXPECT_EQ(sink.receipt.decision, types::Decision::kEscalated);
  EXPECT_THAT(written(), ElementsAre("intent acme/big", "settled 3045", "receipt escalated 200 3045",
                                     "label escalation right acme/big"));
  EXPECT_EQ(judged->action, Action::kEscalated);
  EXPECT_EQ(judged->propensity, 1);
  EXPECT_FALSE(judged->drawn);
}

TEST_F(AuditsTest, ADraftThatWasCutIsHeldAgainstNothing) {
  start(http(kStream, "200 OK", "text/event-stream"));
  engine.answers = {{{says("Hi", 0), says(" the", -1), says("re", 0)}, {}, {}}};  // would go on
  Recorder sink(true);
  run(greedy(true), sink);
  EXPECT_EQ(sink.receipt.decision, types::Decision::kEscalated);
  EXPECT_THAT(written().back(), HasSubstr("receipt escalated 200"));
  EXPECT_EQ(judged->action, Action::kEscalated);
}

TEST_F(AuditsTest, WithoutAShareNothingIsComparedAndTheDecisionIsWrittenAllTheSame) {
  route.audit_share = 0;
  start();
  model_says("Hi");
  Recorder sink(false);
  run(greedy(false), sink);
  EXPECT_THAT(written(), ElementsAre("receipt local 200 0"));
  EXPECT_EQ(judged->action, Action::kKept);
  EXPECT_EQ(judged->propensity, 0);
  EXPECT_EQ(server->connections, 0);
}

TEST_F(AuditsTest, AProviderThatDoesNotAnswerLeavesNoLabel) {
  start(http("{}", "503 Service Unavailable"));
  model_says("Hi");
  Recorder sink(false);
  run(greedy(false), sink);
  EXPECT_EQ(sink.said.back(), "done");
  EXPECT_EQ(audit_counts.failed, 1U);
  EXPECT_TRUE(std::ranges::none_of(written(), [](const std::string& line) { return line.starts_with("label"); }));
  EXPECT_TRUE(judged->drawn) << "that it was drawn is no secret";
}

TEST_F(AuditsTest, WhatABudgetHasNoRoomForIsNotAsked) {
  Caps caps;
  caps.daily = ledger::Pico(ledger::Micro{10});
  budgets.set_caps(caps);
  start();
  model_says("Hi");
  Recorder sink(false);
  run(greedy(false), sink);
  EXPECT_EQ(sink.said.back(), "done");
  EXPECT_EQ(audit_counts.failed, 1U);
  EXPECT_EQ(server->connections, 0);
  EXPECT_THAT(written(), ElementsAre("receipt local 200 0"));
}

TEST_F(AuditsTest, WhatTheQueueHasNoRoomForIsDroppedAndCounted) {
  audit_options.max_waiting = 0;
  start();
  model_says("Hi");
  Recorder sink(false);
  run(greedy(false), sink);
  EXPECT_EQ(audit_counts.dropped, 1U);
  EXPECT_EQ(server->connections, 0);
  EXPECT_THAT(written(), ElementsAre("receipt local 200 0"));
}

TEST_F(AuditsTest, AnAnswerThatNobodyWaitedForIsAuditedAsItsReceiptSays) {
  start();
  model_says("Hi");
  Recorder sink(false);
  sink.on_say = [&](const std::string& what) {
    if (what == "done") sink.broken = true;
  };
  run(greedy(false), sink);
  EXPECT_EQ(written().back(), "label audit right acme/big");
}

TEST_F(AuditsTest, AFallbackIsKeptThoughItIsNotSure) {
  start(http("{}", "503 Service Unavailable"));
  model_says("Hi", -3);
  Recorder sink(false);
  run(greedy(false), sink);
  EXPECT_EQ(sink.receipt.decision, types::Decision::kFailedOver);
  written();
  EXPECT_EQ(judged->action, Action::kKeptUnsure);
  EXPECT_EQ(judged->propensity, 0);
  EXPECT_EQ(judged_counts.kept_unsure, 1U);
}

TEST_F(AuditsTest, ALateMissIsKeptAndTold) {
  route.audit_share = 0;
  start();
  engine.answers = {{{says("a", 0), says("b", 0), says("c", -9), ends(FinishReason::kStop, 7, 3)}, {}, {}}};
  Recorder sink(true);
  run(greedy(true), sink);
  EXPECT_EQ(sink.receipt.reasons.back().signal, "late_miss");
  written();
  EXPECT_EQ(judged->action, Action::kKept);
  EXPECT_TRUE(judged->late);
  EXPECT_EQ(judged_counts.late_misses, 1U);
}

TEST_F(AuditsTest, ASureStreamIsNoLateMiss) {
  route.audit_share = 0;
  start();
  engine.answers = {{{says("a", 0), says("b", 0), says("c", 0), ends(FinishReason::kStop, 7, 3)}, {}, {}}};
  Recorder sink(true);
  run(greedy(true), sink);
  written();
  EXPECT_FALSE(judged->late);
  EXPECT_EQ(judged_counts.late_misses, 0U);
}

// A key that has used up what it may escalate.
struct EscalationsTest : AuditsTest {
  EscalationsTest() {
    route.audit_share = 0;
    route.escalations_per_hour = 1;
    prepare = [this](Outside& outside) { EXPECT_TRUE(outside.escalations.take("r", "", 1, clock.monotonic_ns())); };
  }
};

TEST_F(EscalationsTest, WhatItMayNotEscalateItKeepsAndIsTold) {
  start();
  engine.answers = {{{says("a", -3), says("b", 0), says("c", 0), ends(FinishReason::kStop, 7, 3)}, {}, {}}};
  Recorder sink(true);
  run(greedy(true), sink);
  EXPECT_EQ(sink.said, (Said{"commit m local", "0:a", "0:b", "0:c", "0.stop", "done"}));
  EXPECT_THAT(sink.receipt.reasons,
              Contains(types::Reason{"escalations", "used up", "escalations_per_hour 1", "keep"}));
  EXPECT_LT(*sink.receipt.confidence, 0.8);
  EXPECT_THAT(written(), ElementsAre("receipt local 200 0"));
  EXPECT_EQ(server->connections, 0);
  EXPECT_EQ(judged->action, Action::kKeptUnsure);
  EXPECT_EQ(judged->propensity, 0);
}

TEST_F(EscalationsTest, OfAWholeAnswerToo) {
  start();
  engine.answers = {{{says("a", -3), says("b", 0), ends(FinishReason::kStop, 7, 2)}, {}, {}}};
  Recorder sink(false);
  run(greedy(false), sink);
  EXPECT_EQ(sink.said, (Said{"0:a", "0:b", "0.stop", "commit m local", "done"}));
  EXPECT_EQ(engine.requests.size(), 1U) << "it is not asked twice";
}

TEST_F(EscalationsTest, OrFailsWhereTheRouteSaysSo) {
  route.local_on_budget = false;
  start();
  model_says("a", -3);
  Recorder sink(false);
  run(greedy(false), sink);
  EXPECT_EQ(sink.said.back(), "fail budget_exhausted");
  EXPECT_EQ(server->connections, 0);
  written();
  EXPECT_EQ(judged->action, Action::kRefused);
}

TEST_F(EscalationsTest, WhatIsSureTakesNone) {
  start();
  model_says("Hi");
  Recorder sink(false);
  prepare = [](Outside& outside) {
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(outside.escalations.left("r", "", 1, 0));
  };
  run(greedy(false), sink);
  EXPECT_EQ(sink.receipt.decision, types::Decision::kLocal);
}

// The certificate's threshold is 0.9, and 0.98 before; the answer's confidence is 0.95.
struct DriftedTest : AuditsTest {
  DriftedTest() {
    route.risk = 0.05;
    route.audit_share = 0;
    tables[0].sha256 = "whole";
    tables[1].sha256 = "prefix";
    certificate.key = tables[1].key;
    certificate.gate = routing::Gate::kWhole;
    certificate.scores = "prefix+whole";
    certificate.shown.certified = {{.threshold = 0.98}, {.threshold = 0.9}};
    certificate.sha256 = "3f0c9a1122334455";
    certificates = {certificate};
    drift.promise("r", 0.05, certificate);
    prepare = [this](Outside& outside) { outside.drift = &drift; };
    model_says("Hi", -0.1F);
  }
  void alarm() {
    audit::Judged one;
    one.drawn = true;
    one.certificate = "3f0c9a112233";
    const std::uint64_t before = drift.alarms();
    for (int i = 0; drift.alarms() == before; ++i) {
      ASSERT_LT(i, 200);
      drift.judged(std::to_string(i), "r", one, 0.99);
      drift.labelled(std::to_string(i), audit::LabelKind::kAudit, false);
    }
  }
  types::Receipt ask() {
    start();
    Recorder sink(false);
    run(greedy(false), sink);
    return sink.receipt;
  }

  routing::Certificate certificate;
  Drift drift{log};
};

TEST_F(DriftedTest, WithoutAnAlarmTheLoosestThresholdKeeps) {
  const types::Receipt receipt = ask();
  EXPECT_EQ(receipt.decision, types::Decision::kLocal);
  EXPECT_EQ(receipt.threshold, 0.9);
}

TEST_F(DriftedTest, AfterAnAlarmTheNextStricterOneDoesNotAndSaysWhy) {
  alarm();
  const types::Receipt receipt = ask();
  EXPECT_EQ(receipt.decision, types::Decision::kEscalated);
  EXPECT_EQ(receipt.threshold, 0.98);
  EXPECT_EQ(receipt.reasons.front().effect, "threshold 0.98, 1 stricter after as many alarms of drift");
}

TEST_F(DriftedTest, AfterTheStrictestNothingIsKept) {
  alarm();
  alarm();
  const types::Receipt receipt = ask();
  EXPECT_EQ(receipt.decision, types::Decision::kRemote);
  EXPECT_EQ(receipt.reasons.front().value, "void: it drifted from its strictest threshold, too");
}

TEST_F(DriftedTest, WhatIsKeptInSpiteOfTheJudgePromisesNothing) {
  alarm();
  route.escalations_per_hour = 1;
  prepare = [this](Outside& outside) {
    outside.drift = &drift;
    outside.escalations.take("r", "", 1, clock.monotonic_ns());
  };
  const types::Receipt receipt = ask();
  EXPECT_EQ(receipt.decision, types::Decision::kLocal);
  EXPECT_EQ(receipt.reasons.front().value, "void: kept though it is not sure enough");
}

// Anybody can compute it again: printf %s 7:abc | sha256sum.
TEST(AuditDraw, IsTheBeginningOfAHash) {
  EXPECT_EQ(audit_draw("abc", 7), static_cast<double>(0xd9d02ef46913e787ULL >> 11) * 0x1p-53);
  int below = 0;
  for (int i = 0; i < 20'000; ++i) below += audit_draw(std::to_string(i), 1) < 0.02 ? 1 : 0;
  EXPECT_NEAR(below, 400, 60) << "three standard deviations";
  EXPECT_NE(audit_draw("abc", 7), audit_draw("abc", 8));
}

}  // namespace
}  // namespace shoal::gateway
