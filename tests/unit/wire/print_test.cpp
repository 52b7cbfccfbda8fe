#include "shoal/wire/openai/print.h"

#include <limits>
#include <string>

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

namespace shoal::wire::openai {
namespace {

AnswerHead head(AnswerKind kind) {
  return {kind, kind == AnswerKind::kChat ? "chatcmpl-1" : "cmpl-1", 1700000000, "m\"1"};
}

types::Token token(std::string bytes, float logprob, std::vector<types::TopLogprob> top = {}) {
  types::Token t;
  t.bytes = std::move(bytes);
  t.logprob = logprob;
  t.top = std::move(top);
  return t;
}

const types::Receipt& receipt() {
  static const types::Receipt kReceipt = [] {
    types::Receipt made;
    made.decision_id = "d1";
    made.route = "shoal-auto";
    made.model = "m\"1";
    made.usage = {10, 5, 4};
    made.timings = {1500, 2500, 2'000'000};
    made.local_micro = 7;
    made.baseline_micro = 3;
    return made;
  }();
  return kReceipt;
}

AnswerFacts facts() {
  return {.receipt = receipt()};
}

constexpr TokenDetail kLogprobs = {true, false};

constexpr std::string_view kFactsText =
    R"(,"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"prompt_tokens_details":{"cached_tokens":4}},)"
    R"("x_shoal":{"model":"m\"1","route":"local","decision_id":"d1","via":"shoal-auto","egress":"none","confidence":null,"local_usd":"0.000007","baseline_usd":"0.000003","saved_usd":"-0.000004","mode":"fast","queue_ms":1.5,"prefill_ms":2.5,"decode_ms":2000,"tokens_per_second":2.00}})";

#define CHAT_CHUNK                                                                              \
  R"({"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"m\"1",)" \
  R"("system_fingerprint":"shoal-)" SHOAL_TEST_VERSION R"(","choices":)"

TEST(PrintChat, WholeAnswer) {
  std::string out;
  const Choice choices[] = {{"Hi \"you\"", types::FinishReason::kStop, {}}, {"Ho", types::FinishReason::kLength, {}}};
  append_answer(out, head(AnswerKind::kChat), choices, {}, facts());
  EXPECT_EQ(
      out,
      R"({"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"m\"1",)"
      R"("system_fingerprint":"shoal-)" SHOAL_TEST_VERSION R"(","choices":[)"
      R"({"index":0,"message":{"role":"assistant","content":"Hi \"you\"","refusal":null},"logprobs":null,"finish_reason":"stop"},)"
      R"({"index":1,"message":{"role":"assistant","content":"Ho","refusal":null},"logprobs":null,"finish_reason":"length"}])" +
          std::string(kFactsText));
}

TEST(PrintChat, LogprobsKeepTheExactBytesOfPartialCharacters) {
  std::string out;
  const Choice choices[] = {
      {"é",
       types::FinishReason::kStop,
       {token("\xC3", -0.5F, {{1, "\xC3", -0.5F}, {2, "a", -std::numeric_limits<float>::infinity()}}),
        token("\xA9", -0.25F), token("", 0), token("z", -12000)}}};
  append_answer(out, head(AnswerKind::kChat), choices, kLogprobs, facts());
  EXPECT_NE(out.find(R"("logprobs":{"content":[{"token":"�","logprob":-0.5,"bytes":[195],"top_logprobs":[)"
                     R"({"token":"�","logprob":-0.5,"bytes":[195]},{"token":"a","logprob":-9999,"bytes":[97]}]},)"
                     R"({"token":"�","logprob":-0.25,"bytes":[169],"top_logprobs":[]},)"
                     R"({"token":"z","logprob":-9999,"bytes":[122],"top_logprobs":[]}],"refusal":null})"),
            std::string::npos)
      << out;
}

// Floats that print as they are written here.
types::AnswerSignals signals() {
  return {2, {-0.5F, -0.75F, -0.5F}, {1.5F, 2.0F, 1.5F}, {0.25F, 0.125F, 0.25F}, {9.5F, 8.0F, 9.5F}, std::nullopt};
}

TEST(PrintChat, SignalsOfEveryAnswerAndToken) {
  types::Token t = token("a", -0.5F);
  t.entropy = 1.5F;
  t.margin = 0.25F;
  t.self_certainty = 9.5F;
  const Choice choices[] = {{"a", types::FinishReason::kStop, {t}}, {"", types::FinishReason::kStop, {}}};
  const types::AnswerSignals both[] = {signals(), {}};
  AnswerFacts f = facts();
  f.signals = both;
  std::string out;
  append_answer(out, head(AnswerKind::kChat), choices, {true, true}, f);
  EXPECT_NE(
      out.find(R"("top_logprobs":[],"x_shoal":{"entropy":1.5,"margin":0.25,"self_certainty":9.5}}],"refusal":null})"),
      std::string::npos)
      << out;
  EXPECT_NE(out.find(R"("tokens_per_second":2.00,"signals":[{"tokens":2,"window":16,)"
                     R"("logprob":{"mean":-0.5,"min":-0.75,"worst_window":-0.5},)"
                     R"("entropy":{"mean":1.5,"max":2,"worst_window":1.5},)"
                     R"("margin":{"mean":0.25,"min":0.125,"worst_window":0.25},)"
                     R"("self_certainty":{"mean":9.5,"min":8,"worst_window":9.5}},{"tokens":0}]}})"),
            std::string::npos)
      << out;
}

TEST(XShoal, OfAProvidersAnswerSaysWhatLeftAndWhatItCost) {
  types::Receipt made = receipt();
  made.model = "openai/gpt";
  made.decision = types::Decision::kEscalated;
  made.egress = "openai";
  made.billed_micro = 1'234'567;
  made.durability = "strict";
  made.confidence = 0.25;
  made.threshold = 0.5;
  made.reasons = {{"confidence", "0.25", "at least 0.5", "escalate"}, {"a\"", "b", "c", "d"}};
  std::string out;
  append_x_shoal_value(out, {.receipt = made});
  EXPECT_EQ(out, R"({"model":"openai/gpt","route":"escalated","decision_id":"d1","via":"shoal-auto","egress":"openai",)"
                 R"("confidence":0.25,"threshold":0.5,"cost_usd":"1.234567","durability":"strict",)"
                 R"("local_usd":"0.000007","baseline_usd":"0.000003","saved_usd":"-1.234571","reasons":[)"
                 R"({"signal":"confidence","value":"0.25","rule":"at least 0.5","effect":"escalate"},)"
                 R"({"signal":"a\"","value":"b","rule":"c","effect":"d"}]})");
  made.billed_micro = 7;
  out.clear();
  append_x_shoal_value(out, {.receipt = made});
  EXPECT_NE(out.find(R"("cost_usd":"0.000007")"), std::string::npos) << out;
}

TEST(PrintText, SignalsOfTokensAreLists) {
  ChunkPrinter chunks(head(AnswerKind::kText), 1, {true, true}, false);
  types::Token t = token("a", -0.5F);
  t.entropy = 1.5F;
  t.margin = 0.25F;
  t.self_certainty = 9.5F;
  std::string out;
  chunks.append_piece(out, 0, "a", &t);
  EXPECT_NE(out.find(R"("text_offset":[0],"x_shoal":{"entropy":[1.5],"margin":[0.25],"self_certainty":[9.5]}})"),
            std::string::npos)
      << out;
}

TEST(PrintChat, AnImpossibleTokenHasTheLowestLogprob) {
  types::AnswerSignals s = signals();
  s.logprob.mean = s.logprob.worst = s.logprob.worst_window = -std::numeric_limits<float>::infinity();
  AnswerFacts f = facts();
  f.signals = {&s, 1};
  std::string out;
  append_answer(out, head(AnswerKind::kChat), {}, {}, f);
  EXPECT_NE(out.find(R"("logprob":{"mean":-9999,"min":-9999,"worst_window":-9999})"), std::string::npos) << out;
}

TEST(PrintChat, WhetherItIsTrueAndHiddenStates) {
  types::AnswerSignals s = signals();
  s.p_true = 0.75F;
  const std::vector<float> states[] = {{0.5F, -1.0F}, {}};
  AnswerFacts f = facts();
  f.signals = {&s, 1};
  f.hidden_states = states;
  std::string out;
  append_answer(out, head(AnswerKind::kChat), {}, {}, f);
  EXPECT_NE(out.find(R"(,"p_true":0.75}],"hidden_states":[[0.5,-1],[]]}})"), std::string::npos) << out;
  f.base64 = true;
  out.clear();
  append_answer(out, head(AnswerKind::kChat), {}, {}, f);
  EXPECT_NE(out.find(R"("hidden_states":["AAAAPwAAgL8=",""]}})"), std::string::npos) << out;
}

TEST(PrintScores, ListsAndClasses) {
  const std::string labels[] = {" yes", "\"no\""};
  const types::LabelScore scores[] = {
      {{{7, 8}, {-0.5F, -1.0F}}, -1.5, -2.25, 0.75},
      {{{9}, {-std::numeric_limits<float>::infinity()}}, -std::numeric_limits<double>::infinity(), std::nullopt, 0.25}};
  std::string out;
  append_scores(out, {"score-1", 17, "m"}, labels, scores, {10, 3, 4});
  EXPECT_EQ(
      out,
      R"({"id":"score-1","object":"list","created":17,"model":"m","data":[)"
      R"({"index":0,"object":"score","label":" yes","logprob":-1.5,"content_free_logprob":-2.25,"probability":0.75,)"
      R"("tokens":[7,8],"token_logprobs":[-0.5,-1]},)"
      R"({"index":1,"object":"score","label":"\"no\"","logprob":-9999,"probability":0.25,)"
      R"("tokens":[9],"token_logprobs":[-9999]}],)"
      R"("usage":{"prompt_tokens":10,"completion_tokens":3,"total_tokens":13,"prompt_tokens_details":{"cached_tokens":4}}})");
  out.clear();
  const std::vector<types::LabelScore> input(std::begin(scores), std::end(scores));
  append_classes(out, {"classify-1", 17, "m"}, labels, {&input, 1}, {10, 3, 4});
  EXPECT_EQ(
      out,
      R"({"id":"classify-1","object":"list","created":17,"model":"m","labels":[" yes","\"no\""],"data":[)"
      R"({"index":0,"label":" yes","probs":[0.75,0.25],"num_classes":2,"margin":0.5,"logprobs":[-1.5,-9999]}],)"
      R"("usage":{"prompt_tokens":10,"completion_tokens":3,"total_tokens":13,"prompt_tokens_details":{"cached_tokens":4}}})");
}

TEST(PrintChat, Chunks) {
  ChunkPrinter chunks(head(AnswerKind::kChat), 2, {}, false);
  std::string out;
  chunks.append_role(out, 1);
  EXPECT_EQ(
      out, CHAT_CHUNK
      R"([{"index":1,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}]})");
  out.clear();
  const types::Token t = token("a\n", -1);
  chunks.append_piece(out, 0, "a\n", &t);
  EXPECT_EQ(out, CHAT_CHUNK R"([{"index":0,"delta":{"content":"a\n"},"logprobs":null,"finish_reason":null}]})");
  out.clear();
  chunks.append_finish(out, 0, types::FinishReason::kLength, nullptr);
  EXPECT_EQ(out, CHAT_CHUNK R"([{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}]})");
}

TEST(PrintChat, OnlyTheUsageChunkHasUsage) {
  ChunkPrinter chunks(head(AnswerKind::kChat), 1, kLogprobs, true);
  std::string out;
  const types::Token t = token("a", -1);
  chunks.append_piece(out, 0, "a", &t);
  EXPECT_EQ(out, CHAT_CHUNK
            R"([{"index":0,"delta":{"content":"a"},"logprobs":{"content":[{"token":"a","logprob":-1,"bytes":[97],)"
            R"("top_logprobs":[]}],"refusal":null},"finish_reason":null}],"usage":null})");
  out.clear();
  const AnswerFacts f = facts();
  chunks.append_finish(out, 0, types::FinishReason::kStop, &f);
  EXPECT_NE(out.find(R"("finish_reason":"stop"}],"x_shoal":{"model":)"), std::string::npos) << out;
  EXPECT_TRUE(out.ends_with(R"("usage":null})")) << out;
  out.clear();
  chunks.append_usage(out, f.receipt.usage);
  EXPECT_EQ(
      out, CHAT_CHUNK
      R"([],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"prompt_tokens_details":{"cached_tokens":4}}})");
}

TEST(PrintText, WholeAnswerWithLogprobs) {
  std::string out;
  const Choice choices[] = {{"ab é",
                             types::FinishReason::kLength,
                             {token("ab", -1, {{1, "ab", -1}, {2, "ab", -2}, {3, "x", -3}}),
                              token(" \xC3", -0.5F, {{4, " \xC3", -0.5F}}), token("\xA9", -0.25F)}}};
  append_answer(out, head(AnswerKind::kText), choices, kLogprobs, facts());
  EXPECT_NE(
      out.find(R"("choices":[{"index":0,"text":"ab é","logprobs":{"tokens":["ab","bytes:\\x20\\xc3","bytes:\\xa9"],)"
               R"("token_logprobs":[-1,-0.5,-0.25],"top_logprobs":[{"ab":-1,"x":-3},{"bytes:\\x20\\xc3":-0.5},{}],)"
               R"("text_offset":[0,2,4]},"finish_reason":"length"}])"),
      std::string::npos)
      << out;
  EXPECT_NE(out.find(R"("object":"text_completion")"), std::string::npos);
}

TEST(PrintText, OffsetsRunOnOverTheChunksOfAnAnswer) {
  ChunkPrinter chunks(head(AnswerKind::kText), 2, kLogprobs, false);
  const auto piece = [&](std::size_t index, std::string bytes) {
    std::string out;
    const types::Token t = token(bytes, -1);
    chunks.append_piece(out, index, bytes, &t);
    return out;
  };
  EXPECT_NE(piece(0, "abc").find(R"("text_offset":[0])"), std::string::npos);
  EXPECT_NE(piece(1, "abcd").find(R"("text_offset":[0])"), std::string::npos);
  EXPECT_NE(piece(0, "é").find(R"("text_offset":[3])"), std::string::npos);
  EXPECT_NE(piece(0, "z").find(R"("text_offset":[4])"), std::string::npos);
}

TEST(PrintEmbeddings, FloatsAndBase64) {
  std::string out;
  append_embeddings_open(out);
  const float values[] = {0.5F, -1.0F, 0.1F, 2.0F};
  append_embedding(out, 0, std::span(values).first(2), false);
  append_embedding(out, 1, std::span(values).first(1), true);
  append_embedding(out, 2, std::span(values).first(2), true);
  append_embedding(out, 3, std::span(values).first(3), true);
  append_embeddings_close(out, "e", {7, 0, 0});
  // The base64 texts: Python's base64.b64encode(struct.pack("<3f", 0.5, -1, 0.1)) and its shorter forms.
  EXPECT_EQ(out, R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5,-1]},)"
                 R"({"object":"embedding","index":1,"embedding":"AAAAPw=="},)"
                 R"({"object":"embedding","index":2,"embedding":"AAAAPwAAgL8="},)"
                 R"({"object":"embedding","index":3,"embedding":"AAAAPwAAgL/NzMw9"}],)"
                 R"("model":"e","usage":{"prompt_tokens":7,"total_tokens":7}})");
}

TEST(PrintModels, ShowStateContextAndCapabilities) {
  ModelEntry chat;
  chat.info.name = "smol";
  chat.info.generates = chat.info.has_chat_template = true;
  chat.info.context_length = 8192;
  chat.state = types::ModelState::kReady;
  chat.context_length = 2048;
  ModelEntry embedder;
  embedder.info.name = "mini";
  embedder.info.embeds = true;
  embedder.info.context_length = 512;
  embedder.state = types::ModelState::kFailed;
  embedder.reason = "exit 1";
  std::string out;
  const ModelEntry entries[] = {chat, embedder};
  append_models(out, entries, {});
  EXPECT_EQ(out, R"({"object":"list","data":[{"id":"smol","object":"model","created":0,"owned_by":"shoal","x_shoal":)"
                 R"({"state":"ready","reason":null,"ctx":2048,"capabilities":["chat","completions"]}},)"
                 R"({"id":"mini","object":"model","created":0,"owned_by":"shoal","x_shoal":)"
                 R"({"state":"failed","reason":"exit 1","ctx":512,"capabilities":["embeddings"]}}]})");
}

TEST(PrintError, HasTheFourFieldsAndTheSuggestion) {
  std::string out;
  append_error(out, Error(ErrorCode::kModelNotFound, "no model \"x\"").with_param("model").with_suggestion("y"));
  EXPECT_EQ(out, R"({"error":{"message":"no model \"x\"","type":"invalid_request_error","param":"model",)"
                 R"("code":"model_not_found","did_you_mean":"y"}})");
  out.clear();
  append_error(out, Error(ErrorCode::kInternal, ""));
  EXPECT_NE(out.find(R"("param":null,"code":"internal"}})"), std::string::npos) << out;
  EXPECT_EQ(out.find(R"("message":"")"), std::string::npos) << out;
}

}  // namespace
}  // namespace shoal::wire::openai
