// Whole answers of the dialects that are not OpenAI's, and answers of any dialect as a client of OpenAI's gets them.
#include <gtest/gtest.h>

#include "shoal/wire/anthropic/answer.h"
#include "shoal/wire/gemini/answer.h"
#include "shoal/wire/json_walk.h"
#include "shoal/wire/openai/parse.h"
#include "shoal/wire/openai/print.h"
#include "shoal/wire/openai/upstream.h"

namespace shoal::wire {
namespace {

using types::AnswerDelta;
using types::FinishReason;
using types::RemoteError;
using types::RemoteEvent;
using types::RemoteReply;

RemoteEvent event_of(const Result<RemoteReply>& reply) {
  if (!reply.ok() || !std::holds_alternative<RemoteEvent>(*reply)) {
    ADD_FAILURE() << (reply.ok() ? "an error: " + std::get<RemoteError>(*reply).message : reply.error().message());
    return {};
  }
  return std::get<RemoteEvent>(*reply);
}
std::string error_of(const Result<RemoteReply>& reply) {
  if (!reply.ok()) return std::string(reply.error().info().slug);
  const auto* error = std::get_if<RemoteError>(&*reply);
  return error == nullptr ? "none" : error->type + "/" + error->code + "/" + error->message;
}

TEST(AnthropicAnswer, AllOfIt) {
  const RemoteEvent event = event_of(anthropic::parse_answer(
      R"({"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[)"
      R"({"type":"thinking","thinking":"hm","signature":"x"},{"type":"redacted_thinking","data":"x"},)"
      R"({"type":"text","text":"a"},{"type":"text","text":"b","citations":null},)"
      R"({"type":"tool_use","id":"t1","name":"f","input":{"a": "b c", "d": [1, 2]}},{"type":"tool_use","id":"t2","name":"g","input":{}}],)"
      R"("stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":3,"cache_creation_input_tokens":12304,)"
      R"("cache_read_input_tokens":7,"cache_creation":{"ephemeral_5m_input_tokens":12000,"ephemeral_1h_input_tokens":304},)"
      R"("output_tokens":550,"output_tokens_details":{"thinking_tokens":50}}})"));
  EXPECT_EQ(event.id, "msg_1");
  EXPECT_EQ(event.model, "claude");
  EXPECT_TRUE(event.last);
  ASSERT_EQ(event.deltas.size(), 1U);
  EXPECT_EQ(event.deltas[0].text, "ab");
  EXPECT_EQ(event.deltas[0].reasoning, "hm");
  EXPECT_EQ(event.deltas[0].thinking_blocks, (std::vector<types::ThinkingBlock>{{"hm", "x", ""}, {"", "", "x"}}));
  EXPECT_EQ(event.deltas[0].finish, FinishReason::kToolCalls);
  EXPECT_EQ(event.deltas[0].tool_calls,
            (std::vector<types::ToolCallDelta>{{0, "t1", "f", R"({"a":"b c","d":[1,2]})"}, {1, "t2", "g", "{}"}}));
  EXPECT_EQ(event.usage, (types::Usage{12314, 550, 7, 12000, 304, 50}));
}

TEST(AnthropicAnswer, ReasonsAndUsage) {
  const auto answer = [](std::string_view reason, std::string_view usage = "{}") {
    return anthropic::parse_answer(R"({"type":"message","content":[{"type":"text","text":"x"}],"stop_reason":)" +
                                   std::string(reason) + R"(,"usage":)" + std::string(usage) + "}");
  };
  const auto finish = [&](std::string_view reason) { return event_of(answer(reason)).deltas.at(0).finish; };
  EXPECT_EQ(finish(R"("end_turn")"), FinishReason::kStop);
  EXPECT_EQ(finish(R"("stop_sequence")"), FinishReason::kStop);
  EXPECT_EQ(finish(R"("max_tokens")"), FinishReason::kLength);
  EXPECT_EQ(finish(R"("model_context_window_exceeded")"), FinishReason::kLength);
  EXPECT_EQ(finish(R"("refusal")"), FinishReason::kContentFilter);
  EXPECT_EQ(finish("null"), std::nullopt);
  EXPECT_FALSE(event_of(answer("null")).last);
  EXPECT_EQ(error_of(answer(R"("pause_turn")")).substr(0, 20), "api_error/pause_turn");
  EXPECT_EQ(event_of(answer(R"("end_turn")", R"({"input_tokens":4,"cache_creation_input_tokens":6,"output_tokens":1})"))
                .usage,
            (types::Usage{10, 1, 0, 6, 0, 0}))
      << "five minutes, when it is not said how long";
  for (const char* bad : {R"({"input_tokens":-1})", R"({"input_tokens":3,"output_tokens":3000000000})",
                          R"({"input_tokens":2000000000,"cache_read_input_tokens":2000000000})"}) {
    const RemoteEvent event = event_of(answer(R"("end_turn")", bad));
    EXPECT_TRUE(event.bad_usage && !event.usage && event.last) << bad;
    EXPECT_EQ(event.deltas.at(0).text, "x");
  }
  EXPECT_EQ(event_of(answer(R"("end_turn")", R"({"service_tier":"standard"})")).service_tier, "");
  EXPECT_EQ(event_of(answer(R"("end_turn")", R"({"service_tier":"priority"})")).service_tier, "priority");
}

TEST(AnthropicAnswer, Errors) {
  EXPECT_EQ(error_of(anthropic::parse_answer(R"({"type":"error","error":{"type":"api_error","message":"m"}})")),
            "api_error//m");
  for (const char* body : {"", "{", "[]", "{}", R"({"content":"x"})", R"({"content":[{"type":"tool_use","input":1}]})",
                           R"({"content":[{"type":"text","text":1}]})"}) {
    EXPECT_EQ(error_of(anthropic::parse_answer(body)), "bad_answer") << body;
  }
}

TEST(GeminiAnswer, AllOfIt) {
  const RemoteEvent event = event_of(gemini::parse_answer(
      R"({"candidates":[{"content":{"parts":[{"text":"hm","thought":true},{"text":"a"},{"text":"b"},)"
      R"({"functionCall":{"name":"f","args":{"x": 1}},"thoughtSignature":"eA=="},{"functionCall":{"id":"c2","name":"g"}}],"role":"model"},)"
      R"("finishReason":"STOP","index":0},{"content":{"parts":[{"text":"c"}]},"finishReason":"MAX_TOKENS","index":1}],)"
      R"("usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":5,"thoughtsTokenCount":768,"cachedContentTokenCount":4},)"
      R"("modelVersion":"gemini","responseId":"r"})",
      2));
  EXPECT_EQ(event.id, "r");
  EXPECT_EQ(event.model, "gemini");
  ASSERT_EQ(event.deltas.size(), 2U);
  EXPECT_EQ(event.deltas[0].reasoning, "hm");
  EXPECT_EQ(event.deltas[0].text, "ab");
  EXPECT_EQ(event.deltas[0].finish, FinishReason::kToolCalls) << "Gemini says STOP to calls as well";
  EXPECT_EQ(event.deltas[0].tool_calls,
            (std::vector<types::ToolCallDelta>{{0, "call_r_0_0", "f", R"({"x":1})", "eA=="}, {1, "c2", "g", "{}"}}));
  EXPECT_EQ(event.deltas[1].text, "c");
  EXPECT_EQ(event.deltas[1].finish, FinishReason::kLength);
  EXPECT_EQ(event.usage, (types::Usage{9, 773, 4, 0, 0, 768}));
  EXPECT_TRUE(event.last);
}

TEST(GeminiAnswer, StandsWithoutItsUsage) {
  for (const char* bad : {R"({"promptTokenCount":-1})", R"({"candidatesTokenCount":3000000000})",
                          R"({"candidatesTokenCount":2000000000,"thoughtsTokenCount":2000000000})"}) {
    const RemoteEvent event = event_of(gemini::parse_answer(
        R"({"candidates":[{"content":{"parts":[{"text":"x"}]},"finishReason":"STOP"}],"usageMetadata":)" +
        std::string(bad) + "}"));
    EXPECT_TRUE(event.bad_usage && !event.usage && event.last) << bad;
    EXPECT_EQ(event.deltas.at(0).text, "x");
  }
}

TEST(GeminiAnswer, ReasonsAndErrors) {
  const auto answer = [](std::string_view reason) {
    return gemini::parse_answer(R"({"candidates":[{"finishReason":")" + std::string(reason) + "\"}]}");
  };
  EXPECT_EQ(event_of(answer("STOP")).deltas.at(0).finish, FinishReason::kStop);
  for (const char* reason : {"SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"}) {
    EXPECT_EQ(event_of(answer(reason)).deltas.at(0).finish, FinishReason::kContentFilter) << reason;
  }
  for (const char* reason : {"OTHER", "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MISSING_THOUGHT_SIGNATURE"}) {
    EXPECT_NE(error_of(answer(reason)).find(reason), std::string::npos) << reason;
  }
  EXPECT_FALSE(event_of(answer("FINISH_REASON_UNSPECIFIED")).last);
  EXPECT_EQ(event_of(gemini::parse_answer(R"({"promptFeedback":{"blockReason":"SAFETY"}})")).deltas.at(0).finish,
            FinishReason::kContentFilter);
  EXPECT_EQ(error_of(gemini::parse_answer(R"({"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}})")),
            "RESOURCE_EXHAUSTED/429/m");
  EXPECT_EQ(error_of(gemini::parse_answer(R"([{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}}])")),
            "INVALID_ARGUMENT/400/m");
  for (const char* body : {"", "{", "{}", "3", R"({"candidates":[]})", R"({"candidates":[1]})",
                           R"({"candidates":[{"content":{"parts":[{"text":1}]}}]})"}) {
    EXPECT_EQ(error_of(gemini::parse_answer(body)), "bad_answer") << body;
  }
}

// --- for the client

openai::AnswerHead head() {
  return {openai::AnswerKind::kChat, "chatcmpl-1", 5, "m"};
}

// From "choices": to the end.
std::string choices(const std::string& printed) {
  return printed.substr(printed.find(R"("choices":)") + 10);
}
std::string chunk(const AnswerDelta& delta) {
  const openai::ChunkPrinter printer(head(), 2, {}, false);
  std::string out;
  printer.append_delta(out, delta);
  return choices(out);
}

TEST(RemoteChunks, OnePieceOfEachKind) {
  AnswerDelta delta;
  delta.answer = 1;
  delta.text = "a\"b";
  EXPECT_EQ(chunk(delta), R"([{"index":1,"delta":{"content":"a\"b"},"logprobs":null,"finish_reason":null}]})");
  delta = {};
  delta.reasoning = "r";
  delta.refusal = "n";
  EXPECT_EQ(chunk(delta),
            R"([{"index":0,"delta":{"reasoning_content":"r","refusal":"n"},"logprobs":null,"finish_reason":null}]})");
  delta = {};
  delta.tool_calls = {{0, "c", "f", ""}, {1, "", "", "{}"}};
  delta.finish = FinishReason::kToolCalls;
  EXPECT_EQ(
      chunk(delta),
      R"([{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"f","arguments":""}},)"
      R"({"index":1,"function":{"arguments":"{}"}}]},"logprobs":null,"finish_reason":"tool_calls"}]})");
  delta = {};
  delta.tool_calls = {{0, "c", "f", "{}", "sig"}};
  EXPECT_NE(chunk(delta).find(R"("arguments":"{}"},"extra_content":{"google":{"thought_signature":"sig"}}}])"),
            std::string::npos);
  delta = {};
  delta.thinking_blocks = {{"hm", "s", ""}, {"", "", "d"}};
  delta.first_thinking_block = 2;
  EXPECT_EQ(chunk(delta),
            R"([{"index":0,"delta":{"thinking_blocks":[{"index":2,"type":"thinking","thinking":"hm","signature":"s"},)"
            R"({"index":3,"type":"redacted_thinking","data":"d"}]},"logprobs":null,"finish_reason":null}]})");
  EXPECT_EQ(chunk({}), R"([{"index":0,"delta":{},"logprobs":null,"finish_reason":null}]})");
}

TEST(RemoteChunks, ReadBackAsTheyWere) {
  AnswerDelta delta;
  delta.answer = 1;
  delta.text = "t";
  delta.reasoning = "r";
  delta.refusal = "n";
  delta.tool_calls = {{0, "c", "f", "{\"a\":\"\\u00e9\"}"}};
  delta.finish = FinishReason::kContentFilter;
  openai::ChunkPrinter printer(head(), 2, {}, true);
  std::string out;
  printer.append_delta(out, delta);
  EXPECT_EQ(event_of(openai::parse_chunk(out, openai::AnswerKind::kChat)).deltas, std::vector{delta});
  AnswerDelta text;
  text.text = "t";
  text.finish = FinishReason::kLength;
  openai::AnswerHead plain = head();
  plain.kind = openai::AnswerKind::kText;
  openai::ChunkPrinter text_printer(plain, 1, {}, false);
  out.clear();
  text_printer.append_delta(out, text);
  EXPECT_EQ(event_of(openai::parse_chunk(out, openai::AnswerKind::kText)).deltas, std::vector{text});
}

TEST(RemoteAnswer, PrintedInWhole) {
  AnswerDelta called;
  called.reasoning = "r";
  called.tool_calls = {{0, "c", "f", "{}"}};
  called.finish = FinishReason::kToolCalls;
  AnswerDelta refused;
  refused.refusal = "no";
  refused.finish = FinishReason::kStop;
  AnswerDelta both;
  both.text = "t";
  both.tool_calls = {{0, "d", "g", ""}};
  both.finish = FinishReason::kToolCalls;
  const std::vector<openai::Choice> all = {openai::choice_of(called), openai::choice_of(refused),
                                           openai::choice_of(both)};
  types::Receipt receipt;
  receipt.usage = {3, 9, 1, 0, 0, 8};
  const openai::AnswerFacts facts = {.receipt = receipt};
  std::string out;
  openai::append_answer(out, head(), all, {}, facts);
  EXPECT_EQ(
      choices(out).substr(0, choices(out).find(R"(,"x_shoal")")),
      R"([{"index":0,"message":{"role":"assistant","content":null,"refusal":null,"reasoning_content":"r","tool_calls":[)"
      R"({"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},"logprobs":null,"finish_reason":"tool_calls"},)"
      R"({"index":1,"message":{"role":"assistant","content":null,"refusal":"no"},"logprobs":null,"finish_reason":"stop"},)"
      R"({"index":2,"message":{"role":"assistant","content":"t","refusal":null,"tool_calls":[)"
      R"({"id":"d","type":"function","function":{"name":"g","arguments":""}}]},"logprobs":null,"finish_reason":"tool_calls"}],)"
      R"("usage":{"prompt_tokens":3,"completion_tokens":9,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":1},)"
      R"("completion_tokens_details":{"reasoning_tokens":8}})");
  const RemoteEvent back = event_of(openai::parse_answer(out, openai::AnswerKind::kChat));
  EXPECT_EQ(back.deltas.at(0).tool_calls, called.tool_calls);
  EXPECT_EQ(back.deltas.at(1).refusal, "no");
  EXPECT_EQ(back.usage, receipt.usage);
}

// What a client does at the second turn of an agent: it says the message that it got.
types::Message said_again(const AnswerDelta& answer) {
  std::string out;
  const std::vector<openai::Choice> all = {openai::choice_of(answer)};
  types::Receipt receipt;
  openai::append_answer(out, head(), all, {}, {.receipt = receipt});
  const std::string printed = choices(out);
  JsonWalk items(printed);
  EXPECT_TRUE(items.next());
  const auto request =
      openai::parse_chat_request(R"({"messages":[)" + std::string(json_member(items.value(), "message")) + "]}");
  EXPECT_TRUE(request.ok()) << request.error().message() << out;
  return request.ok() ? request->messages.at(0) : types::Message();
}

TEST(RemoteAnswer, CanBeSaidAgain) {
  AnswerDelta answer;
  answer.reasoning = "hm";
  answer.thinking_blocks = {{"hm", "s", ""}, {"", "", "d"}};
  answer.tool_calls = {{0, "c", "f", "{}", "sig"}};
  answer.finish = FinishReason::kToolCalls;
  const types::Message message = said_again(answer);
  EXPECT_EQ(message.thinking_blocks, answer.thinking_blocks);
  EXPECT_EQ(message.tool_calls, (std::vector<types::ToolCall>{{"c", "f", "{}", "sig"}}));
  answer.tool_calls.clear();
  EXPECT_EQ(said_again(answer).thinking_blocks, answer.thinking_blocks) << "thoughts alone, as a limit leaves them";
}

}  // namespace
}  // namespace shoal::wire
