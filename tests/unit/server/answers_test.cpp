#include <string>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "harness.h"

namespace shoal::server {
namespace {

using fakes::ends;
using fakes::says;
using types::FinishReason;

constexpr const char* kChat = "/v1/chat/completions";
constexpr const char* kText = "/v1/completions";

std::string chat(std::string_view more = "") {
  return R"({"model":"smol","messages":[{"role":"user","content":"hi"}])" + std::string(more) + "}";
}
std::string content(const boost::json::value& chunk) {
  const auto* text = chunk.at("choices").at(0).at("delta").as_object().if_contains("content");
  return text == nullptr ? "-" : std::string(text->get_string().data(), text->get_string().size());
}

TEST_F(ServerTest, AWholeChatAnswer) {
  EXPECT_EQ(status_of(post(kChat, chat())), 200);
  const auto answer = body();
  EXPECT_EQ(answer.at("choices").at(0).at("message").at("content"), "Hi you");
  EXPECT_EQ(answer.at("choices").at(0).at("finish_reason"), "stop");
  EXPECT_EQ(answer.at("usage").at("prompt_tokens"), 7);
  EXPECT_EQ(answer.at("x_shoal").at("route"), "local");
  EXPECT_TRUE(std::string_view(answer.at("id").get_string().data()).starts_with("chatcmpl-"));
  EXPECT_EQ(writer->headers.at("x-shoal-model"), "smol");
  EXPECT_EQ(writer->headers.at("x-shoal-route"), "local");
  EXPECT_EQ(writer->headers.at("x-shoal-egress"), "none");
}

TEST_F(ServerTest, SignalsOnlyWhenAskedFor) {
  EXPECT_EQ(status_of(post(kChat, chat())), 200);
  EXPECT_FALSE(body().at("x_shoal").as_object().contains("signals"));
  EXPECT_EQ(status_of(post(kChat, chat(R"(,"n":2,"x_shoal":{"signals":true})"))), 200);
  const auto whole = body();
  ASSERT_EQ(whole.at("x_shoal").at("signals").as_array().size(), 2U);
  EXPECT_EQ(whole.at("x_shoal").at("signals").at(1).at("logprob").at("min"), -0.75);
  EXPECT_EQ(status_of(post(kChat, chat(R"(,"stream":true,"x_shoal":{"signals":true})"))), 200);
  const auto finish = json_of(writer->events[writer->events.size() - 2]);
  EXPECT_EQ(finish.at("x_shoal").at("signals").at(0).at("tokens"), 2);
}

TEST_F(ServerTest, HiddenStatesArePerPrompt) {
  auto end = ends(FinishReason::kStop, 7, 1);
  end.hidden_state = {0.5F, 2.0F};
  engine.answers = {{{says("Hi"), end}, {}, {}}};
  EXPECT_EQ(status_of(post(kText, R"({"prompt":["a","b"],"n":2,"x_shoal":{"hidden_state":"float"}})")), 200);
  const auto states = body().at("x_shoal").at("hidden_states").as_array();
  ASSERT_EQ(states.size(), 2U);
  EXPECT_EQ(states[1].at(1), 2);
  std::vector<bool> asked;
  for (const auto& request : engine.requests) asked.push_back(request.hidden_state);
  EXPECT_EQ(asked, (std::vector<bool>{true, false, true, false})) << "the answers to one prompt share it";
}

TEST_F(ServerTest, TheDefaultModelIsUsedAndShown) {
  EXPECT_EQ(status_of(post(kChat, R"({"messages":[{"role":"user","content":"hi"}]})")), 200);
  EXPECT_EQ(body().at("model"), "smol");
  EXPECT_EQ(engine.requests.back().model, "smol");
}

TEST_F(ServerTest, AChatStreamInOrder) {
  EXPECT_EQ(status_of(post(kChat, chat(R"(,"stream":true,"stream_options":{"include_usage":true})"))), 200);
  ASSERT_EQ(writer->events.size(), 6U);
  EXPECT_EQ(json_of(writer->events[0]).at("choices").at(0).at("delta").at("role"), "assistant");
  EXPECT_EQ(content(json_of(writer->events[1])), "Hi");
  EXPECT_EQ(content(json_of(writer->events[2])), " you");
  const auto finish = json_of(writer->events[3]);
  EXPECT_EQ(finish.at("choices").at(0).at("finish_reason"), "stop");
  EXPECT_EQ(finish.at("x_shoal").at("model"), "smol");
  EXPECT_TRUE(json_of(writer->events[4]).at("choices").get_array().empty());
  EXPECT_EQ(json_of(writer->events[4]).at("usage").at("completion_tokens"), 2);
  EXPECT_EQ(writer->events[5], "[DONE]");
  EXPECT_FALSE(writer->closes);
}

TEST_F(ServerTest, WithoutIncludeUsageNoChunkHasUsage) {
  EXPECT_EQ(status_of(post(kChat, chat(R"(,"stream":true)"))), 200);
  ASSERT_EQ(writer->events.size(), 5U);
  for (const auto& event : writer->events) EXPECT_EQ(event.find("\"usage\""), std::string::npos) << event;
}

TEST_F(ServerTest, HeldBackTextComesWithTheEnd) {
  engine.answers = {{{says("Hi"), says(""), ends(FinishReason::kLength, 7, 2, " th")}, {}, {}}};
  EXPECT_EQ(status_of(post(kChat, chat(R"(,"stream":true)"))), 200);
  ASSERT_EQ(writer->events.size(), 5U) << "a token that releases no text is no chunk";
  EXPECT_EQ(content(json_of(writer->events[2])), " th");
  EXPECT_EQ(status_of(post(kChat, chat())), 200);
  EXPECT_EQ(body().at("choices").at(0).at("message").at("content"), "Hi th");
  EXPECT_EQ(body().at("choices").at(0).at("finish_reason"), "length");
}

TEST_F(ServerTest, AnErrorBeforeTheFirstTokenOfAStreamIsAStatus) {
  engine.answers = {{{}, {}, Error(ErrorCode::kModelNotFound, "no smal").with_param("model").with_suggestion("smol")}};
  EXPECT_EQ(status_of(post(kChat, chat(R"(,"stream":true)"))), 404);
  EXPECT_EQ(code(), "model_not_found");
  EXPECT_EQ(error_field("did_you_mean"), "smol");
  EXPECT_TRUE(writer->events.empty());
}

TEST_F(ServerTest, ALateErrorIsAFrameAndACloseWithoutDone) {
  engine.answers = {{{says("Hi"), Error(ErrorCode::kWorkerCrashed, "the worker died")}, {}, {}}};
  EXPECT_EQ(status_of(post(kChat, chat(R"(,"stream":true)"))), 200);
  ASSERT_EQ(writer->events.size(), 3U);
  const auto frame = json_of(writer->events.back());
  EXPECT_EQ(frame.at("error").at("code"), "worker_crashed");
  EXPECT_TRUE(frame.at("error").as_object().contains("param"));
  EXPECT_TRUE(writer->closes);
  EXPECT_EQ(status_of(get("/metrics")), 200);
  EXPECT_NE(writer->body.find(R"(shoal_streams_broken_total{code="worker_crashed"} 1)"), std::string::npos);
}

TEST_F(ServerTest, ALateErrorOfAWholeAnswerIsAStatus) {
  engine.answers = {{{says("Hi"), Error(ErrorCode::kWorkerCrashed, "the worker died")}, {}, {}}};
  EXPECT_EQ(status_of(post(kChat, chat())), 503);
  EXPECT_EQ(code(), "worker_crashed");
}

TEST_F(ServerTest, PingsAreCommentsOnOneLine) {
  pipeline_options.hold_ms = 1;
  pipeline_options.ping_interval_ms = 1;
  auto loading = std::make_shared<fakes::Gate>(io.get_executor());
  engine.answers = {{{says("Hi"), ends(FinishReason::kStop, 7, 1)}, loading, {}}};
  engine.model_list.clear();
  writer->on_comment = [&] { loading->open(); };
  run(post(kChat, R"({"model":"a\nb","messages":[{"role":"user","content":"hi"}],"stream":true})"));
  ASSERT_GE(writer->comments.size(), 1U);
  EXPECT_EQ(writer->comments[0], "loading a b");
  EXPECT_EQ(writer->events.back(), "[DONE]");
}

TEST_F(ServerTest, AClientThatGoesCancelsAndGetsNothingMore) {
  engine.answers = {{{says("Hi")}, {}, {}}};  // goes on for ever
  writer->on_event = [&, seen = 0]() mutable {
    if (++seen == 2) boost::asio::post(io, [&] { writer->lose_client(); });
  };
  run(post(kChat, chat(R"(,"stream":true)")));
  EXPECT_EQ(engine.cancelled, 1);
  EXPECT_EQ(writer->events.size(), 2U);
  EXPECT_TRUE(writer->closes);
}

TEST_F(ServerTest, AClientThatWasGoneBeforeTheStartIsNotServed) {
  engine.answers = {{{says("Hi")}, {}, {}}};
  writer->lose_client();
  run(post(kChat, chat()));
  EXPECT_EQ(engine.running, 0);
}

TEST_F(ServerTest, NStreamsCarryTheirIndexAndOneReceipt) {
  EXPECT_EQ(status_of(post(kChat, chat(R"(,"stream":true,"n":2)"))), 200);
  std::string texts[2];
  int receipts = 0;
  int finishes = 0;
  for (const auto& event : writer->events) {
    if (event == "[DONE]") continue;
    const auto chunk = json_of(event);
    const auto& choice = chunk.at("choices").at(0);
    const auto index = static_cast<std::size_t>(choice.at("index").as_int64());
    if (content(chunk) != "-") texts[index] += content(chunk);
    finishes += choice.at("finish_reason").is_string() ? 1 : 0;
    receipts += chunk.as_object().contains("x_shoal") ? 1 : 0;
  }
  EXPECT_EQ(texts[0], "Hi you");
  EXPECT_EQ(texts[1], "Hi you");
  EXPECT_EQ(finishes, 2);
  EXPECT_EQ(receipts, 1);
}

TEST_F(ServerTest, LogprobsWholeAndStreamed) {
  EXPECT_EQ(status_of(post(kChat, chat(R"(,"logprobs":true,"top_logprobs":2)"))), 200);
  EXPECT_EQ(body().at("choices").at(0).at("logprobs").at("content").get_array().size(), 2U);
  EXPECT_EQ(engine.requests.back().top_logprobs, 2);
  EXPECT_EQ(status_of(post(kChat, chat(R"(,"logprobs":true,"stream":true)"))), 200);
  EXPECT_EQ(json_of(writer->events[1]).at("choices").at(0).at("logprobs").at("content").at(0).at("token"), "Hi");
  EXPECT_EQ(status_of(post(kChat, chat())), 200);
  EXPECT_TRUE(body().at("choices").at(0).at("logprobs").is_null());
}

TEST_F(ServerTest, CompletionsOfSeveralPromptsWithEcho) {
  EXPECT_EQ(status_of(post(kText, R"({"model":"smol","prompt":["A","B"],"n":2,"echo":true})")), 200);
  const auto answer = body();
  ASSERT_EQ(answer.at("choices").get_array().size(), 4U);
  EXPECT_EQ(answer.at("choices").at(1).at("text"), "AHi you");
  EXPECT_EQ(answer.at("choices").at(2).at("text"), "BHi you");
  EXPECT_EQ(answer.at("object"), "text_completion");
  EXPECT_EQ(answer.at("usage").at("prompt_tokens"), 14);
}

TEST_F(ServerTest, CompletionStreamsEchoFirst) {
  EXPECT_EQ(status_of(post(kText, R"({"model":"smol","prompt":"A","echo":true,"stream":true})")), 200);
  EXPECT_EQ(json_of(writer->events[0]).at("choices").at(0).at("text"), "A");
  EXPECT_EQ(json_of(writer->events[1]).at("choices").at(0).at("text"), "Hi");
  EXPECT_EQ(writer->events.back(), "[DONE]");
}

TEST_F(ServerTest, TokenIdsReachTheEngineAsTheyAre) {
  EXPECT_EQ(status_of(post(kText, R"({"model":"smol","prompt":[5,6]})")), 200);
  EXPECT_EQ(std::get<std::vector<std::int32_t>>(engine.requests.back().prompt.input),
            (std::vector<std::int32_t>{5, 6}));
}

TEST_F(ServerTest, BadBodiesNeverReachTheEngine) {
  EXPECT_EQ(status_of(post(kChat, "{")), 400);
  EXPECT_EQ(code(), "invalid_json");
  EXPECT_EQ(status_of(post(kChat, chat(R"(,"tools":[{"type":"function","function":{"name":"f"}}])"))), 422);
  EXPECT_EQ(code(), "unsupported_parameter");
  EXPECT_EQ(error_field("param"), "tools");
  EXPECT_EQ(writer->headers.at("x-should-retry"), "false");
  EXPECT_EQ(status_of(post(kText, R"({"prompt":"a","suffix":"b"})")), 422);
  EXPECT_EQ(error_field("param"), "suffix");
  EXPECT_EQ(status_of(post(kText, "{}")), 400);
  EXPECT_TRUE(engine.requests.empty());
}

}  // namespace
}  // namespace shoal::server
