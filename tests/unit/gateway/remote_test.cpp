// Requests that a provider answers: what is sent, what it costs, what is written down, and what happens when it fails.
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/gateway/remote_fixture.h"

namespace shoal::gateway {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

TEST_F(RemoteTest, AWholeAnswerIsReservedJournaledSentSettledAndKept) {
  acme(http(kAnswer));
  Recorder sink(false);
  run(request(false), sink);
  EXPECT_EQ(sink.said, (Said{"raw " + kAnswer, "commit acme/big remote", "done"}));
  EXPECT_THAT(asked, StartsWith("POST /v1/chat/completions HTTP/1.1\r\n"));
  EXPECT_THAT(asked, HasSubstr("\r\nAuthorization: Bearer sk-acme-secret\r\n"));
  EXPECT_THAT(asked, HasSubstr(R"({"model":"big","messages")"));
  // 1000 x 3 + 3 x 15 USD per million.
  EXPECT_EQ(sink.receipt.billed_micro, 3045);
  EXPECT_EQ(sink.receipt.usage.prompt_tokens, 1000);
  EXPECT_EQ(sink.receipt.egress, "acme");
  EXPECT_EQ(sink.receipt.durability, "batch");
  EXPECT_EQ(spent(), (std::pair<std::int64_t, std::int64_t>{3045, 0}));
  EXPECT_EQ(written(), (Said{"intent acme/big", "settled 3045", "receipt remote 200 3045"}));
  EXPECT_GT(reserved_pico, 0);
  EXPECT_THAT(asked, HasSubstr("\r\nx-request-id: " + sink.receipt.decision_id + "-1\r\n"));
}

TEST_F(RemoteTest, AStreamIsHeldUntilItsFirstContentAndRelayedAsItCame) {
  acme(http(event(R"({"role":"assistant","content":""})") + event(R"({"content":"Hi"})") + event("{}", R"("stop")") +
                "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1000,\"completion_tokens\":3}}\n\ndata: [DONE]\n\n",
            "200 OK", "text/event-stream"));
  Recorder sink(true);
  run(request(true), sink);
  ASSERT_EQ(sink.said.size(), 7U);
  EXPECT_EQ(sink.said[0], "commit acme/big remote");
  EXPECT_THAT(sink.said[1], HasSubstr("assistant")) << "what came before is not lost";
  EXPECT_THAT(sink.said[2], HasSubstr("Hi"));
  EXPECT_EQ(sink.said[5], "raw ");
  EXPECT_EQ(sink.said[6], "done");
  EXPECT_THAT(asked, HasSubstr(R"("stream_options":{"include_usage":true})"));
  EXPECT_EQ(sink.receipt.billed_micro, 3045);
}

TEST_F(RemoteTest, AnUnknownPriceLetsNoByteLeave) {
  acme(http(kAnswer), false);
  Recorder sink(false);
  run(request(false), sink);
  EXPECT_EQ(sink.said, (Said{"fail unknown_price"}));
  EXPECT_EQ(server->connections, 0);
  EXPECT_THAT(written(), ElementsAre("receipt refused 503 0"));
}

TEST_F(RemoteTest, ABudgetThatIsUsedUpLetsNoByteLeave) {
  acme(http(kAnswer));
  budgets.set_caps({.daily = ledger::Pico(ledger::Micro{100}), .monthly = {}, .provider_daily = {}});
  Recorder sink(false);
  run(request(false), sink);
  EXPECT_EQ(sink.said, (Said{"fail budget_exhausted"}));
  EXPECT_EQ(sink.last_error->info().http_status, 402);
  EXPECT_EQ(server->connections, 0);
  EXPECT_EQ(spent(), (std::pair<std::int64_t, std::int64_t>{0, 0}));
}

TEST_F(RemoteTest, AProvidersDayHasACapOfItsOwn) {
  acme(http(kAnswer));
  budgets.set_caps({.daily = {}, .monthly = {}, .provider_daily = {{"acme", ledger::Pico(ledger::Micro{100})}}});
  Recorder sink(false);
  run(request(false), sink);
  EXPECT_EQ(sink.said, (Said{"fail budget_exhausted"}));
  EXPECT_THAT(sink.last_error->message(), HasSubstr("acme"));
}

TEST_F(RemoteTest, LocalOnlyNeverLeaves) {
  acme(http(kAnswer));
  Recorder sink(false);
  AnswerRequest secret = request(false);
  secret.local_only = true;
  run(std::move(secret), sink);
  EXPECT_EQ(sink.said, (Said{"fail policy_denied"}));
  EXPECT_EQ(server->connections, 0);
}

TEST_F(RemoteTest, AModelThatTheProviderDoesNotOfferIsNotFound) {
  acme(http(kAnswer));
  Recorder sink(false);
  AnswerRequest other = request(false);
  other.model = "acme/small";
  run(std::move(other), sink);
  EXPECT_EQ(sink.said, (Said{"fail model_not_found"}));
  EXPECT_EQ(server->connections, 0);
}

TEST_F(RemoteTest, WhatBreaksOffCountsAtItsEstimate) {
  acme("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + kAnswer);
  Recorder sink(false);
  run(request(false), sink);
  EXPECT_EQ(sink.said.back(), "fail unreachable");
  const Said lines = written();
  ASSERT_EQ(lines.size(), 7U) << "three attempts";
  EXPECT_EQ(lines[1], "unknown 0");
  const std::int64_t estimate = (3 * reserved_pico + 999'999) / 1'000'000;
  EXPECT_EQ(spent(), (std::pair<std::int64_t, std::int64_t>{estimate, 0}));
  EXPECT_EQ(lines[6], "receipt refused 503 " + std::to_string(estimate));
}

// The answer stands, and costs what was reserved: what it did cost is not known.
struct UnknownCost : RemoteTest {
  void expect_unknown(const std::string& answer, const std::string& content = "application/json") {
    const bool stream = content != "application/json";
    acme(http(answer, "200 OK", content));
    Recorder sink(stream);
    run(request(stream), sink);
    EXPECT_EQ(sink.said.back(), "done");
    const Said lines = written();
    ASSERT_EQ(lines.size(), 3U) << "it is asked once";
    EXPECT_THAT(lines[1], StartsWith("unknown "));
    const std::int64_t estimate = (reserved_pico + 999'999) / 1'000'000;
    EXPECT_EQ(spent(), (std::pair<std::int64_t, std::int64_t>{estimate, 0}));
    EXPECT_EQ(sink.receipt.billed_micro, estimate);
  }
  static std::string with(std::string answer, std::string_view old, std::string_view by) {
    return answer.replace(answer.find(old), old.size(), by);
  }
};

TEST_F(UnknownCost, WhereTheUsageIsNoNumberOfTokens) {
  expect_unknown(with(kAnswer, "1000", "3000000000"));
}

TEST_F(UnknownCost, WhereTheUsageIsNegative) {
  expect_unknown(with(kAnswer, R"(_tokens":3)", R"(_tokens":-3)"));
}

TEST_F(UnknownCost, WhereTheUsageThatHoldsIsNone) {
  const auto counted = [](std::string_view count) {
    return R"(data: {"choices":[],"usage":{"prompt_tokens":1000,"completion_tokens":)" + std::string(count) + "}}\n\n";
  };
  expect_unknown(event(R"({"content":"Hi"})", R"("stop")") + counted("1") + counted("-1") + "data: [DONE]\n\n",
                 "text/event-stream");
}

TEST_F(UnknownCost, WhereTheTierIsAnother) {
  expect_unknown(with(kAnswer, R"("model":"big")", R"("model":"big","service_tier":"priority")"));
}

TEST_F(RemoteTest, TheUsualTierHasTheUsualPrice) {
  acme(http(R"({"service_tier":"default",)" + kAnswer.substr(1)));
  Recorder sink(false);
  run(request(false), sink);
  EXPECT_EQ(sink.receipt.billed_micro, 3045);
}

TEST_F(RemoteTest, AnErrorOfTheProviderCostsNothing) {
  acme(http(R"({"error":{"message":"no","type":"server_error"}})", "500 Internal Server Error"));
  Recorder sink(false);
  run(request(false), sink);
  EXPECT_EQ(sink.said.back(), "fail upstream_failed");
  EXPECT_EQ(written(), (Said{"intent acme/big", "settled 0", "intent acme/big", "settled 0", "intent acme/big",
                             "settled 0", "receipt refused 502 0"}));
}

TEST_F(RemoteTest, WhereNobodyListensNothingWasSent) {
  acme(http(kAnswer));
  server.reset();
  Recorder sink(false);
  run(request(false), sink);
  EXPECT_EQ(sink.said.back(), "fail unreachable");
  EXPECT_EQ(written(), (Said{"intent acme/big", "not_sent 0", "intent acme/big", "not_sent 0", "intent acme/big",
                             "not_sent 0", "receipt refused 503 0"}));
  EXPECT_EQ(spent(), (std::pair<std::int64_t, std::int64_t>{0, 0}));
}

// --- routes

TEST_F(RouteTest, LlmFirstFallsBackToALocalModel) {
  route.policy = routing::Policy::kLlmFirst;
  routes = {route};
  acme(http("{}", "503 Service Unavailable"));
  engine.answers = {{{says("Hi"), ends(types::FinishReason::kStop, 7, 1)}, {}, {}}};
  Recorder sink(true);
  run(by_route(true), sink);
  EXPECT_EQ(sink.said, (Said{"discard", "commit m failed_over", "0:Hi", "0.stop", "done"}));
  EXPECT_THAT(sink.receipt.reasons, Contains(types::Reason{"error", "upstream_failed", "acme/big", "go on with m"}));
  EXPECT_EQ(sink.receipt.egress, "acme") << "its prompt did leave";
  EXPECT_EQ(written().back(), "receipt failed_over 200 0");
}

TEST_F(RouteTest, LlmFirstMayBeToldNotTo) {
  route.policy = routing::Policy::kLlmFirst;
  route.local_on_remote_errors = false;
  routes = {route};
  acme(http("{}", "503 Service Unavailable"));
  Recorder sink(true);
  run(by_route(true), sink);
  EXPECT_EQ(sink.said.back(), "fail upstream_failed");
  EXPECT_TRUE(engine.requests.empty());
}

TEST_F(RouteTest, AWorkerThatDiesEscalates) {
  route.policy = routing::Policy::kSlmFirst;
  routes = {route};
  acme(http(kAnswer));
  engine.answers = {{{says("Hi"), Error(ErrorCode::kWorkerCrashed, "died")}, {}, {}}};
  Recorder sink(false);
  run(by_route(false), sink);
  EXPECT_EQ(sink.said, (Said{"0:Hi", "discard", "raw " + kAnswer, "commit acme/big escalated", "done"}));
}

TEST_F(RouteTest, WhatTheClientHasSeenIsNeverReplaced) {
  route.policy = routing::Policy::kSlmFirst;
  routes = {route};
  acme(http(kAnswer));
  engine.answers = {{{says("Hi"), Error(ErrorCode::kWorkerCrashed, "died")}, {}, {}}};
  Recorder sink(true);
  run(by_route(true), sink);
  EXPECT_EQ(sink.said, (Said{"commit m local", "0:Hi", "fail worker_crashed"}));
  EXPECT_EQ(server->connections, 0);
}

TEST_F(RouteTest, AFaultOfTheClientIsNotAskedAbroad) {
  route.policy = routing::Policy::kSlmFirst;
  routes = {route};
  acme(http(kAnswer));
  engine.answers = {{{}, {}, Error(ErrorCode::kInvalidRequest, "logit_bias names no token")}};
  Recorder sink(false);
  run(by_route(false), sink);
  EXPECT_EQ(sink.said, (Said{"fail invalid_request"}));
  EXPECT_EQ(server->connections, 0);
}

TEST_F(RouteTest, WithoutACalibrationTheRouteSaysWhatToDo) {
  route.policy = routing::Policy::kSlmFirst;
  route.on_null_confidence = routing::NullConfidence::kEscalate;
  routes = {route};
  acme(http(kAnswer));
  Recorder sink(false);
  run(by_route(false), sink);
  EXPECT_EQ(sink.said, (Said{"raw " + kAnswer, "commit acme/big remote", "done"}));
  EXPECT_TRUE(engine.requests.empty()) << "nothing is drafted that would be thrown away";
  EXPECT_FALSE(sink.receipt.confidence);
  EXPECT_THAT(sink.receipt.reasons, Contains(types::Reason{"confidence", "null", "on_null_confidence", "escalate"}));
}

TEST_F(RouteTest, ACostCapIsPerRequest) {
  route.policy = routing::Policy::kLlmFirst;
  route.cost_cap_micro = 10;
  routes = {route};
  acme(http(kAnswer));
  engine.answers = {{{says("Hi"), ends(types::FinishReason::kStop, 7, 1)}, {}, {}}};
  Recorder sink(false);
  run(by_route(false), sink);
  EXPECT_EQ(server->connections, 0);
  EXPECT_EQ(sink.said.back(), "done") << "on_budget: local";
}

TEST_F(RouteTest, WhatOnlyAProviderCanDoGoesThere) {
  route.policy = routing::Policy::kSlmFirst;
  routes = {route};
  acme(http(kAnswer));
  Recorder sink(false);
  AnswerRequest tools = by_route(false);
  tools.needs = {{types::NeedKind::kTools, "tools"}};
  run(std::move(tools), sink);
  EXPECT_EQ(sink.said.back(), "done");
  EXPECT_TRUE(engine.requests.empty());
  EXPECT_THAT(sink.receipt.reasons, Contains(types::Reason{"needs", "tools", "local models", "skip m"}));
}

}  // namespace
}  // namespace shoal::gateway
