#include "shoal/wire/openai/upstream.h"

#include <gtest/gtest.h>

namespace shoal::wire::openai {
namespace {

using types::AnswerDelta;
using types::FinishReason;
using types::RemoteError;
using types::RemoteEvent;
using types::RemoteReply;

RemoteEvent event_of(const Result<RemoteReply>& reply) {
  if (!reply.ok()) {
    ADD_FAILURE() << reply.error().message();
    return {};
  }
  if (const auto* error = std::get_if<RemoteError>(&*reply)) {
    ADD_FAILURE() << "an error: " << error->message;
    return {};
  }
  return std::get<RemoteEvent>(*reply);
}
RemoteEvent chunk(std::string_view data) {
  return event_of(parse_chunk(data, AnswerKind::kChat));
}
// One choice with this delta.
AnswerDelta delta(std::string_view text) {
  const RemoteEvent event =
      chunk(R"({"choices":[{"index":0,"delta":)" + std::string(text) + R"(,"finish_reason":null}]})");
  return event.deltas.empty() ? AnswerDelta() : event.deltas[0];
}
std::string wrong(const Result<RemoteReply>& reply) {
  if (reply.ok()) return "accepted";
  EXPECT_EQ(reply.error().code(), ErrorCode::kBadAnswer);
  return reply.error().message();
}

TEST(ParseChunk, TextWithItsHead) {
  const RemoteEvent event = chunk(
      R"({"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt-x","service_tier":"default",)"
      R"("choices":[{"index":0,"delta":{"content":"h\u00e9 \"llo\""},"logprobs":null,"finish_reason":null}],"usage":null})");
  EXPECT_EQ(event.id, "chatcmpl-1");
  EXPECT_EQ(event.model, "gpt-x");
  ASSERT_EQ(event.deltas.size(), 1U);
  EXPECT_EQ(event.deltas[0].text, "h\xC3\xA9 \"llo\"");
  EXPECT_EQ(event.deltas[0].answer, 0U);
  EXPECT_FALSE(event.deltas[0].finish || event.usage || event.last);
  EXPECT_EQ(event.raw, "");
}

TEST(ParseChunk, RoleAloneIsNoContent) {
  EXPECT_FALSE(delta(R"({"role":"assistant","content":"","refusal":null})").has_content());
  EXPECT_FALSE(delta(R"({"role":"assistant","content":null,"tool_calls":null,"function_call":null})").has_content());
  EXPECT_FALSE(delta("{}").has_content());
  EXPECT_FALSE(delta("null").has_content());
}

TEST(ParseChunk, RefusalsAndThoughts) {
  EXPECT_EQ(delta(R"({"refusal":"I can't"})").refusal, "I can't");
  EXPECT_EQ(delta(R"({"reasoning_content":"hm"})").reasoning, "hm");
  EXPECT_EQ(delta(R"({"reasoning":"hm","reasoning_content":"hm"})").reasoning, "hm") << "said twice";
  EXPECT_EQ(delta(R"({"content":null,"reasoning":"hm"})").reasoning, "hm");
  const AnswerDelta parts =
      delta(R"({"content":[{"type":"thinking","thinking":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},)"
            R"({"type":"text","text":"c"}]})");
  EXPECT_EQ(parts.reasoning, "ab");
  EXPECT_EQ(parts.text, "c");
}

TEST(ParseChunk, ToolCallsInPieces) {
  const AnswerDelta first =
      delta(R"({"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}},)"
            R"({"index":1,"id":"call_2","type":"function","function":{"name":"g","arguments":"{\"a\""}}]})");
  ASSERT_EQ(first.tool_calls.size(), 2U);
  EXPECT_EQ(first.tool_calls[0], (types::ToolCallDelta{0, "call_1", "f", ""}));
  EXPECT_EQ(first.tool_calls[1], (types::ToolCallDelta{1, "call_2", "g", "{\"a\""}));
  const AnswerDelta more = delta(R"({"tool_calls":[{"index":3,"function":{"arguments":":1}"}}]})");
  ASSERT_EQ(more.tool_calls.size(), 1U);
  EXPECT_EQ(more.tool_calls[0], (types::ToolCallDelta{3, "", "", ":1}"}));
  const AnswerDelta without_index =
      delta(R"({"tool_calls":[{"id":"a","function":{"name":"f","arguments":{"x": 1}}},{"id":"b"}]})");
  ASSERT_EQ(without_index.tool_calls.size(), 2U);
  EXPECT_EQ(without_index.tool_calls[0], (types::ToolCallDelta{0, "a", "f", R"({"x": 1})"}));
  EXPECT_EQ(without_index.tool_calls[1].index, 1U);
  EXPECT_EQ(delta(R"({"function_call":{"name":"f","arguments":"{}"}})").tool_calls.at(0),
            (types::ToolCallDelta{0, "", "f", "{}"}));
}

TEST(ParseChunk, SignedThoughts) {
  const AnswerDelta call =
      delta(R"({"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"f","arguments":"{}"},)"
            R"("extra_content":{"google":{"thought_signature":"Q29u"}}}]})");
  ASSERT_EQ(call.tool_calls.size(), 1U);
  EXPECT_EQ(call.tool_calls[0].thought_signature, "Q29u");
  const AnswerDelta blocks =
      delta(R"({"thinking_blocks":[{"index":2,"type":"thinking","thinking":"hm","signature":"sig"},)"
            R"({"index":3,"type":"redacted_thinking","data":"xyz"}]})");
  EXPECT_EQ(blocks.first_thinking_block, 2U);
  EXPECT_EQ(blocks.thinking_blocks, (std::vector<types::ThinkingBlock>{{"hm", "sig", ""}, {"", "", "xyz"}}));
  EXPECT_TRUE(delta(R"({"thinking_blocks":"hm","content":"a"})").thinking_blocks.empty()) << "another server's";
}

TEST(ParseChunk, SeveralAnswers) {
  const RemoteEvent event =
      chunk(R"({"choices":[{"index":2,"delta":{"content":"c"}},{"delta":{},"index":0,"finish_reason":"length"}]})");
  ASSERT_EQ(event.deltas.size(), 2U);
  EXPECT_EQ(event.deltas[0].answer, 2U);
  EXPECT_EQ(event.deltas[0].text, "c");
  EXPECT_EQ(event.deltas[1].answer, 0U);
  EXPECT_EQ(event.deltas[1].finish, FinishReason::kLength);
}

TEST(ParseChunk, FinishReasons) {
  const auto finish = [](std::string_view name) {
    return chunk(R"({"choices":[{"index":0,"delta":{},"finish_reason":)" + std::string(name) + "}]}")
        .deltas.at(0)
        .finish;
  };
  EXPECT_EQ(finish(R"("stop")"), FinishReason::kStop);
  EXPECT_EQ(finish(R"("length")"), FinishReason::kLength);
  EXPECT_EQ(finish(R"("tool_calls")"), FinishReason::kToolCalls);
  EXPECT_EQ(finish(R"("function_call")"), FinishReason::kToolCalls);
  EXPECT_EQ(finish(R"("content_filter")"), FinishReason::kContentFilter);
  EXPECT_EQ(finish(R"("model_length")"), FinishReason::kLength);
  EXPECT_EQ(finish(R"("eos_token")"), FinishReason::kStop) << "a name that is not known is an end as well";
  EXPECT_EQ(finish("null"), std::nullopt);
  EXPECT_NE(wrong(parse_chunk(R"({"choices":[{"index":0,"delta":{},"finish_reason":""}]})", AnswerKind::kChat))
                .find("finish_reason"),
            std::string::npos);
}

TEST(ParseChunk, AnAnswerThatBrokeOffIsAnError) {
  for (const char* name : {"error", "abort", "insufficient_system_resource"}) {
    const auto reply = parse_chunk(
        R"({"choices":[{"index":0,"delta":{},"finish_reason":")" + std::string(name) + "\"}]}", AnswerKind::kChat);
    ASSERT_TRUE(reply.ok() && std::holds_alternative<RemoteError>(*reply)) << name;
    EXPECT_EQ(std::get<RemoteError>(*reply).code, name);
  }
}

TEST(ParseChunk, TheMarkOfTheEndSaysNothingElse) {
  const RemoteEvent end = chunk("[DONE]");
  EXPECT_TRUE(end.last && end.deltas.empty() && !end.usage);
  EXPECT_FALSE(chunk(R"({"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]})").last);
}

TEST(ParseChunk, ErrorsWithinAStream) {
  for (const char* data : {R"({"error":{"message":"boom","type":"server_error","param":null,"code":"x"}})",
                           R"({"id":"1","choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}],)"
                           R"("error":{"code":"x","type":"server_error","message":"boom"}})",
                           R"({"object":"error","message":"boom","type":"server_error","code":"x"})",
                           R"([{"error":{"message":"boom","type":"server_error","code":"x"}}])"}) {
    const auto reply = parse_chunk(data, AnswerKind::kChat);
    ASSERT_TRUE(reply.ok() && std::holds_alternative<RemoteError>(*reply)) << data;
    const auto& error = std::get<RemoteError>(*reply);
    EXPECT_EQ(error, (RemoteError{0, "server_error", "x", "boom", ""})) << data;
  }
  EXPECT_FALSE(chunk(R"({"error":null,"choices":[]})").last) << "null is no error";
}

TEST(ParseChunk, Usage) {
  const auto usage = [](std::string_view text) {
    return chunk(R"({"choices":[],"usage":)" + std::string(text) + "}").usage;
  };
  EXPECT_EQ(
      usage(R"({"prompt_tokens":9,"completion_tokens":5,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":4,)"
            R"("audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":3,"audio_tokens":0}})"),
      (types::Usage{9, 5, 4, 0, 0, 3}));
  EXPECT_EQ(
      usage(R"({"prompt_tokens":9,"completion_tokens":5,"prompt_cache_hit_tokens":6,"prompt_cache_miss_tokens":3})"),
      (types::Usage{9, 5, 6, 0, 0, 0}));
  EXPECT_EQ(usage(R"({"prompt_tokens":9,"completion_tokens":5,"cached_tokens":2})"), (types::Usage{9, 5, 2, 0, 0, 0}));
  EXPECT_EQ(
      usage(
          R"({"prompt_tokens":9,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":2,"cache_write_tokens":3}})"),
      (types::Usage{9, 5, 2, 3, 0, 0}));
  EXPECT_EQ(
      usage(
          R"({"prompt_tokens":9,"completion_tokens":5,"total_tokens":34,"completion_tokens_details":{"reasoning_tokens":20}})"),
      (types::Usage{9, 25, 0, 0, 0, 20}))
      << "reasoning that stands beside the completion";
  EXPECT_EQ(usage(R"({"prompt_tokens":3,"completion_tokens":null,"prompt_tokens_details":null,"cost":0.1})"),
            (types::Usage{3, 0, 0, 0, 0, 0}));
  EXPECT_EQ(
      usage(
          R"({"prompt_tokens":3,"completion_tokens":2,"cached_tokens":5,"completion_tokens_details":{"reasoning_tokens":9}})"),
      (types::Usage{3, 2, 3, 0, 0, 2}))
      << "a part is not more than its whole";
  EXPECT_EQ(
      usage(
          R"({"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":3}})"),
      (types::Usage{5, 1, 4, 1, 0, 0}))
      << "nor are all parts together";
  EXPECT_EQ(usage("null"), std::nullopt);
  EXPECT_EQ(usage("{}"), std::nullopt);
  EXPECT_EQ(chunk(R"({"choices":[],"x_groq":{"id":"r","usage":{"prompt_tokens":1,"completion_tokens":2}}})").usage,
            (types::Usage{1, 2, 0, 0, 0, 0}));
  for (const char* bad : {R"({"prompt_tokens":-1})", R"({"prompt_tokens":"9"})", R"({"completion_tokens":1.5})",
                          R"({"completion_tokens":3000000000})"}) {
    const RemoteEvent event =
        chunk(R"({"choices":[{"index":0,"delta":{"content":"x"}}],"usage":)" + std::string(bad) + "}");
    EXPECT_TRUE(event.bad_usage && !event.usage) << bad;
    EXPECT_EQ(event.deltas.at(0).text, "x") << "the answer stands";
  }
  EXPECT_FALSE(chunk(R"({"choices":[],"usage":{"prompt_tokens":1}})").bad_usage);
}

TEST(ParseChunk, ATierThatIsNotTheUsualOneIsTold) {
  const auto tier = [](std::string_view value) {
    return chunk(R"({"choices":[],"service_tier":)" + std::string(value) + "}").service_tier;
  };
  for (const char* usual : {"null", R"("default")", R"("standard")", R"("auto")", R"("on_demand")", R"("")"}) {
    EXPECT_EQ(tier(usual), "") << usual;
  }
  EXPECT_EQ(tier(R"("priority")"), "priority");
  EXPECT_EQ(tier(R"("flex")"), "flex");
  EXPECT_EQ(tier(R"("scale")"), "scale");
}

TEST(ParseChunk, WhatIsNoChunkIsSaidSo) {
  for (const char* data :
       {"", "{", "[]", "1", "\"x\"", "[DONE] ", "{\"choices\":{}}", R"({"choices":[1]})",
        R"({"choices":[{"index":-1}]})", R"({"choices":[{"index":99999}]})",
        R"({"choices":[{"index":0,"delta":{"content":1}}]})", R"({"choices":[{"index":0,"delta":"x"}]})",
        R"({"choices":[{"index":0,"delta":{"tool_calls":{}}}]})",
        R"({"choices":[{"index":0,"delta":{"tool_calls":[{"index":"0"}]}}]})",
        R"({"choices":[{"index":0,"delta":{"tool_calls":[{"function":{"arguments":1}}]}}]})",
        R"({"choices":[{"index":0,"finish_reason":1}]})", "{\"choices\":[{\"delta\":{\"content\":\"\xFF\"}}]}"}) {
    EXPECT_NE(wrong(parse_chunk(data, AnswerKind::kChat)), "accepted") << data;
  }
  EXPECT_TRUE(chunk("{}").deltas.empty()) << "an object that says nothing is no harm";
  EXPECT_TRUE(chunk(R"({"choices":null})").deltas.empty());
}

TEST(ParseChunk, TextCompletions) {
  const RemoteEvent event = event_of(parse_chunk(
      R"({"id":"cmpl-1","object":"text_completion","choices":[{"text":"a","index":1,"logprobs":null,"finish_reason":"stop"}]})",
      AnswerKind::kText));
  ASSERT_EQ(event.deltas.size(), 1U);
  EXPECT_EQ(event.deltas[0].text, "a");
  EXPECT_EQ(event.deltas[0].answer, 1U);
  EXPECT_EQ(event.deltas[0].finish, FinishReason::kStop);
}

TEST(ParseAnswer, TheWholeOfIt) {
  const RemoteEvent event = event_of(parse_answer(
      R"( {"id":"chatcmpl-2","object":"chat.completion","created":1,"model":"gpt-x","choices":[)"
      R"({"index":0,"message":{"role":"assistant","content":null,"refusal":null,"annotations":[],"tool_calls":[)"
      R"({"id":"call_1","type":"function","function":{"name":"f","arguments":"{}"}},)"
      R"({"id":"call_2","type":"function","function":{"name":"g","arguments":"{\"x\":1}"}}]},"logprobs":null,)"
      R"("finish_reason":"tool_calls"},{"index":1,"message":{"role":"assistant","content":"hi","reasoning_content":"hm"},)"
      R"("finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}})"
      "\n",
      AnswerKind::kChat));
  EXPECT_EQ(event.id, "chatcmpl-2");
  ASSERT_EQ(event.deltas.size(), 2U);
  ASSERT_EQ(event.deltas[0].tool_calls.size(), 2U);
  EXPECT_EQ(event.deltas[0].tool_calls[1], (types::ToolCallDelta{1, "call_2", "g", "{\"x\":1}"}));
  EXPECT_EQ(event.deltas[0].finish, FinishReason::kToolCalls);
  EXPECT_EQ(event.deltas[1].text, "hi");
  EXPECT_EQ(event.deltas[1].reasoning, "hm");
  EXPECT_EQ(event.usage, (types::Usage{1, 2, 0, 0, 0, 0}));
  EXPECT_TRUE(event.last);
}

TEST(ParseAnswer, IsCompleteOnlyWithEveryReason) {
  const auto last = [](std::string_view choices) {
    return event_of(parse_answer(R"({"choices":)" + std::string(choices) + "}", AnswerKind::kText)).last;
  };
  EXPECT_TRUE(last(R"([{"text":"a","finish_reason":"stop"}])"));
  EXPECT_FALSE(last(R"([{"text":"a","finish_reason":null}])"));
  EXPECT_FALSE(last(R"([{"text":"a","finish_reason":"stop"},{"text":"b","index":1}])"));
}

TEST(ParseAnswer, ABodyOfStatus200MayBeAnError) {
  const auto reply = parse_answer(R"({"error":{"message":"no","code":502}})", AnswerKind::kChat);
  ASSERT_TRUE(reply.ok() && std::holds_alternative<RemoteError>(*reply));
  EXPECT_EQ(std::get<RemoteError>(*reply).code, "502");
  EXPECT_NE(wrong(parse_answer("{}", AnswerKind::kChat)).find("choices"), std::string::npos);
  EXPECT_NE(wrong(parse_answer(R"({"choices":[]})", AnswerKind::kChat)).find("choices"), std::string::npos);
  EXPECT_NE(wrong(parse_answer("<html>", AnswerKind::kChat)).find("byte 0"), std::string::npos);
  EXPECT_NE(wrong(parse_answer("[DONE]", AnswerKind::kChat)), "accepted");
}

}  // namespace
}  // namespace shoal::wire::openai
