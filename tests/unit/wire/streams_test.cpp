// The scripted streams of tests/fixtures/dialects, whole, in pieces, and cut off.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

#include "shoal/wire/json_walk.h"

#include "support/dialect_summary.h"

namespace shoal::wire {
namespace {

using tests::Summary;

struct Script {
  std::string name;  // "openai/text"
  types::Dialect dialect = types::Dialect::kOpenAi;
  std::string bytes;
  std::size_t answers = 1;
  std::string expect;
};

// The first line is a comment: {"n","sdk","expect"}.
std::vector<Script> scripts() {
  std::vector<Script> all;
  for (const char* dialect : {"openai", "anthropic", "gemini"}) {
    for (const auto& entry :
         std::filesystem::directory_iterator(std::string(SHOAL_SOURCE_DIR) + "/tests/fixtures/dialects/" + dialect)) {
      std::ifstream file(entry.path(), std::ios::binary);
      Script script;
      script.name = std::string(dialect) + "/" + entry.path().stem().string();
      script.dialect = *tests::dialect_of(dialect);
      script.bytes.assign(std::istreambuf_iterator<char>(file), {});
      const std::string head = script.bytes.substr(2, script.bytes.find('\n') - 2);
      script.answers = static_cast<std::size_t>(json_integer(json_member(head, "n")).value());
      script.expect = json_member(head, "expect");
      all.push_back(std::move(script));
    }
  }
  std::ranges::sort(all, {}, &Script::name);
  return all;
}

Summary read(const Script& script, const std::vector<std::string_view>& pieces) {
  return tests::read_stream(script.dialect, script.answers, pieces);
}

TEST(Streams, SayWhatTheyWereWrittenToSay) {
  const std::vector<Script> all = scripts();
  ASSERT_GE(all.size(), 36U);
  for (const Script& script : all) EXPECT_EQ(read(script, {script.bytes}).text(), script.expect) << script.name;
}

TEST(Streams, SayItHoweverTheBytesAreCut) {
  for (const Script& script : scripts()) {
    const std::string_view bytes = script.bytes;
    for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
      ASSERT_EQ(read(script, {bytes.substr(0, cut), bytes.substr(cut)}).text(), script.expect)
          << script.name << " at " << cut;
    }
    std::vector<std::string_view> single;
    for (std::size_t i = 0; i < bytes.size(); ++i) single.push_back(bytes.substr(i, 1));
    EXPECT_EQ(read(script, single).text(), script.expect) << script.name;
  }
}

TEST(Streams, AreNotCompleteWhenTheyAreCutOff) {
  for (const Script& script : scripts()) {
    const Summary whole = read(script, {script.bytes});
    std::size_t complete_at = script.bytes.size() + 1;
    for (std::size_t length = 0; length < script.bytes.size(); ++length) {
      const Summary cut = read(script, {std::string_view(script.bytes).substr(0, length)});
      if (!cut.complete()) {
        ASSERT_LE(length, complete_at) << script.name << ": it was complete before";
        continue;
      }
      complete_at = std::min(complete_at, length);
      ASSERT_TRUE(whole.complete()) << script.name;
      ASSERT_EQ(cut.answers(), whole.answers()) << script.name << " at " << length << ": more came after its end";
    }
    // What is complete is so with its last event that has anything to say.
    if (whole.complete() && script.dialect != types::Dialect::kOpenAi) {
      EXPECT_GE(complete_at + 4, script.bytes.size()) << script.name;
    }
  }
}

// --- what no script has

Result<types::RemoteReply> one(types::Dialect dialect, std::initializer_list<std::string_view> events) {
  const auto reader = make_stream_reader(dialect, openai::AnswerKind::kChat, 1);
  for (const std::string_view event : events) {
    auto reply = reader->read({}, event);
    if (!reply.ok()) return std::move(reply).error();
    if (*reply && std::holds_alternative<types::RemoteError>(**reply)) return *std::move(*reply);
  }
  return types::RemoteReply(types::RemoteEvent());
}
bool refused(types::Dialect dialect, std::initializer_list<std::string_view> events) {
  const auto reply = one(dialect, events);
  return !reply.ok() && reply.error().code() == ErrorCode::kBadAnswer;
}

constexpr std::string_view kStart = R"({"type":"message_start","message":{"id":"m","usage":{"input_tokens":1}}})";
constexpr std::string_view kText =
    R"({"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}})";
constexpr std::string_view kTextStop = R"({"type":"content_block_stop","index":0})";
constexpr std::string_view kEnd =
    R"({"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}})";
constexpr std::string_view kStop = R"({"type":"message_stop"})";

TEST(AnthropicStream, RefusesEventsOutOfTheirPlace) {
  using enum types::Dialect;
  EXPECT_FALSE(refused(kAnthropic, {kStart, kText, kTextStop, kEnd, kStop}));
  EXPECT_TRUE(refused(kAnthropic, {kText}));
  EXPECT_TRUE(refused(kAnthropic, {kStart, kStart}));
  EXPECT_TRUE(refused(kAnthropic, {kStart, kStop})) << "no reason";
  EXPECT_TRUE(refused(kAnthropic, {kStart, kEnd, kStop, kEnd}));
  EXPECT_TRUE(refused(kAnthropic, {kStart, kText, kText})) << "a block is open";
  EXPECT_TRUE(refused(kAnthropic, {kStart, kTextStop}));
  EXPECT_TRUE(refused(kAnthropic, {kStart, kText, R"({"type":"content_block_stop","index":1})"}));
  EXPECT_TRUE(refused(
      kAnthropic,
      {kStart, kText, R"({"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"x"}})"}));
  EXPECT_TRUE(
      refused(kAnthropic,
              {kStart, kText, R"({"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"x"}})"}));
  EXPECT_TRUE(
      refused(kAnthropic, {kStart, R"({"type":"content_block_start","index":1,"content_block":{"type":"text"}})"}));
  EXPECT_TRUE(refused(kAnthropic, {"{"}));
  EXPECT_TRUE(refused(kAnthropic, {"[]"}));
  EXPECT_TRUE(refused(kAnthropic, {R"("message_stop")"}));
  EXPECT_FALSE(refused(kAnthropic, {R"({"type":"ping"})", kStart, R"({"type":"tomorrow"})"}));
}

TEST(AnthropicStream, APausedTurnIsNoAnswer) {
  const auto reply = one(types::Dialect::kAnthropic,
                         {kStart, R"({"type":"message_delta","delta":{"stop_reason":"pause_turn"},"usage":{}})"});
  ASSERT_TRUE(reply.ok() && std::holds_alternative<types::RemoteError>(*reply));
  EXPECT_EQ(std::get<types::RemoteError>(*reply).code, "pause_turn");
}

TEST(AnthropicStream, AThoughtIsSignedAtItsEnd) {
  const auto reader = make_stream_reader(types::Dialect::kAnthropic, openai::AnswerKind::kChat, 1);
  std::vector<std::pair<std::size_t, types::ThinkingBlock>> blocks;
  std::string thought;
  for (
      const char* event : {
          R"({"type":"message_start","message":{"id":"m"}})",
          R"({"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}})",
          R"({"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"h"}})",
          R"({"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"m"}})",
          R"({"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"s"}})",
          R"({"type":"content_block_stop","index":0})",
          R"({"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"d"}})",
          R"({"type":"content_block_stop","index":1})",
          R"({"type":"content_block_start","index":2,"content_block":{"type":"thinking","thinking":"","signature":""}})",
          R"({"type":"content_block_delta","index":2,"delta":{"type":"signature_delta","signature":"unseen"}})",
          R"({"type":"content_block_stop","index":2})",
          R"({"type":"content_block_start","index":3,"content_block":{"type":"thinking"}})",
          R"({"type":"content_block_stop","index":3})",
      }) {
    const auto reply = reader->read({}, event);
    ASSERT_TRUE(reply.ok()) << event;
    for (const types::AnswerDelta& delta : std::get<types::RemoteEvent>(**reply).deltas) {
      thought += delta.reasoning;
      for (std::size_t i = 0; i < delta.thinking_blocks.size(); ++i) {
        blocks.emplace_back(delta.first_thinking_block + i, delta.thinking_blocks[i]);
      }
    }
  }
  EXPECT_EQ(thought, "hm");
  using types::ThinkingBlock;
  EXPECT_EQ(blocks, (std::vector<std::pair<std::size_t, ThinkingBlock>>{{0, ThinkingBlock{"hm", "s", ""}},
                                                                        {1, ThinkingBlock{"", "", "d"}},
                                                                        {2, ThinkingBlock{"", "unseen", ""}}}));
}

TEST(AnthropicStream, WhatItCountedWrongOnceIsNeverKnown) {
  const auto reader = make_stream_reader(types::Dialect::kAnthropic, openai::AnswerKind::kChat, 1);
  for (const char* event :
       {R"({"type":"message_start","message":{"id":"m","usage":{"input_tokens":-1}}})",
        R"({"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":5}})"}) {
    const auto reply = reader->read({}, event);
    ASSERT_TRUE(reply.ok()) << event;
    const auto& said = std::get<types::RemoteEvent>(**reply);
    EXPECT_TRUE(said.bad_usage && !said.usage) << event;
  }
}

TEST(GeminiStream, RefusesWhatItCannotBe) {
  using enum types::Dialect;
  EXPECT_TRUE(refused(kGemini, {"1"}));
  EXPECT_TRUE(refused(kGemini, {R"({"candidates":[{"index":1,"finishReason":"STOP"}]})"}));
  EXPECT_TRUE(refused(kGemini, {R"({"candidates":[{"finishReason":"STOP"}]})",
                                R"({"candidates":[{"content":{"parts":[{"text":"more"}]}}]})"}));
  EXPECT_TRUE(
      refused(kGemini, {R"({"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":[]}}]}}]})"}));
  EXPECT_FALSE(refused(kGemini, {R"({"candidates":[{"finishReason":"STOP"}]})", R"({"usageMetadata":{}})"}));
}

TEST(OpenAiStream, RefusesAnswersThatNobodyAskedFor) {
  EXPECT_TRUE(refused(types::Dialect::kOpenAi, {R"({"choices":[{"index":1,"delta":{}}]})"}));
}

TEST(OpenAiStream, NumbersCallsWithoutGaps) {
  const auto reader = make_stream_reader(types::Dialect::kOpenAi, openai::AnswerKind::kChat, 1);
  const auto piece = [&reader](std::string_view call) {
    const auto reply =
        reader->read({}, R"({"choices":[{"index":0,"delta":{"tool_calls":[)" + std::string(call) + "]}}]}");
    return std::get<types::RemoteEvent>(**reply).deltas.at(0).tool_calls.at(0);
  };
  using types::ToolCallDelta;
  EXPECT_EQ(piece(R"({"index":1,"id":"a","function":{"name":"f","arguments":""}})"), (ToolCallDelta{0, "a", "f", ""}));
  EXPECT_EQ(piece(R"({"index":1,"id":"a","function":{"name":"f","arguments":"{"}})"), (ToolCallDelta{0, "", "", "{"}));
  EXPECT_EQ(piece(R"({"index":3,"function":{"name":"g","arguments":""}})"), (ToolCallDelta{1, "", "g", ""}));
  EXPECT_EQ(piece(R"({"index":3,"id":"b","function":{"arguments":"1"}})"), (ToolCallDelta{1, "b", "", "1"}));
  EXPECT_EQ(piece(R"({"index":1,"function":{"arguments":"}"}})"), (ToolCallDelta{0, "", "", "}"}));
  EXPECT_EQ(piece(R"({"index":1,"id":"c","function":{"name":"h","arguments":""}})"), (ToolCallDelta{2, "c", "h", ""}));
  EXPECT_EQ(piece(R"({"index":1,"function":{"arguments":"2"}})"), (ToolCallDelta{2, "", "", "2"})) << "of the latest";
}

}  // namespace
}  // namespace shoal::wire
