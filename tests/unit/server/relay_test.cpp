// What a client gets of a provider's stream: its chunks as they came, the usage only when it was asked for, and x_shoal
// in the last chunk that a client looks at, however the provider orders them.
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "shoal/server/answer_writer.h"
#include "shoal/wire/openai/upstream.h"

#include "harness.h"

namespace shoal::server {
namespace {

using testing::Test;
using Lines = std::vector<std::string>;

constexpr std::string_view kRole = R"({"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]})";
constexpr std::string_view kHi = R"({"choices":[{"index":0,"delta":{"content":"Hi"}}]})";
constexpr std::string_view kStop = R"({"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]})";
constexpr std::string_view kStopShown = R"({"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"x_shoal":)";
constexpr std::string_view kUsage =
    R"({"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}})";
// As LiteLLM sends it.
constexpr std::string_view kUsageBeside =
    R"({"choices":[{"index":0,"delta":{}}],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}})";
constexpr std::string_view kEmpty = R"({"choices":[{"index":0,"delta":{}}]})";

struct RelayTest : ServerTest {
  // The events that the client gets; a receipt in one of them is cut off.
  Lines sent(const Lines& chunks, bool include_usage, std::size_t answers = 1) {
    fakes::FakeWriter out;
    net::HttpRequest request = post("/v1/chat/completions", "{}");
    ServerMetrics metrics(registry);
    base::spawn(io, "relay", [&](base::Yield yield) {
      Exchange exchange(request, out, yield, 0);
      types::GenerationParams params;
      params.stream = true;
      params.include_usage = include_usage;
      AnswerWriter answer(exchange, metrics, clock, wire::openai::AnswerKind::kChat, params, answers, {});
      types::Receipt receipt;
      receipt.decision = types::Decision::kRemote;
      receipt.egress = "acme";
      receipt.raw = true;
      ASSERT_TRUE(answer.commit(receipt, yield).ok());
      for (const std::string& chunk : chunks) {
        auto parsed = wire::openai::parse_chunk(chunk, wire::openai::AnswerKind::kChat);
        ASSERT_TRUE(parsed.ok());
        auto event = std::get<types::RemoteEvent>(*std::move(parsed));
        event.raw = chunk;
        ASSERT_TRUE(answer.relay(std::move(event), yield).ok());
      }
      ASSERT_TRUE(answer.done(receipt, yield).ok());
    });
    io.restart();
    io.run();
    EXPECT_EQ(out.headers.at("x-shoal-egress"), "acme");
    Lines all;
    for (const std::string& event : out.events) {
      const std::size_t receipt = event.find(R"("x_shoal":)");
      all.push_back(receipt == std::string::npos ? event : event.substr(0, receipt + 10));
    }
    return all;
  }
  static Lines lines(std::initializer_list<std::string_view> all) { return {all.begin(), all.end()}; }
};

TEST_F(RelayTest, ChunksGoOutAsTheyCameAndTheReceiptIsInTheLast) {
  EXPECT_EQ(sent(lines({kRole, kHi, kStop, kUsage}), true), lines({kRole, kHi, kStopShown, kUsage, "[DONE]"}));
  EXPECT_EQ(sent(lines({kRole, kHi, kStop, kUsage}), false), lines({kRole, kHi, kStopShown, "[DONE]"}));
}

TEST_F(RelayTest, UsageBesideAnEmptyAnswerIsUsage) {
  EXPECT_EQ(sent(lines({kRole, kHi, kStop, kUsageBeside}), true),
            lines({kRole, kHi, kStopShown, kUsageBeside, "[DONE]"}));
  EXPECT_EQ(sent(lines({kRole, kHi, kStop, kUsageBeside}), false), lines({kRole, kHi, kStopShown, "[DONE]"}));
}

TEST_F(RelayTest, WhatSaysNothingAfterTheEndDoesNotTakeTheReceipt) {
  EXPECT_EQ(sent(lines({kHi, kStop, kEmpty}), false), lines({kHi, kEmpty, kStopShown, "[DONE]"}));
}

TEST_F(RelayTest, TheReceiptIsLastEvenWhenAnAnswerGoesOnAfterItsEnd) {
  EXPECT_EQ(sent(lines({kHi, kStop, kHi}), false), lines({kHi, kHi, kStopShown, "[DONE]"}));
}

TEST_F(RelayTest, OfTwoAnswersTheLastToEndHasTheReceipt) {
  constexpr std::string_view kOther = R"({"choices":[{"index":1,"delta":{"content":"Ho"}}]})";
  constexpr std::string_view kOtherStop = R"({"choices":[{"index":1,"delta":{},"finish_reason":"stop"}]})";
  constexpr std::string_view kOtherShown = R"({"choices":[{"index":1,"delta":{},"finish_reason":"stop"}],"x_shoal":)";
  EXPECT_EQ(sent(lines({kHi, kStop, kOther, kOtherStop}), false, 2),
            lines({kHi, kOther, kStop, kOtherShown, "[DONE]"}));
}

}  // namespace
}  // namespace shoal::server
