// Local answers that are judged: kept ones stream while the model still writes, the others are given to a provider, and
// the receipt says how sure they were.
#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoal/routing/calibration_file.h"

#include "unit/gateway/remote_fixture.h"
#include "unit/routing/tables.h"

namespace shoal::gateway {
namespace {

using fakes::FakeEngine;
using fakes::Gate;
using fakes::Wait;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using types::FinishReason;
using types::Reason;

// After two tokens, and at the end, the confidence is sigmoid(4 + 10 * mean log-probability): 0.98 at 0, 0.27 at -0.5.
struct JudgingTest : RouteTest {
  JudgingTest() {
    route.policy = routing::Policy::kSlmFirst;
    route.on_null_confidence = routing::NullConfidence::kEscalate;
    route.commit_tokens = 2;
    route.commit_ms = 60'000;
    route.task = "snips";
    types::ModelInfo info;
    info.name = "m";
    info.sha256 = "b179c9523d0e6a0f";
    info.quantisation = "Q4_1";
    info.template_sha256 = "c0ffee";
    engine.model_list = {info};
    tables = {routing::table_of({.mean = 10}, 4), routing::table_of({.mean = 10}, 4, 2)};
  }
  void start(std::string response) {
    routes = {route};
    acme(std::move(response));
  }
  static AnswerRequest greedy(bool stream) {
    AnswerRequest out = by_route(stream);
    out.params.sampling.temperature = 0;
    return out;
  }
  void worker(std::uint32_t queued) {
    engine::WorkerStatus& status = engine.workers.emplace_back();
    status.model = "m";
    status.sequence_length = 100;
    status.slots = 4;
    status.queued = queued;
  }
  std::shared_ptr<Gate> gate_of() { return std::make_shared<Gate>(io.get_executor()); }
};

const std::string kStream = event(R"({"content":"Hi"})") + event("{}", R"("stop")") +
                            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":3}}\n\n"
                            "data: [DONE]\n\n";

TEST_F(JudgingTest, AStreamThatIsSureCommitsAtItsKthTokenWhileTheModelStillWrites) {
  start(http(kAnswer));
  auto writes_on = gate_of();
  engine.answers = {
      {{says("a", 0), says("b", 0), Wait{writes_on}, says("c", -9), ends(FinishReason::kStop, 7, 3)}, {}, {}}};
  Recorder sink(true);
  sink.on_say = [&](const std::string& what) {
    if (what == "0:b") writes_on->open();  // or it waits for ever
  };
  run(greedy(true), sink);
  EXPECT_EQ(sink.said, (Said{"commit m local", "0:a", "0:b", "0:c", "0.stop", "done"}));
  EXPECT_NEAR(*sink.receipt.confidence, 0.982, 1e-3);
  EXPECT_EQ(sink.receipt.threshold, 0.80);
  EXPECT_THAT(sink.receipt.reasons,
              ElementsAre(Reason{"confidence", "0.98", "at least 0.80", "keep"},
                          Reason{"late_miss", "0.0000", "at least 0.8 for the whole answer", "keep, for it was sent"}));
  EXPECT_EQ(sink.receipt.usage.completion_tokens, 3);
  EXPECT_EQ(server->connections, 0);
}

TEST_F(JudgingTest, AStreamThatIsNotSureEscalatesAndTheClientSeesOneAnswer) {
  start(http(kStream, "200 OK", "text/event-stream"));
  engine.answers = {{{says("a", 0), says("b", -1), says("c", 0)}, {}, {}}};  // would go on for ever
  Recorder sink(true);
  run(greedy(true), sink);
  EXPECT_EQ(sink.said[0], "discard");
  EXPECT_EQ(sink.said[1], "commit acme/big escalated");
  EXPECT_THAT(sink.said[2], HasSubstr("Hi"));
  EXPECT_EQ(sink.said.back(), "done");
  EXPECT_EQ(engine.cancelled, 1) << "its place in the batch is free";
  EXPECT_NEAR(*sink.receipt.confidence, 0.269, 1e-3);
  EXPECT_EQ(sink.receipt.threshold, 0.80);
  EXPECT_THAT(sink.receipt.reasons, ElementsAre(Reason{"confidence", "0.26", "at least 0.80", "escalate"}));
  EXPECT_GT(sink.receipt.timings.decode_us, 0U) << "what was computed in vain counts";
  EXPECT_THAT(written().back(), HasSubstr("receipt escalated 200"));
}

TEST_F(JudgingTest, AnAnswerThatEndsBeforeIsJudgedAsAWhole) {
  tables.pop_back();  // none of two tokens
  start(http(kAnswer));
  engine.answers = {{{says("a", 0), ends(FinishReason::kStop, 7, 1)}, {}, {}}};
  Recorder sink(true);
  run(greedy(true), sink);
  EXPECT_EQ(sink.said, (Said{"commit m local", "0:a", "0.stop", "done"}));
  EXPECT_NEAR(*sink.receipt.confidence, 0.982, 1e-3);
}

TEST_F(JudgingTest, AWholeAnswerIsJudgedWhenItIsWhole) {
  start(http(kAnswer));
  engine.answers = {{{says("a", 0), says("b", 0), says("c", -9), ends(FinishReason::kStop, 7, 3)}, {}, {}}};
  Recorder sink(false);
  run(greedy(false), sink);
  EXPECT_EQ(sink.said, (Said{"0:a", "0:b", "0:c", "discard", "raw " + kAnswer, "commit acme/big escalated", "done"}));
  EXPECT_LT(*sink.receipt.confidence, 0.01);
  EXPECT_EQ(sink.receipt.usage.prompt_tokens, 1000) << "the provider's";
}

TEST_F(JudgingTest, WhatIsSeenOfAWholeAnswerCounts) {
  tables[0].checks = {{.check = routing::Check::kWrong, .center = 0, .spread = 1, .weight = -9}};
  start(http(kAnswer));
  engine.answers = {{{says("2 + 2 ", 0), says("= 5", 0), ends(FinishReason::kStop, 7, 2)}, {}, {}}};
  Recorder sink(false);
  run(greedy(false), sink);
  EXPECT_EQ(sink.said.back(), "done");
  EXPECT_EQ(sink.receipt.decision, types::Decision::kEscalated);
  EXPECT_NEAR(*sink.receipt.confidence, 0.0067, 1e-4);
  EXPECT_THAT(sink.receipt.reasons, Contains(Reason{"check wrong", "1.00", "log-odds of being right", "-9.00"}));
  engine.answers = {{{says("2 + 2 ", 0), says("= 4", 0), ends(FinishReason::kStop, 7, 2)}, {}, {}}};
  Recorder kept(false);
  run(greedy(false), kept);
  EXPECT_EQ(kept.receipt.decision, types::Decision::kLocal);
  EXPECT_NEAR(*kept.receipt.confidence, 0.982, 1e-3);
}

TEST_F(JudgingTest, OfAStreamThatWasSentTheyTellThatItWasAMiss) {
  tables[0].checks = {{.check = routing::Check::kWrong, .center = 0, .spread = 1, .weight = -9}};
  start(http(kAnswer));
  engine.answers = {{{says("2 + 2 ", 0), says("= ", 0), says("5", 0), ends(FinishReason::kStop, 7, 3)}, {}, {}}};
  Recorder sink(true);
  run(greedy(true), sink);
  EXPECT_EQ(sink.receipt.decision, types::Decision::kLocal) << "its first tokens know nothing of it";
  EXPECT_THAT(sink.receipt.reasons,
              Contains(Reason{"late_miss", "0.0067", "at least 0.8 for the whole answer", "keep, for it was sent"}));
}

TEST_F(JudgingTest, ARelaxedStreamIsJudgedWhole) {
  route.latency = routing::Latency::kRelaxed;
  start(http(kAnswer));
  engine.answers = {{{says("a", 0), says("b", 0), says("c", -0.1F), ends(FinishReason::kStop, 7, 3)}, {}, {}}};
  Recorder sink(true);
  run(greedy(true), sink);
  EXPECT_EQ(sink.said, (Said{"commit m local", "0:a", "0:b", "0:c", "0.stop", "done"}));
  EXPECT_NEAR(*sink.receipt.confidence, 0.975, 1e-3);
}

TEST_F(JudgingTest, WhenTheTimeIsOverItEscalates) {
  route.commit_ms = 1;
  start(http(kStream, "200 OK", "text/event-stream"));
  auto never = gate_of();
  engine.answers = {{{says("a", 0), Wait{never}, says("b", 0)}, {}, {}}};
  Recorder sink(true);
  run(greedy(true), sink);
  EXPECT_EQ(sink.said[1], "commit acme/big escalated");
  EXPECT_FALSE(sink.receipt.confidence);
  EXPECT_THAT(sink.receipt.reasons, ElementsAre(Reason{"commit_ms", "1", "2 tokens by then", "escalate"}));
}

TEST_F(JudgingTest, AModelThatLoadsTooLongIsNotWaitedFor) {
  route.commit_ms = 1;
  start(http(kStream, "200 OK", "text/event-stream"));
  auto loading = gate_of();
  engine.answers = {{{says("a", 0)}, loading, {}}};
  Recorder sink(true);
  sink.on_say = [&](const std::string& what) {
    if (what == "done") loading->open();
  };
  run(greedy(true), sink);
  EXPECT_EQ(sink.said[1], "commit acme/big escalated");
  io.run();  // the one who waited for the model
}

TEST_F(JudgingTest, AStreamThatIsHeldIsPinged) {
  start(http(kAnswer));
  pipeline_options.hold_ms = 1;
  pipeline_options.ping_interval_ms = 1;
  auto slow = gate_of();
  engine.answers = {{{says("a", 0), Wait{slow}, says("b", 0), ends(FinishReason::kStop, 7, 2)}, {}, {}}};
  Recorder sink(true);
  int pings = 0;
  sink.on_ping = [&] {
    if (++pings == 3) slow->open();
  };
  run(greedy(true), sink);
  EXPECT_GE(std::ranges::count(sink.said, "ping ping"), 3);
  EXPECT_EQ(sink.said.back(), "done");
}

TEST_F(JudgingTest, AWorkerThatDiesWhileItIsHeldEscalates) {
  start(http(kStream, "200 OK", "text/event-stream"));
  engine.answers = {{{says("a", 0), Error(ErrorCode::kWorkerCrashed, "died")}, {}, {}}};
  Recorder sink(true);
  run(greedy(true), sink);
  EXPECT_EQ(sink.said[0], "discard");
  EXPECT_EQ(sink.said[1], "commit acme/big escalated");
  for (const std::string& what : sink.said) EXPECT_NE(what, "0:a");
}

TEST_F(JudgingTest, WhereNoProviderAnswersTheLocalOneIsKeptAndTheReceiptSaysHowSure) {
  start(http("{}", "503 Service Unavailable"));
  engine.answers = {{{says("a", -3), ends(FinishReason::kStop, 7, 1)}, {}, {}}};
  Recorder sink(true);
  run(greedy(true), sink);
  EXPECT_EQ(sink.said, (Said{"discard", "discard", "commit m failed_over", "0:a", "0.stop", "done"}));
  EXPECT_LT(*sink.receipt.confidence, 0.01);
  EXPECT_EQ(sink.receipt.usage.completion_tokens, 1) << "of the one that is sent, not of both";
  EXPECT_THAT(sink.receipt.reasons, Contains(Reason{"error", "upstream_failed", "acme/big", "go on with m"}));
  EXPECT_EQ(engine.requests.size(), 2U);
}

TEST_F(JudgingTest, UnlessTheRouteForbidsIt) {
  route.max_attempts = 1;
  route.local_on_remote_errors = false;
  route.local_on_budget = false;
  start(http("{}", "503 Service Unavailable"));
  engine.answers = {{{says("a", -3), ends(FinishReason::kStop, 7, 1)}, {}, {}}};
  Recorder sink(true);
  run(greedy(true), sink);
  EXPECT_EQ(sink.said, (Said{"discard", "fail upstream_failed"}));
}

TEST_F(JudgingTest, ALowConfidenceIsNoErrorOfTheLocalModel) {
  route.escalate_local_errors = false;
  start(http(kAnswer));
  engine.answers = {{{says("a", -3), ends(FinishReason::kStop, 7, 1)}, {}, {}}};
  Recorder sink(false);
  run(greedy(false), sink);
  EXPECT_EQ(sink.said.back(), "done");
  EXPECT_EQ(sink.receipt.decision, types::Decision::kEscalated);
}

TEST_F(JudgingTest, AWorkerThatDiedIsNotAskedAgainAfterTheProvider) {
  start(http("{}", "503 Service Unavailable"));
  engine.answers = {{{Error(ErrorCode::kWorkerCrashed, "died")}, {}, {}}};
  Recorder sink(true);
  run(greedy(true), sink);
  EXPECT_EQ(sink.said.back(), "fail upstream_failed");
  EXPECT_EQ(engine.requests.size(), 1U);
}

TEST_F(JudgingTest, OfSeveralAnswersTheLeastSureCounts) {
  start(http(kAnswer));
  engine.answers = {{{says("a", 0), says("b", 0), ends(FinishReason::kStop, 7, 2)}, {}, {}},
                    {{says("x", 0), says("y", -1), ends(FinishReason::kStop, 7, 2)}, {}, {}}};
  Recorder sink(false);
  AnswerRequest two = greedy(false);
  two.params.n = 2;
  run(std::move(two), sink);
  EXPECT_THAT(sink.receipt.reasons, Contains(Reason{"confidence", "0.26", "at least 0.80", "escalate"}));
}

TEST_F(JudgingTest, WhatWasThrownAwayIsNotInTheUsage) {
  start(http("{}", "503 Service Unavailable"));
  const FakeEngine::Answer sure{{says("a", 0), ends(FinishReason::kStop, 7, 2)}, {}, {}};
  const FakeEngine::Answer unsure{{says("x", -3), ends(FinishReason::kStop, 7, 2)}, {}, {}};
  engine.answers = {sure, unsure, sure, unsure};
  Recorder sink(false);
  AnswerRequest two = greedy(false);
  two.params.n = 2;
  run(std::move(two), sink);
  EXPECT_EQ(sink.receipt.decision, types::Decision::kFailedOver);
  EXPECT_EQ(sink.receipt.usage.prompt_tokens, 7);
  EXPECT_EQ(sink.receipt.usage.completion_tokens, 4);
}

TEST_F(JudgingTest, SeveralStreamsAreHeldUntilAllAreSure) {
  start(http(kAnswer));
  auto second = gate_of();
  engine.answers = {{{says("a", 0), says("b", 0), ends(FinishReason::kStop, 7, 2)}, {}, {}},
                    {{Wait{second}, says("x", 0), says("y", 0), ends(FinishReason::kStop, 7, 2)}, {}, {}}};
  pipeline_options.hold_ms = 1;
  Recorder sink(true);
  sink.on_ping = [&] {
    EXPECT_THAT(sink.said, Not(Contains("0:a")));
    second->open();
  };
  AnswerRequest two = greedy(true);
  two.params.n = 2;
  run(std::move(two), sink);
  EXPECT_THAT(sink.said, Contains("0:a"));
  EXPECT_THAT(sink.said, Contains("1:y"));
  EXPECT_EQ(sink.receipt.usage.completion_tokens, 4);
}

TEST_F(JudgingTest, ATableForAnotherQuantisationIsNotUsedAndTheReceiptSaysSo) {
  engine.model_list[0].quantisation = "Q8_0";
  engine.model_list[0].sha256 = "other";
  start(http(kAnswer));
  Recorder sink(false);
  run(greedy(false), sink);
  EXPECT_TRUE(engine.requests.empty()) << "nothing is drafted that cannot be judged";
  EXPECT_FALSE(sink.receipt.confidence);
  EXPECT_THAT(sink.receipt.reasons, ElementsAre(Reason{"calibration", "quantisation Q8_0", "Q4_1", "confidence null"},
                                                Reason{"confidence", "null", "on_null_confidence", "escalate"}));
}

TEST_F(JudgingTest, AnotherSamplerIsAnotherKey) {
  start(http(kAnswer));
  Recorder sink(false);
  run(by_route(false), sink);
  EXPECT_THAT(sink.receipt.reasons, Contains(Reason{"calibration", "sampler temperature 1 top_p 1 top_k 0 min_p 0",
                                                    "greedy", "confidence null"}));
  EXPECT_TRUE(engine.requests.empty());
}

TEST_F(JudgingTest, APromptThatCannotFitIsNotTriedLocally) {
  worker(0);
  start(http(kAnswer));
  AnswerRequest longer = greedy(false);
  longer.params.max_tokens = 101;
  Recorder sink(false);
  run(std::move(longer), sink);
  EXPECT_TRUE(engine.requests.empty());
  EXPECT_THAT(sink.receipt.reasons, ElementsAre(Reason{"context", "at least 101 tokens", "at most 100", "skip m"}));
}

TEST_F(JudgingTest, AQueueThatIsTooLongIsNotJoined) {
  worker(4);
  start(http(kAnswer));
  Recorder sink(false);
  run(greedy(false), sink);
  EXPECT_TRUE(engine.requests.empty());
  EXPECT_THAT(sink.receipt.reasons, ElementsAre(Reason{"queue", "4 wait", "interactive: fewer than 4", "ask m last"}));
}

TEST_F(JudgingTest, TheClientMayWishForTheLocalModelOrForAProvider) {
  start(http(kAnswer));
  engine.answers = {{{says("a", -9), ends(FinishReason::kStop, 7, 1)}, {}, {}}};
  AnswerRequest local = greedy(false);
  local.prefer = routing::Prefer::kLocal;
  Recorder sink(false);
  run(std::move(local), sink);
  EXPECT_EQ(sink.said, (Said{"0:a", "0.stop", "commit m local", "done"})) << "it is not judged";
  EXPECT_THAT(sink.receipt.reasons,
              ElementsAre(Reason{"x-shoal-prefer", "local", "whom the route allows", "ask the local model first"}));
  AnswerRequest remote = greedy(false);
  remote.prefer = routing::Prefer::kRemote;
  Recorder other(false);
  run(std::move(remote), other);
  EXPECT_EQ(other.receipt.decision, types::Decision::kRemote);
}

// A route that promises a risk of 5 %, and a certificate for streams of this model that has the threshold 0.9.
struct PromiseTest : JudgingTest {
  PromiseTest() {
    route.risk = 0.05;
    for (routing::Table& table : tables) table.sha256 = routing::table_sha256(table);
    routing::Certificate certificate;
    certificate.key = tables[1].key;
    certificate.gate = routing::Gate::kStream;
    certificate.scores = tables[1].sha256 + "+" + tables[0].sha256;
    certificate.shown.options = {.risk = 0.05, .confidence = 0.95, .seed = 1};
    certificate.shown.certified = {{.threshold = 0.95}, {.threshold = 0.90}};
    certificate.date = "2026-11-23";
    certificates = {certificate};
  }
  // After two tokens of this mean log-probability: 0.964 at -0.07, 0.858 at -0.22.
  types::Receipt answered(float logprob, bool stream = true) {
    start(stream ? http(kStream, "200 OK", "text/event-stream") : http(kAnswer));
    engine.answers = {{{says("a", logprob), says("b", logprob), ends(FinishReason::kStop, 7, 2)}, {}, {}}};
    Recorder sink(stream);
    run(greedy(stream), sink);
    return sink.receipt;
  }
};

TEST_F(PromiseTest, TheThresholdComesFromTheCertificate) {
  route.threshold = 0.1;  // counts for nothing
  const types::Receipt kept = answered(-0.07F);
  EXPECT_EQ(kept.decision, types::Decision::kLocal);
  EXPECT_EQ(kept.threshold, 0.90);
  EXPECT_THAT(kept.reasons, ElementsAre(Reason{"certificate", "2026-11-23",
                                               "risk at most 0.05, shown with a confidence of 0.95", "threshold 0.9"},
                                        Reason{"confidence", "0.96", "at least 0.90", "keep"}));
}

TEST_F(PromiseTest, WhatIsBelowItEscalates) {
  const types::Receipt escalated = answered(-0.22F);
  EXPECT_EQ(escalated.decision, types::Decision::kEscalated);
  EXPECT_NEAR(*escalated.confidence, 0.858, 1e-3);
}

TEST_F(PromiseTest, AnotherQuantisationVoidsItAndEscalates) {
  types::ModelInfo swapped = engine.model_list[0];
  swapped.quantisation = "Q8_0";
  swapped.sha256 = "0123456789abcdef";
  engine.model_list = {swapped};
  const types::Receipt receipt = answered(0);
  EXPECT_EQ(receipt.decision, types::Decision::kRemote) << "nothing is computed here for an answer that cannot be kept";
  EXPECT_THAT(receipt.reasons,
              ElementsAre(Reason{"certificate", "void: quantisation Q8_0", "certified for Q4_1", "no threshold"},
                          Reason{"confidence", "null", "on_null_confidence", "escalate"}));
}

TEST_F(PromiseTest, AnotherTableVoidsIt) {
  tables[1].logistic.bias += 0.001;
  tables[1].sha256 = routing::table_sha256(tables[1]);
  const types::Receipt receipt = answered(0);
  EXPECT_EQ(receipt.decision, types::Decision::kRemote);
  EXPECT_EQ(receipt.reasons.front().value, "void: calibration table " + tables[1].sha256.substr(0, 12));
}

// A promise for streams is none for answers that are judged whole.
TEST_F(PromiseTest, EachGateHasItsOwn) {
  const types::Receipt receipt = answered(0, false);
  EXPECT_EQ(receipt.decision, types::Decision::kRemote);
  EXPECT_THAT(receipt.reasons,
              Contains(Reason{"certificate", "void: gate whole", "certified for stream", "no threshold"}));
}

TEST_F(PromiseTest, WithoutOneItEscalates) {
  certificates.clear();
  const types::Receipt receipt = answered(0);
  EXPECT_EQ(receipt.decision, types::Decision::kRemote);
  EXPECT_EQ(receipt.reasons.front(), (Reason{"certificate", "none", "one for this task", "no threshold"}));
}

// What no table can judge was counted as never kept, whatever the route says of unknown certainty.
TEST_F(PromiseTest, KeepsNothingThatWasNotCounted) {
  route.on_null_confidence = routing::NullConfidence::kKeep;
  start(http(kStream, "200 OK", "text/event-stream"));
  engine.answers = {{{ends(FinishReason::kStop, 7, 0)}, {}, {}}};
  Recorder sink(true);
  run(greedy(true), sink);
  EXPECT_EQ(sink.receipt.decision, types::Decision::kEscalated);
}

}  // namespace
}  // namespace shoal::gateway
