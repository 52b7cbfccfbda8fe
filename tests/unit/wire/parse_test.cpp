#include "shoal/wire/openai/parse.h"

#include <string>

#include <gtest/gtest.h>

#include "refused.h"

namespace shoal::wire::openai {
namespace {

// A chat request with more members: chat(R"("n":2)").
std::string chat(std::string_view more) {
  std::string body = R"({"model":"m","messages":[{"role":"user","content":"hi"}])";
  if (!more.empty()) body.append(",").append(more);
  return body + "}";
}
std::string text(std::string_view more) {
  return std::string(R"({"model":"m","prompt":"p",)").append(more).append("}");
}

TEST(ParseChat, DefaultsAreThoseOfOpenAi) {
  auto request = parse_chat_request(chat(""));
  ASSERT_TRUE(request.ok()) << request.error().message();
  EXPECT_EQ(request->model, "m");
  ASSERT_EQ(request->messages.size(), 1U);
  EXPECT_EQ(request->messages[0].role, types::Role::kUser);
  EXPECT_EQ(request->messages[0].content, "hi");
  const types::GenerationParams& p = request->params;
  EXPECT_EQ(p.sampling.temperature, 1.0F);
  EXPECT_EQ(p.sampling.top_p, 1.0F);
  EXPECT_EQ(p.n, 1);
  EXPECT_FALSE(p.max_tokens || p.sampling.seed || p.stream || p.logprobs || p.ignore_eos || p.include_usage);
}

TEST(ParseChat, ReadsEveryParameter) {
  auto request = parse_chat_request(chat(
      R"("temperature":0.5,"top_p":0.25,"top_k":7,"min_p":0.125,"presence_penalty":-1,"frequency_penalty":1.5,
         "repetition_penalty":1.25,"seed":-3,"logit_bias":{"5":-100,"6":1.5},"max_completion_tokens":9,"stop":["a","b"],
         "n":3,"ignore_eos":true,"logprobs":true,"top_logprobs":4,"stream":true,"stream_options":{"include_usage":true},
         "user":"u","x_shoal":{})"));
  ASSERT_TRUE(request.ok()) << request.error().message();
  const types::GenerationParams& p = request->params;
  EXPECT_EQ(p.sampling.temperature, 0.5F);
  EXPECT_EQ(p.sampling.top_p, 0.25F);
  EXPECT_EQ(p.sampling.top_k, 7);
  EXPECT_EQ(p.sampling.min_p, 0.125F);
  EXPECT_EQ(p.sampling.presence_penalty, -1.0F);
  EXPECT_EQ(p.sampling.frequency_penalty, 1.5F);
  EXPECT_EQ(p.sampling.repetition_penalty, 1.25F);
  EXPECT_EQ(p.sampling.seed, static_cast<std::uint64_t>(-3));
  ASSERT_EQ(p.sampling.logit_bias.size(), 2U);
  EXPECT_EQ(p.sampling.logit_bias[0], (std::pair<std::int32_t, float>(5, -100.0F)));
  EXPECT_EQ(p.sampling.logit_bias[1], (std::pair<std::int32_t, float>(6, 1.5F)));
  EXPECT_EQ(p.max_tokens, 9);
  EXPECT_EQ(p.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(p.n, 3);
  EXPECT_TRUE(p.ignore_eos && p.logprobs && p.stream && p.include_usage);
  EXPECT_EQ(p.top_logprobs, 4);
  EXPECT_EQ(request->user, "u");
}

TEST(ParseChat, NullMeansAbsent) {
  auto request = parse_chat_request(chat(
      R"("temperature":null,"stop":null,"tools":null,"audio":null,"stream_options":null,"seed":null,"logit_bias":null)"));
  ASSERT_TRUE(request.ok()) << request.error().message();
}

TEST(ParseChat, JoinsTextPartsAndTakesAllRoles) {
  auto request = parse_chat_request(R"({"messages":[
      {"role":"developer","content":"be brief"},
      {"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
      {"role":"assistant","content":"c","refusal":null,"tool_calls":null}]})");
  ASSERT_TRUE(request.ok()) << request.error().message();
  EXPECT_EQ(request->messages[0].role, types::Role::kSystem);
  EXPECT_EQ(request->messages[1].content, "ab");
  EXPECT_EQ(request->messages[2].role, types::Role::kAssistant);
  EXPECT_EQ(request->model, "");
}

TEST(ParseChat, ValuesThatAskForNothingAreAccepted) {
  for (const char* more :
       {R"("tools":[])", R"("tool_choice":"none")", R"("response_format":{"type":"text"})", R"("store":false)",
        R"("modalities":["text"])", R"("service_tier":"auto")", R"("parallel_tool_calls":true)",
        R"("x_shoal":{"signals":false,"p_true":false,"hidden_state":false},"ignore_eos":false)",
        R"("metadata":{"a":"b"})", R"("safety_identifier":"x")", R"("prompt_cache_key":"x")"}) {
    const auto parsed = parse_chat_request(chat(more));
    ASSERT_TRUE(parsed.ok()) << more;
    EXPECT_TRUE(parsed->needs.empty()) << more;
  }
}

TEST(ParseChat, AnUnknownParameterIsRefusedWithTheNearestName) {
  auto typo = parse_chat_request(chat(R"("temprature":1)"));
  EXPECT_REFUSED(typo, "unsupported_parameter", "temprature", "did you mean \"temperature\"?");
  EXPECT_EQ(typo.error().suggestion(), "temperature");
  auto other_name = parse_chat_request(chat(R"("repeat_penalty":1.1)"));
  EXPECT_REFUSED(other_name, "unsupported_parameter", "repeat_penalty", "repetition_penalty");
  EXPECT_REFUSED(parse_chat_request(chat(R"("x_shoal":{"route":"x"})")), "unsupported_parameter", "x_shoal.route",
                 "x_shoal.route");
  EXPECT_REFUSED(parse_chat_request(chat(R"("best_of":1)")), "unsupported_parameter", "best_of", "best_of");
}

TEST(ParseChat, ShoalsOwnSwitches) {
  auto plain = parse_chat_request(chat(R"("x_shoal":{})"));
  ASSERT_TRUE(plain.ok());
  EXPECT_FALSE(plain->params.signals);
  auto asked = parse_chat_request(chat(R"("x_shoal":{"signals":true})"));
  ASSERT_TRUE(asked.ok()) << asked.error().message();
  EXPECT_TRUE(asked->params.signals);
  auto typo = parse_chat_request(chat(R"("x_shoal":{"signal":true})"));
  EXPECT_REFUSED(typo, "unsupported_parameter", "x_shoal.signal", "did you mean");
  EXPECT_REFUSED(parse_chat_request(chat(R"("x_shoal":{"signals":1})")), "invalid_request", "x_shoal.signals",
                 "true or false");
  EXPECT_REFUSED(parse_embedding_request(R"({"input":"a","x_shoal":{"signals":true}})"), "unsupported_parameter",
                 "x_shoal.signals", "x_shoal.signals");
}

TEST(ParseChat, AHiddenStateComesAsNumbersOrBase64) {
  for (const char* value : {"true", "\"float\"", "\"base64\""}) {
    auto parsed = parse_chat_request(chat(std::string(R"("x_shoal":{"p_true":true,"hidden_state":)") + value + "}"));
    ASSERT_TRUE(parsed.ok()) << parsed.error().message();
    EXPECT_TRUE(parsed->params.hidden_state && parsed->params.p_true);
    EXPECT_EQ(parsed->params.hidden_base64, std::string_view(value) == "\"base64\"");
  }
  EXPECT_FALSE(parse_chat_request(chat(R"("x_shoal":{"hidden_state":false})"))->params.hidden_state);
  EXPECT_REFUSED(parse_chat_request(chat(R"("x_shoal":{"hidden_state":"f16"})")), "invalid_request",
                 "x_shoal.hidden_state", "\"base64\"");
}

TEST(ParseScore, PromptsOfEveryKind) {
  auto text = parse_score_request(R"({"prompt":"Is it?","labels":[" yes"," no"],"normalize":"mean"})");
  ASSERT_TRUE(text.ok()) << text.error().message();
  EXPECT_EQ(std::get<std::string>(text->prompt), "Is it?");
  EXPECT_EQ(text->labels, (std::vector<std::string>{" yes", " no"}));
  EXPECT_TRUE(text->mean && !text->content_free);
  auto ids = parse_score_request(R"({"prompt":[1,2],"labels":["a"],"calibrate":"contextual","content_free":"N/A"})");
  ASSERT_TRUE(ids.ok()) << ids.error().message();
  EXPECT_EQ(std::get<2>(ids->prompt), (std::vector<std::int32_t>{1, 2}));
  EXPECT_EQ(std::get<std::string>(*ids->content_free), "N/A");
  auto messages =
      parse_score_request(R"({"messages":[{"role":"user","content":"hi"}],"labels":["a"],"calibrate":"contextual",)"
                          R"("content_free":[{"role":"user","content":"N/A"}]})");
  ASSERT_TRUE(messages.ok()) << messages.error().message();
  EXPECT_EQ(std::get<0>(messages->prompt)[0].content, "hi");
  EXPECT_EQ(std::get<0>(*messages->content_free)[0].content, "N/A");
}

TEST(ParseScore, WhatIsWrongIsNamed) {
  struct Case {
    const char* body;
    const char* code;
    const char* param;
    const char* message;
  };
  for (
      const Case& c : {
          Case{R"({"labels":["a"]})", "invalid_request", "prompt", "send prompt or messages"},
          Case{R"({"prompt":"x"})", "invalid_request", "labels", "labels"},
          Case{R"({"prompt":"x","labels":[]})", "invalid_request", "labels", "1 to 256 texts, not 0"},
          Case{R"({"prompt":"x","labels":["a",""]})", "invalid_request", "labels[1]", "must not be empty"},
          Case{R"({"prompt":"x","labels":["a","b","a"]})", "invalid_request", "labels[2]", "the same as labels[0]"},
          Case{R"({"prompt":"x","labels":["a",1]})", "invalid_request", "labels[1]", "a string"},
          Case{R"({"prompt":"x","labels":"a"})", "invalid_request", "labels", "array"},
          Case{R"({"prompt":"x","messages":[{"role":"user","content":"y"}],"labels":["a"]})", "invalid_request",
               "prompt", "exclude"},
          Case{R"({"prompt":[],"labels":["a"]})", "invalid_request", "prompt", "token ids"},
          Case{R"({"prompt":[{"role":"user","content":"y"}],"labels":["a"]})", "invalid_request", "prompt", "messages"},
          Case{R"({"prompt":"x","labels":["a"],"normalize":"max"})", "invalid_request", "normalize", "sum or mean"},
          Case{R"({"prompt":"x","labels":["a"],"calibrate":"contextual"})", "invalid_request", "content_free",
               "missing"},
          Case{R"({"prompt":"x","labels":["a"],"content_free":"N/A"})", "invalid_request", "content_free", "calibrate"},
          Case{
              R"({"messages":[{"role":"user","content":"y"}],"labels":["a"],"calibrate":"contextual","content_free":"x"})",
              "invalid_request", "content_free", "messages with messages"},
          Case{R"({"prompt":"x","labels":["a"],"text_1":"y"})", "unsupported_parameter", "text_1", "prompt"},
      }) {
    EXPECT_REFUSED(parse_score_request(c.body), c.code, c.param, c.message);
  }
}

TEST(ParseClassify, InputsLabelsAndCalibration) {
  auto one = parse_classify_request(R"({"input":"good","labels":["a","b"]})");
  ASSERT_TRUE(one.ok()) << one.error().message();
  EXPECT_EQ(one->inputs, std::vector<std::string>{"good"});
  EXPECT_FALSE(one->content_free);
  auto many = parse_classify_request(
      R"({"input":["x","y"],"labels":["a","b"],"instruction":"Pick.","calibrate":"contextual"})");
  ASSERT_TRUE(many.ok());
  EXPECT_EQ(many->inputs.size(), 2U);
  EXPECT_EQ(many->content_free, "N/A");
  EXPECT_EQ(many->instruction, "Pick.");
  EXPECT_REFUSED(parse_classify_request(R"({"input":"x","labels":["a"]})"), "invalid_request", "labels", "2 to 256");
  EXPECT_REFUSED(parse_classify_request(R"({"input":[],"labels":["a","b"]})"), "invalid_request", "input", "text");
  EXPECT_REFUSED(parse_classify_request(R"({"input":["x",1],"labels":["a","b"]})"), "invalid_request", "input[1]",
                 "a string");
  EXPECT_REFUSED(parse_classify_request(R"({"labels":["a","b"]})"), "invalid_request", "input", "input");
  auto batch = parse_classify_request(
      R"({"input":["0","1","2","3","4","5","6","7","8","9"],"labels":["a","b"],"calibrate":"batch"})");
  ASSERT_TRUE(batch.ok()) << batch.error().message();
  EXPECT_TRUE(batch->batch && !batch->content_free && !many->batch);
  EXPECT_REFUSED(parse_classify_request(R"({"input":["x","y"],"labels":["a","b"],"calibrate":"batch"})"),
                 "invalid_request", "input", "at least 10 texts with \"calibrate\": \"batch\", not 2");
  EXPECT_REFUSED(parse_classify_request(R"({"input":"x","labels":["a","b"],"calibrate":"bath"})"), "invalid_request",
                 "calibrate", "must be none or contextual or batch, not \"bath\"");
  auto slots = parse_classify_request(R"({"input":["x","y"],"task":"t","asked":[["time","people"],[]]})");
  ASSERT_TRUE(slots.ok()) << slots.error().message();
  EXPECT_EQ(slots->asked, (std::vector<std::vector<std::string>>{{"time", "people"}, {}}));
  EXPECT_REFUSED(parse_classify_request(R"({"input":["x","y"],"task":"t","asked":[[]]})"), "invalid_request", "asked",
                 "each of the 2 inputs");
  EXPECT_REFUSED(parse_classify_request(R"({"input":"x","task":"t","asked":[[1]]})"), "invalid_request", "asked[0]",
                 "names");
  EXPECT_REFUSED(parse_classify_request(R"({"input":"x","labels":["a","b"],"asked":[[]]})"), "invalid_request", "asked",
                 "task of slots");
}

TEST(ParseChat, RangesAreCheckedWithBothNumbers) {
  struct Case {
    const char* more;
    const char* param;
    const char* message;
  };
  for (const Case& c : {
           Case{R"("temperature":2.1)", "temperature", "from 0 to 2, not 2.1"},
           Case{R"("temperature":"1")", "temperature", "must be a number, not the string \"1\""},
           Case{R"("top_p":0)", "top_p", "above 0 and at most 1, not 0"},
           Case{R"("top_p":1.1)", "top_p", "not 1.1"},
           Case{R"("top_k":-1)", "top_k", "not -1"},
           Case{R"("min_p":2)", "min_p", "from 0 to 1, not 2"},
           Case{R"("max_tokens":0)", "max_tokens", "not 0"},
           Case{R"("max_tokens":1.5)", "max_tokens", "whole number, not 1.5"},
           Case{R"("max_tokens":1e2)", "max_tokens", "whole number, not 100"},
           Case{R"("max_tokens":99999999999)", "max_tokens", "not 99999999999"},
           Case{R"("n":0)", "n", "from 1 to 16, not 0"},
           Case{R"("n":17)", "n", "from 1 to 16, not 17"},
           Case{R"("stop":"")", "stop", "must not be empty"},
           Case{R"("stop":["a",1])", "stop[1]", "must be a string, not 1"},
           Case{R"("stop":{})", "stop", "a string or an array of strings"},
           Case{R"("presence_penalty":3)", "presence_penalty", "from -2 to 2, not 3"},
           Case{R"("frequency_penalty":-3)", "frequency_penalty", "from -2 to 2, not -3"},
           Case{R"("repetition_penalty":0)", "repetition_penalty", "above 0"},
           Case{R"("seed":"x")", "seed", "whole number"},
           Case{R"("seed":18446744073709551615)", "seed", "whole number"},
           Case{R"("logit_bias":{"x":1})", "logit_bias.x", "token id"},
           Case{R"("logit_bias":{"-1":1})", "logit_bias.-1", "token id"},
           Case{R"("logit_bias":{"1":101})", "logit_bias.1", "from -100 to 100, not 101"},
           Case{R"("logit_bias":{"1":true})", "logit_bias.1", "not true"},
           Case{R"("logprobs":true,"top_logprobs":21)", "top_logprobs", "from 0 to 20, not 21"},
           Case{R"("top_logprobs":2)", "top_logprobs", "needs \"logprobs\": true"},
           Case{R"("stream":"yes")", "stream", "true or false"},
           Case{R"("stream_options":{"include_usage":true})", "stream_options", "only for streams"},
           Case{R"("stream":true,"stream_options":{"include_usage":1})", "stream_options.include_usage",
                "true or false"},
           Case{R"("max_tokens":1,"max_completion_tokens":2)", "max_completion_tokens",
                "is 2, but max_tokens, its older name, is 1"},
           Case{R"("metadata":3)", "metadata", "must be an object"},
           Case{R"("model":3,"x":1)", "model", "must be a string"},
       }) {
    std::string body = chat(c.more);
    if (std::string_view(c.more).starts_with("\"model\"")) body.erase(1, std::string_view(R"("model":"m",)").size());
    EXPECT_REFUSED(parse_chat_request(body), "invalid_request", c.param, c.message);
  }
  std::string many = R"("stop":["a")";
  for (int i = 0; i < 16; ++i) many += R"(,"a")";
  EXPECT_REFUSED(parse_chat_request(chat(many + "]")), "invalid_request", "stop", "at most 16 texts, not 17");
}

TEST(ParseChat, TheBoundsThemselvesAreAllowed) {
  std::string stops = R"("stop":["a")";
  for (int i = 0; i < 15; ++i) stops += R"(,"a")";
  for (const std::string& more :
       {std::string(R"("temperature":0)"), std::string(R"("temperature":2)"), std::string(R"("top_p":1)"),
        std::string(R"("min_p":1)"), std::string(R"("presence_penalty":-2,"frequency_penalty":2)"),
        std::string(R"("repetition_penalty":2)"), std::string(R"("max_tokens":1,"n":16)"),
        std::string(R"("logprobs":true,"top_logprobs":20)"), std::string(R"("logit_bias":{"0":-100,"1":100})"),
        stops + "]"}) {
    const auto request = parse_chat_request(chat(more));
    EXPECT_TRUE(request.ok()) << more << ": " << request.error().message();
  }
}

TEST(ParseChat, MessagesNameTheirPlace) {
  const auto with = [](std::string_view messages) {
    return parse_chat_request(std::string(R"({"messages":)").append(messages).append("}"));
  };
  EXPECT_REFUSED(parse_chat_request("{}"), "invalid_request", "messages", "missing");
  EXPECT_REFUSED(with("[]"), "invalid_request", "messages", "at least one");
  EXPECT_REFUSED(with(R"("hi")"), "invalid_request", "messages", "must be an array");
  EXPECT_REFUSED(with("[3]"), "invalid_request", "messages[0]", "object");
  EXPECT_REFUSED(with(R"([{"role":"user","content":"x"},{"role":"nobody","content":"x"}])"), "invalid_request",
                 "messages[1].role", "nobody");
  EXPECT_REFUSED(with(R"([{"content":"x"}])"), "invalid_request", "messages[0].role", "missing");
  EXPECT_REFUSED(with(R"([{"role":7,"content":"x"}])"), "invalid_request", "messages[0].role", "not 7");
  EXPECT_REFUSED(with(R"([{"role":"user"}])"), "invalid_request", "messages[0].content", "missing");
  EXPECT_REFUSED(with(R"([{"role":"user","content":5}])"), "invalid_request", "messages[0].content", "not 5");
  EXPECT_REFUSED(with(R"([{"role":"user","content":[]}])"), "invalid_request", "messages[0].content", "empty");
  EXPECT_REFUSED(with(R"([{"role":"user","content":[{"type":"text"}]}])"), "invalid_request",
                 "messages[0].content[0].text", "missing");
  EXPECT_REFUSED(with(R"([{"role":"user","content":"x","contents":"y"}])"), "unsupported_parameter",
                 "messages[0].contents", "content");
}

TEST(ParseChat, AMessageRepeatsNoLongTextOfTheClient) {
  auto result = parse_chat_request(R"({"messages":[{"role":")" + std::string(5000, 'x') + R"(","content":"x"}]})");
  ASSERT_FALSE(result.ok());
  EXPECT_LT(result.error().message().size(), 300U);
  auto key = parse_chat_request(chat("\"" + std::string(5000, 'k') + "\":1"));
  ASSERT_FALSE(key.ok());
  EXPECT_LT(key.error().message().size() + key.error().param().size(), 300U);
}

TEST(ParseChat, BrokenBodies) {
  EXPECT_REFUSED(parse_chat_request(""), "invalid_json", "", "byte 0");
  EXPECT_REFUSED(parse_chat_request("[]"), "invalid_request", "", "must be a JSON object");
  EXPECT_REFUSED(parse_chat_request(R"({"model":"x","model":"y","messages":[]})"), "invalid_request", "model", "twice");
}

TEST(ParseCompletion, TakesTheFourShapesOfAPrompt) {
  const auto prompts = [](std::string_view prompt) {
    auto request = parse_completion_request(std::string(R"({"prompt":)").append(prompt).append("}"));
    EXPECT_TRUE(request.ok()) << request.error().message();
    return request.ok() ? request->prompts : std::vector<types::CompletionRequest::Prompt>();
  };
  EXPECT_EQ(prompts(R"("a")").at(0).text, "a");
  EXPECT_EQ(prompts(R"(["a","b"])").at(1).text, "b");
  EXPECT_EQ(prompts("[1,2]").at(0).tokens, (std::vector<std::int32_t>{1, 2}));
  EXPECT_EQ(prompts("[[1],[2,3]]").at(1).tokens, (std::vector<std::int32_t>{2, 3}));
}

TEST(ParseCompletion, RefusesOtherShapes) {
  const auto with = [](std::string_view prompt) {
    return parse_completion_request(std::string(R"({"prompt":)").append(prompt).append("}"));
  };
  EXPECT_REFUSED(parse_completion_request("{}"), "invalid_request", "prompt", "missing");
  EXPECT_REFUSED(with("[]"), "invalid_request", "prompt", "empty");
  EXPECT_REFUSED(with("[[]]"), "invalid_request", "prompt[0]", "empty");
  EXPECT_REFUSED(with(R"(["a",1])"), "invalid_request", "prompt[1]", "string");
  EXPECT_REFUSED(with("[1,-1]"), "invalid_request", "prompt[1]", "token id");
  EXPECT_REFUSED(with("[1,3000000000]"), "invalid_request", "prompt[1]", "token id");
  EXPECT_REFUSED(with("{}"), "invalid_request", "prompt", "not an object");
  std::string many = R"(["a")";
  for (int i = 0; i < 128; ++i) many += R"(,"a")";
  EXPECT_REFUSED(with(many + "]"), "invalid_request", "prompt", "at most 128 items, not 129");
  many.resize(many.size() - std::string_view(R"(,"a")").size());
  EXPECT_TRUE(with(many + "]").ok());
  EXPECT_REFUSED(parse_completion_request(R"({"n":16,"prompt":["a","a","a","a","a","a","a","a","a"]})"),
                 "invalid_request", "n", "144");
}

TEST(ParseCompletion, ItsOwnParameters) {
  auto request = parse_completion_request(text(R"("logprobs":3,"echo":false,"best_of":1,"suffix":null)"));
  ASSERT_TRUE(request.ok()) << request.error().message();
  EXPECT_TRUE(request->params.logprobs);
  EXPECT_EQ(request->params.top_logprobs, 3);
  EXPECT_TRUE(parse_completion_request(text(R"("echo":true)"))->echo);
  EXPECT_REFUSED(parse_completion_request(text(R"("best_of":0)")), "invalid_request", "best_of", "from 1 to 20");
  EXPECT_REFUSED(parse_completion_request(text(R"("logprobs":true)")), "invalid_request", "logprobs", "whole number");
  EXPECT_REFUSED(parse_completion_request(text(R"("echo":true,"logprobs":1)")), "unsupported_parameter", "echo",
                 "logprobs");
  EXPECT_REFUSED(parse_completion_request(R"({"prompt":[1,2],"echo":true})"), "unsupported_parameter", "echo",
                 "token ids");
}

TEST(ParseEmbedding, ReadsAndRefuses) {
  auto request = parse_embedding_request(
      R"({"model":"e","input":["a","b"],"encoding_format":"base64","dimensions":64,"user":"u"})");
  ASSERT_TRUE(request.ok()) << request.error().message();
  EXPECT_EQ(request->inputs.size(), 2U);
  EXPECT_TRUE(request->base64);
  EXPECT_EQ(request->dimensions, 64);
  EXPECT_REFUSED(parse_embedding_request(R"({"input":"a","encoding_format":"hex"})"), "invalid_request",
                 "encoding_format", "hex");
  EXPECT_REFUSED(parse_embedding_request(R"({"input":"a","dimensions":0})"), "invalid_request", "dimensions", "not 0");
  EXPECT_REFUSED(parse_embedding_request(R"({"input":""})"), "invalid_request", "input", "empty");
  EXPECT_REFUSED(parse_embedding_request(R"({"input":["a",""]})"), "invalid_request", "input[1]", "empty");
  EXPECT_REFUSED(parse_embedding_request(R"({"model":"e"})"), "invalid_request", "input", "missing");
  std::string many = R"({"input":["a")";
  for (int i = 1; i < 2048; ++i) many += R"(,"a")";
  EXPECT_TRUE(parse_embedding_request(many + "]}").ok());
  EXPECT_REFUSED(parse_embedding_request(many + R"(,"a"]})"), "invalid_request", "input",
                 "at most 2048 items, not 2049");
  EXPECT_REFUSED(parse_embedding_request(R"({"input":"a","inputs":"b"})"), "unsupported_parameter", "inputs", "input");
}

TEST(ParseTokenize, APromptOrMessages) {
  auto text = parse_tokenize_request(R"({"model":"m","prompt":"a","add_special_tokens":false})");
  ASSERT_TRUE(text.ok()) << text.error().message();
  EXPECT_EQ(std::get<std::string>(text->input), "a");
  EXPECT_FALSE(text->add_special_tokens);
  auto chat = parse_tokenize_request(R"({"messages":[{"role":"user","content":"hi"}],"add_generation_prompt":true})");
  ASSERT_TRUE(chat.ok()) << chat.error().message();
  EXPECT_EQ(std::get<std::vector<types::Message>>(chat->input).at(0).content, "hi");
  EXPECT_TRUE(chat->add_special_tokens);
  EXPECT_TRUE(parse_tokenize_request(R"({"prompt":""})").ok()) << "no text has no tokens";
  EXPECT_REFUSED(parse_tokenize_request("{}"), "invalid_request", "prompt", "prompt or messages");
  EXPECT_REFUSED(parse_tokenize_request(R"({"prompt":"a","messages":[{"role":"user","content":"hi"}]})"),
                 "invalid_request", "prompt", "exclude");
  EXPECT_REFUSED(parse_tokenize_request(R"({"prompt":["a"]})"), "invalid_request", "prompt", "string");
  EXPECT_REFUSED(parse_tokenize_request(R"({"messages":[]})"), "invalid_request", "messages", "at least one");
  EXPECT_REFUSED(parse_tokenize_request(R"({"prompt":"a","return_token_strs":true})"), "unsupported_parameter",
                 "return_token_strs", "not");
  EXPECT_REFUSED(parse_tokenize_request(R"({"content":"a"})"), "unsupported_parameter", "content", "prompt");
}

TEST(ParseDetokenize, TokenIds) {
  auto ids = parse_detokenize_request(R"({"tokens":[1,2],"skip_special_tokens":true})");
  ASSERT_TRUE(ids.ok()) << ids.error().message();
  EXPECT_EQ(ids->tokens, (std::vector<std::int32_t>{1, 2}));
  EXPECT_TRUE(ids->skip_special_tokens);
  EXPECT_TRUE(parse_detokenize_request(R"({"tokens":[]})").ok());
  EXPECT_REFUSED(parse_detokenize_request("{}"), "invalid_request", "tokens", "missing");
  EXPECT_REFUSED(parse_detokenize_request(R"({"tokens":[1,-1]})"), "invalid_request", "tokens[1]", "from 0");
  EXPECT_REFUSED(parse_detokenize_request(R"({"tokens":[4294967296]})"), "invalid_request", "tokens[0]", "token id");
}

}  // namespace
}  // namespace shoal::wire::openai
