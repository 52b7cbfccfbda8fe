// Requests for the three dialects. That their shape is the vendors' is checked by tests/e2e/test_dialects.py with the
// vendors' own types; here, what is said and what is refused.
#include "shoal/wire/anthropic/request.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "shoal/wire/gemini/request.h"
#include "shoal/wire/openai/parse.h"
#include "shoal/wire/openai/request.h"

namespace shoal::wire {
namespace {

using Printer = Result<std::string> (*)(const types::ChatRequest&, const OutgoingOptions&);
constexpr Printer kOpenAi = openai::print_request;
constexpr Printer kAnthropic = anthropic::print_request;
constexpr Printer kGemini = gemini::print_request;

OutgoingOptions options() {
  OutgoingOptions to;
  to.model = "m";
  to.max_tokens = 100;
  return to;
}

// The body, or the slug and the parameter of the error.
std::string print(Printer printer, std::string_view body, const OutgoingOptions& to = options()) {
  const auto request = openai::parse_chat_request(body);
  if (!request.ok()) return "not parsed: " + request.error().message();
  const auto printed = printer(*request, to);
  if (printed.ok()) return *printed;
  return std::string(printed.error().info().slug) + " " + printed.error().param();
}
std::string with(Printer printer, std::string_view more, const OutgoingOptions& to = options()) {
  return print(printer, R"({"messages":[{"role":"user","content":"hi"}],)" + std::string(more) + "}", to);
}
std::string talk(Printer printer, std::string_view messages, const OutgoingOptions& to = options()) {
  return print(printer, R"({"messages":[)" + std::string(messages) + "]}", to);
}

constexpr std::string_view kTalk =
    R"({"role":"system","content":"be"},{"role":"developer","content":"brief"},{"role":"user","content":"?"},)"
    R"({"role":"assistant","content":"wait","tool_calls":[)"
    R"({"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\": 1}"}},)"
    R"({"id":"c2","type":"function","function":{"name":"g","arguments":""}}]},)"
    R"({"role":"tool","tool_call_id":"c1","content":"one"},{"role":"tool","tool_call_id":"c2","content":"two"},)"
    R"({"role":"user","content":"so?"})";
constexpr std::string_view kImages = R"({"role":"user","content":[{"type":"text","text":"see"},)"
                                     R"({"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0="}}]})";

TEST(PrintAnthropic, AConversation) {
  EXPECT_EQ(
      talk(kAnthropic, kTalk),
      R"({"model":"m","max_tokens":100,"system":[{"type":"text","text":"be"},{"type":"text","text":"brief"}],)"
      R"("messages":[{"role":"user","content":"?"},{"role":"assistant","content":[{"type":"text","text":"wait"},)"
      R"({"type":"tool_use","id":"c1","name":"f","input":{"a": 1}},{"type":"tool_use","id":"c2","name":"g","input":{}}]},)"
      R"({"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":"one"},)"
      R"({"type":"tool_result","tool_use_id":"c2","content":"two"}]},{"role":"user","content":"so?"}]})");
  EXPECT_EQ(talk(kAnthropic, kImages),
            R"({"model":"m","max_tokens":100,"messages":[{"role":"user","content":[{"type":"text","text":"see"},)"
            R"({"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0="}}]}]})");
  EXPECT_EQ(
      talk(kAnthropic, R"({"role":"user","content":"a"},{"role":"system","content":"b"})"),
      R"({"model":"m","max_tokens":100,"messages":[{"role":"user","content":"a"},{"role":"system","content":"b"}]})");
}

// The second turn of an agent, as OpenAI's SDK says it.
constexpr std::string_view kThoughts =
    R"({"role":"user","content":"?"},{"role":"assistant","content":null,"refusal":null,"reasoning_content":"hm",)"
    R"("thinking_blocks":[{"type":"thinking","thinking":"hm","signature":"s","index":0},)"
    R"({"type":"redacted_thinking","data":"d"}],"tool_calls":[{"id":"c1","type":"function",)"
    R"("function":{"name":"f","arguments":"{}"},"extra_content":{"google":{"thought_signature":"sig"}}},)"
    R"({"id":"c2","type":"function","function":{"name":"g","arguments":"{}"}}]},)"
    R"({"role":"tool","tool_call_id":"c1","content":"one"},{"role":"tool","tool_call_id":"c2","content":"two"})";

TEST(PrintAnthropic, SignedThoughtsComeFirst) {
  const std::string printed = talk(kAnthropic, kThoughts);
  EXPECT_NE(printed.find(R"({"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"s"},)"
                         R"({"type":"redacted_thinking","data":"d"},{"type":"tool_use","id":"c1")"),
            std::string::npos)
      << printed;
  EXPECT_NE(talk(kAnthropic, R"({"role":"assistant","content":"a","thinking_blocks":[{"type":"thinking",)"
                             R"("thinking":"","signature":"s"}]})")
                .find(R"("content":[{"type":"thinking","thinking":"","signature":"s"},{"type":"text","text":"a"}])"),
            std::string::npos);
}

TEST(PrintGemini, ACallHasTheSignatureThatItCameWith) {
  OutgoingOptions older = options();
  older.model = "gemini-2.5-flash";
  for (const OutgoingOptions& to : {options(), older}) {
    const std::string printed = talk(kGemini, kThoughts, to);
    EXPECT_NE(printed.find(R"({"role":"model","parts":[{"functionCall":{"id":"c1","name":"f","args":{}},)"
                           R"("thoughtSignature":"sig"},{"functionCall":{"id":"c2","name":"g","args":{}}}]})"),
              std::string::npos)
        << printed;
  }
}

TEST(PrintAnthropic, ParametersAndTools) {
  EXPECT_EQ(with(kAnthropic, R"("max_tokens":7,"stop":"x","stream":true,"user":"u","reasoning_effort":"low")"),
            R"({"model":"m","max_tokens":7,"messages":[{"role":"user","content":"hi"}],"stop_sequences":["x"],)"
            R"("output_config":{"effort":"low"},"metadata":{"user_id":"u"},"stream":true})");
  EXPECT_EQ(
      with(kAnthropic, R"("reasoning_effort":"none")"),
      R"({"model":"m","max_tokens":100,"messages":[{"role":"user","content":"hi"}],"thinking":{"type":"disabled"}})");
  const std::string tools =
      R"("tools":[{"type":"function","function":{"name":"f","description":"d",)"
      R"("parameters":{"type":"object"},"strict":true}},{"type":"function","function":{"name":"g"}}])";
  const std::string printed =
      R"({"model":"m","max_tokens":100,"messages":[{"role":"user","content":"hi"}],"tools":[{"name":"f","description":"d",)"
      R"("input_schema":{"type":"object"},"strict":true},{"name":"g","input_schema":{"type":"object","properties":{}}}])";
  const auto choice = [&](std::string_view more) { return with(kAnthropic, tools + std::string(more)); };
  EXPECT_EQ(choice(""), printed + "}");
  EXPECT_EQ(choice(R"(,"tool_choice":"auto","parallel_tool_calls":true)"), printed + "}");
  EXPECT_EQ(choice(R"(,"tool_choice":"none")"), printed + R"(,"tool_choice":{"type":"none"}})");
  EXPECT_EQ(choice(R"(,"tool_choice":"required","parallel_tool_calls":false)"),
            printed + R"(,"tool_choice":{"type":"any","disable_parallel_tool_use":true}})");
  EXPECT_EQ(choice(R"(,"parallel_tool_calls":false)"),
            printed + R"(,"tool_choice":{"type":"auto","disable_parallel_tool_use":true}})");
  EXPECT_EQ(choice(R"(,"tool_choice":{"type":"function","function":{"name":"g"}})"),
            printed + R"(,"tool_choice":{"type":"tool","name":"g"}})");
  EXPECT_EQ(with(kAnthropic,
                 R"("response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"}}})"),
            R"({"model":"m","max_tokens":100,"messages":[{"role":"user","content":"hi"}],)"
            R"("output_config":{"format":{"type":"json_schema","schema":{"type":"object"}}}})");
}

TEST(PrintAnthropic, SamplingOnlyForModelsThatTakeIt) {
  EXPECT_EQ(with(kAnthropic, R"("temperature":0.5)"), "unsupported_parameter temperature");
  EXPECT_EQ(with(kAnthropic, R"("top_p":0.5)"), "unsupported_parameter top_p");
  EXPECT_EQ(with(kAnthropic, R"("temperature":1,"top_p":1)"),
            R"({"model":"m","max_tokens":100,"messages":[{"role":"user","content":"hi"}]})");
  OutgoingOptions older = options();
  older.sampling = true;
  EXPECT_EQ(
      with(kAnthropic, R"("temperature":0.7,"top_p":0.5,"top_k":5)", older),
      R"({"model":"m","max_tokens":100,"messages":[{"role":"user","content":"hi"}],"temperature":0.7,"top_p":0.5,"top_k":5})");
  EXPECT_EQ(with(kAnthropic, R"("temperature":1.5)", older), "unsupported_parameter temperature");
  EXPECT_EQ(with(kAnthropic, R"("n":1)", older),
            R"({"model":"m","max_tokens":100,"messages":[{"role":"user","content":"hi"}]})");
  EXPECT_EQ(anthropic::version(older), "2023-06-01");
  EXPECT_EQ(anthropic::version(options()), "2026-10-21");
}

// A provider's default may be another.
TEST(PrintSampling, WhatAClientGivesIsSentWereItADefault) {
  constexpr std::string_view kDefaults = R"("temperature":1,"top_p":1,"top_k":0)";
  OutgoingOptions sampling = options();
  sampling.sampling = true;
  const auto says = [](const std::string& printed, std::string_view what) {
    return printed.find(what) != std::string::npos ? "" : printed;
  };
  EXPECT_EQ(says(with(kAnthropic, kDefaults, sampling), kDefaults), "");
  EXPECT_EQ(says(with(kOpenAi, kDefaults), kDefaults), "");
  EXPECT_EQ(says(with(kGemini, kDefaults), R"("temperature":1,"topP":1,"topK":0)"), "");
  EXPECT_EQ(says(with(kGemini, R"("temperature":null,"top_p":1)"), R"({"maxOutputTokens":100,"topP":1})"), "");
}

TEST(PrintAnthropic, NothingIsDropped) {
  for (const auto& [more, param] : std::initializer_list<std::pair<const char*, const char*>>{
           {R"("n":2)", "n"},
           {R"("seed":1)", "seed"},
           {R"("logprobs":true)", "logprobs"},
           {R"("logit_bias":{"1":1})", "logit_bias"},
           {R"("presence_penalty":1)", "presence_penalty"},
           {R"("frequency_penalty":1)", "frequency_penalty"},
           {R"("top_k":1)", "top_k"},
           {R"("min_p":0.1)", "min_p"},
           {R"("repetition_penalty":1.1)", "repetition_penalty"},
           {R"("ignore_eos":true)", "ignore_eos"},
           {R"("x_shoal":{"signals":true})", "x_shoal.signals"},
           {R"("functions":[{"name":"f"}])", "functions"},
           {R"("store":true)", "store"},
           {R"("verbosity":"low")", "verbosity"},
           {R"("reasoning_effort":"minimal")", "reasoning_effort"},
           {R"("response_format":{"type":"json_object"})", "response_format"},
           {R"("response_format":{"type":"json_schema","json_schema":{"name":"n","description":"d","schema":{}}})",
            "response_format.json_schema.description"}}) {
    EXPECT_EQ(with(kAnthropic, more), std::string("unsupported_parameter ") + param);
  }
  EXPECT_EQ(talk(kAnthropic, R"({"role":"user","content":"x","name":"bob"})"),
            "unsupported_parameter messages[0].name");
  const auto image = [](std::string_view url) {
    return R"({"role":"user","content":[{"type":"image_url","image_url":{)" + std::string(url) + "}}]}";
  };
  EXPECT_EQ(talk(kAnthropic, image(R"("url":"https://x/y.png","detail":"high")")),
            "unsupported_parameter messages[0].content[0].image_url.detail");
  EXPECT_EQ(talk(kAnthropic, image(R"("url":"data:image/tiff;base64,iVBORw0=")")),
            "unsupported_parameter messages[0].content[0].image_url.url");
  EXPECT_NE(talk(kAnthropic, image(R"("url":"https://x/y.png","detail":"auto")"))
                .find(R"({"type":"url","url":"https://x/y.png"})"),
            std::string::npos);
  EXPECT_EQ(talk(kAnthropic, R"({"role":"assistant","tool_calls":[{"id":"c","type":"function",)"
                             R"("function":{"name":"f","arguments":"{broken"}}]})"),
            "invalid_request messages[0].tool_calls[0].function.arguments");
  OutgoingOptions unlimited = options();
  unlimited.max_tokens.reset();
  EXPECT_EQ(with(kAnthropic, R"("n":1)", unlimited), "invalid_request max_tokens");
}

TEST(PrintGemini, AConversation) {
  EXPECT_EQ(
      talk(kGemini, kTalk),
      R"({"systemInstruction":{"parts":[{"text":"be"},{"text":"brief"}]},"contents":[{"role":"user","parts":[{"text":"?"}]},)"
      R"({"role":"model","parts":[{"text":"wait"},{"functionCall":{"id":"c1","name":"f","args":{"a": 1}},)"
      R"("thoughtSignature":"skip_thought_signature_validator"},{"functionCall":{"id":"c2","name":"g","args":{}}}]},)"
      R"({"role":"user","parts":[{"functionResponse":{"id":"c1","name":"f","response":{"output":"one"}}},)"
      R"({"functionResponse":{"id":"c2","name":"g","response":{"output":"two"}}}]},)"
      R"({"role":"user","parts":[{"text":"so?"}]}],"generationConfig":{"maxOutputTokens":100}})");
  OutgoingOptions older = options();
  older.model = "gemini-2.5-flash";
  EXPECT_EQ(talk(kGemini, kTalk, older).find("thoughtSignature"), std::string::npos);
  EXPECT_EQ(
      talk(kGemini, kImages),
      R"({"contents":[{"role":"user","parts":[{"text":"see"},{"inlineData":{"mimeType":"image/png","data":"iVBORw0="}}]}],)"
      R"("generationConfig":{"maxOutputTokens":100}})");
}

TEST(PrintGemini, AResultIsOfTheLastCallOfItsId) {
  const auto call = [](std::string_view name) {
    return R"({"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":")" + std::string(name) +
           R"(","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"x"})";
  };
  const std::string printed = talk(kGemini, call("f") + "," + call("g"));
  EXPECT_NE(printed.find(R"("functionResponse":{"id":"c","name":"f")"), std::string::npos) << printed;
  EXPECT_NE(printed.find(R"("functionResponse":{"id":"c","name":"g")"), std::string::npos) << printed;
}

TEST(PrintGemini, ParametersAndTools) {
  const std::string hi = R"({"contents":[{"role":"user","parts":[{"text":"hi"}]}],)";
  EXPECT_EQ(
      with(kGemini,
           R"("max_completion_tokens":7,"stop":["x","y"],"stream":true,"n":2,"seed":-5,"temperature":0.5,)"
           R"("top_p":0.9,"top_k":4,"presence_penalty":1,"frequency_penalty":-1,"reasoning_effort":"low","user":"u")"),
      hi +
          R"("generationConfig":{"maxOutputTokens":7,"candidateCount":2,"stopSequences":["x","y"],"temperature":0.5,)"
          R"("topP":0.9,"topK":4,"presencePenalty":1,"frequencyPenalty":-1,"seed":-5,"thinkingConfig":{"thinkingLevel":"LOW"}}})");
  EXPECT_EQ(with(kGemini, R"("response_format":{"type":"json_object"})"),
            hi + R"("generationConfig":{"maxOutputTokens":100,"responseMimeType":"application/json"}})");
  EXPECT_EQ(
      with(kGemini,
           R"("response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"}}})"),
      hi +
          R"("generationConfig":{"maxOutputTokens":100,"responseMimeType":"application/json","responseJsonSchema":{"type":"object"}}})");
  const std::string tools =
      R"("tools":[{"type":"function","function":{"name":"f","description":"d",)"
      R"("parameters":{"type":"object"}}},{"type":"function","function":{"name":"g","strict":false}}])";
  const std::string printed = hi + R"("tools":[{"functionDeclarations":[{"name":"f","description":"d",)"
                                   R"("parametersJsonSchema":{"type":"object"}},{"name":"g"}]}],)";
  const std::string end = R"("generationConfig":{"maxOutputTokens":100}})";
  const auto choice = [&](std::string_view more) { return with(kGemini, tools + std::string(more)); };
  EXPECT_EQ(choice(R"(,"parallel_tool_calls":true)"), printed + end);
  EXPECT_EQ(choice(R"(,"tool_choice":"none")"),
            printed + R"("toolConfig":{"functionCallingConfig":{"mode":"NONE"}},)" + end);
  EXPECT_EQ(choice(R"(,"tool_choice":"required")"),
            printed + R"("toolConfig":{"functionCallingConfig":{"mode":"ANY"}},)" + end);
  EXPECT_EQ(choice(R"(,"tool_choice":{"type":"function","function":{"name":"g"}})"),
            printed + R"("toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["g"]}},)" + end);
}

// An effort is a level or a budget, as the model has it.
TEST(PrintGemini, EffortsOfEachGeneration) {
  const auto thinking = [](std::string_view model, std::string_view effort) {
    OutgoingOptions to = options();
    to.model = model;
    const std::string printed = with(kGemini, R"("reasoning_effort":")" + std::string(effort) + '"', to);
    const std::size_t at = printed.find(R"("maxOutputTokens":100)");
    return at == std::string::npos ? printed : printed.substr(at + 21);
  };
  constexpr std::string_view kRefused = "unsupported_parameter reasoning_effort";
  struct Case {
    const char* effort;
    const char* flash25;
    const char* level;
  };
  for (const Case& c : {Case{"minimal", "1024", "MINIMAL"}, Case{"low", "1024", "LOW"},
                        Case{"medium", "8192", "MEDIUM"}, Case{"high", "24576", "HIGH"}}) {
    const std::string budget = R"(,"thinkingConfig":{"thinkingBudget":)" + std::string(c.flash25) + "}}}";
    const std::string level = R"(,"thinkingConfig":{"thinkingLevel":")" + std::string(c.level) + R"("}}})";
    for (const char* model : {"gemini-2.5-flash", "gemini-2.5-pro", "models/gemini-2.5-flash-lite"}) {
      EXPECT_EQ(thinking(model, c.effort), budget) << model;
    }
    for (const char* model :
         {"gemini-3-pro-preview", "gemini-3.5-flash", "models/gemini-3-flash", "gemini-flash-latest"}) {
      EXPECT_EQ(thinking(model, c.effort), level) << model;
    }
    EXPECT_EQ(thinking("gemini-2.0-flash", c.effort), kRefused) << "it does not think";
  }
  EXPECT_EQ(thinking("gemini-2.5-flash", "none"), R"(,"thinkingConfig":{"thinkingBudget":0}}})");
  EXPECT_EQ(thinking("gemini-2.5-pro", "none"), kRefused) << "it always thinks";
  EXPECT_EQ(thinking("gemini-3-pro-preview", "none"), kRefused);
  EXPECT_EQ(thinking("gemini-2.0-flash", "none"), "}}");
  EXPECT_EQ(thinking("gemini-2.5-flash", "xhigh"), kRefused);
  EXPECT_EQ(thinking("gemini-3.5-flash", "xhigh"), R"(,"thinkingConfig":{"thinkingLevel":"XHIGH"}}})");
}

TEST(PrintGemini, NothingIsDropped) {
  for (const auto& [more, param] : std::initializer_list<std::pair<const char*, const char*>>{
           {R"("logprobs":true)", "logprobs"},
           {R"("logit_bias":{"1":1})", "logit_bias"},
           {R"("min_p":0.1)", "min_p"},
           {R"("repetition_penalty":1.1)", "repetition_penalty"},
           {R"("seed":4294967296)", "seed"},
           {R"("stop":["a","b","c","d","e","f"])", "stop"},
           {R"("reasoning_effort":"max")", "reasoning_effort"},
           {R"("prediction":{})", "prediction"},
           {R"("x_shoal":{"p_true":true})", "x_shoal.p_true"},
           {R"("tools":[{"type":"function","function":{"name":"f","strict":true}}])", "tools[0].function.strict"},
           {R"("tools":[{"type":"function","function":{"name":"f"}}],"parallel_tool_calls":false)",
            "parallel_tool_calls"},
           {R"("response_format":{"type":"json_schema","json_schema":{"name":"n","description":"d"}})",
            "response_format.json_schema.description"}}) {
    EXPECT_EQ(with(kGemini, more), std::string("unsupported_parameter ") + param);
  }
  EXPECT_EQ(talk(kGemini, R"({"role":"user","content":"x"},{"role":"system","content":"y"})"),
            "unsupported_parameter messages[1].role");
  EXPECT_EQ(talk(kGemini, R"({"role":"user","content":"x","name":"bob"})"), "unsupported_parameter messages[0].name");
  EXPECT_EQ(talk(kGemini, R"({"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x"}}]})"),
            "unsupported_parameter messages[0].content[0].image_url.url");
  EXPECT_EQ(talk(kGemini, R"({"role":"tool","tool_call_id":"c","content":"x"})"),
            "invalid_request messages[0].tool_call_id");
  EXPECT_EQ(talk(kGemini, R"({"role":"assistant","tool_calls":[{"id":"c","type":"function",)"
                          R"("function":{"name":"f","arguments":"[]"}}]})"),
            "invalid_request messages[0].tool_calls[0].function.arguments");
}

TEST(PrintGemini, Targets) {
  EXPECT_EQ(gemini::target("gemini-3.5-flash", false), "/models/gemini-3.5-flash:generateContent");
  EXPECT_EQ(gemini::target("tunedModels/a b", true), "/tunedModels/a%20b:streamGenerateContent?alt=sse");
}

// What was printed reads back as the request that it was printed from.
TEST(PrintOpenAi, ReadsBackAsItWas) {
  const std::string bodies[] = {
      R"({"messages":[)" + std::string(kTalk) + "]}",
      R"({"messages":[)" + std::string(kImages) + "]}",
      R"({"messages":[)" + std::string(kThoughts) + "]}",
      R"({"messages":[{"role":"user","name":"bob","content":[{"type":"image_url","image_url":{"url":"https://x","detail":"low"}}]}]})",
      R"({"messages":[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{"}}]},)"
      R"({"role":"tool","tool_call_id":"c","content":""}]})",
      R"({"messages":[{"role":"user","content":""}],"max_tokens":5,"temperature":0.7,"top_p":0.9,"top_k":3,"min_p":0.1,)"
      R"("presence_penalty":-1,"frequency_penalty":0.5,"repetition_penalty":1.1,"seed":-3,"logit_bias":{"5":-100,"6":1.5},)"
      R"("stop":["a","\n"],"n":2,"logprobs":true,"top_logprobs":3,"stream":true,"stream_options":{"include_usage":true},"user":"u"})",
      R"({"messages":[{"role":"user","content":"x"}],"reasoning_effort":"high","parallel_tool_calls":false,)"
      R"("tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"},"strict":false}},)"
      R"({"type":"function","function":{"name":"g"}}],"tool_choice":{"type":"function","function":{"name":"g"}},)"
      R"("response_format":{"type":"json_schema","json_schema":{"name":"n","description":"d","schema":{"type":"object"},"strict":true}}})",
      R"({"messages":[{"role":"user","content":"x"}],"tool_choice":"none","response_format":{"type":"json_object"}})"};
  for (const std::string& body : bodies) {
    const std::string once = print(kOpenAi, body);
    const auto first = openai::parse_chat_request(body);
    const auto second = openai::parse_chat_request(once);
    ASSERT_TRUE(first.ok() && second.ok()) << once;
    EXPECT_EQ(print(kOpenAi, once), once);
    EXPECT_EQ(second->messages, first->messages) << once;
    EXPECT_TRUE(std::ranges::is_permutation(second->needs, first->needs)) << once;
    EXPECT_EQ(second->params.sampling.logit_bias, first->params.sampling.logit_bias);
    EXPECT_EQ(second->params.sampling.seed, first->params.sampling.seed);
    EXPECT_EQ(second->params.stop, first->params.stop);
    EXPECT_EQ(second->params.stream, first->params.stream);
    EXPECT_EQ(second->params.n, first->params.n);
    EXPECT_EQ(second->params.top_logprobs, first->params.top_logprobs);
    EXPECT_EQ(second->model, "m");
  }
}

TEST(PrintOpenAi, WhatIsSaidInWhole) {
  EXPECT_EQ(
      with(kOpenAi, R"("temperature":0.7,"n":2,"tool_choice":"required")"),
      R"({"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":100,"temperature":0.7,"n":2,"tool_choice":"required"})");
  OutgoingOptions newer = options();
  newer.limit_name = LimitName::kMaxCompletionTokens;
  EXPECT_EQ(
      with(kOpenAi, R"("stream":true)", newer),
      R"({"model":"m","messages":[{"role":"user","content":"hi"}],"max_completion_tokens":100,"stream":true,"stream_options":{"include_usage":true}})");
  for (const auto& [more, param] : std::initializer_list<std::pair<const char*, const char*>>{
           {R"("ignore_eos":true)", "ignore_eos"},
           {R"("x_shoal":{"signals":true})", "x_shoal.signals"},
           {R"("store":true)", "store"},
           {R"("function_call":{"name":"f"})", "function_call"}}) {
    EXPECT_EQ(with(kOpenAi, more), std::string("unsupported_parameter ") + param);
  }
}

}  // namespace
}  // namespace shoal::wire
