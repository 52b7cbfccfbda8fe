// What a request asks for that not every model can do: read into types, and listed.
#include <gtest/gtest.h>

#include "shoal/types/unsupported.h"
#include "shoal/wire/openai/parse.h"

#include "refused.h"

namespace shoal::wire::openai {
namespace {

using types::Need;
using enum types::NeedKind;
using Needs = std::vector<Need>;

std::string chat(std::string_view more) {
  return R"({"messages":[{"role":"user","content":"hi"}],)" + std::string(more) + "}";
}
std::string talk(std::string_view messages) {
  return R"({"messages":[)" + std::string(messages) + "]}";
}
types::ChatRequest parsed(const std::string& body) {
  auto request = parse_chat_request(body);
  if (!request.ok()) {
    ADD_FAILURE() << request.error().message() << " in " << body;
    return {};
  }
  return *std::move(request);
}

constexpr std::string_view kTwoTools =
    R"("tools":[{"type":"function","function":{"name":"f","description":"does","parameters":{"type":"object","properties":{ }},)"
    R"("strict":true}},{"type":"function","function":{"name":"g-2"}}])";

TEST(ParseNeeds, EachParameterByItsName) {
  struct Case {
    const char* more;
    Needs wanted;
  };
  for (const Case& c : {
           Case{R"("tools":[{"type":"function","function":{"name":"f"}}])", {{kTools, "tools"}}},
           Case{R"("tool_choice":"required")", {{kTools, "tool_choice"}}},
           Case{R"("functions":[{"name":"f"}])", {{kTools, "functions"}, {kOpenAi, "functions"}}},
           Case{R"("function_call":{"name":"f"})", {{kTools, "function_call"}, {kOpenAi, "function_call"}}},
           Case{R"("response_format":{"type":"json_object"})", {{kStructured, "response_format"}}},
           Case{R"("reasoning_effort":"high")", {{kReasoning, "reasoning_effort"}}},
           Case{R"("verbosity":"low")", {{kReasoning, "verbosity"}, {kOpenAi, "verbosity"}}},
           Case{R"("audio":{"voice":"alloy"})", {{kAudio, "audio"}, {kOpenAi, "audio"}}},
           Case{R"("modalities":["text","audio"])", {{kAudio, "modalities"}, {kOpenAi, "modalities"}}},
           Case{R"("prediction":{"type":"content"})", {{kPaid, "prediction"}, {kOpenAi, "prediction"}}},
           Case{R"("web_search_options":{})", {{kPaid, "web_search_options"}, {kOpenAi, "web_search_options"}}},
           Case{R"("service_tier":"flex")", {{kPaid, "service_tier"}, {kOpenAi, "service_tier"}}},
           Case{R"("store":true)", {{kStored, "store"}, {kOpenAi, "store"}}},
           Case{R"("prompt_cache_retention":"24h")",
                {{kStored, "prompt_cache_retention"}, {kOpenAi, "prompt_cache_retention"}}},
           Case{R"("prompt_cache_options":{"mode":"explicit"})", {{kOpenAi, "prompt_cache_options"}}},
           Case{R"("moderation":{"model":"m"})", {{kOpenAi, "moderation"}}},
           Case{R"("tools":[{"type":"custom","custom":{"name":"f"}},{"type":"custom","custom":{"name":"g"}}])",
                {{kOpenAi, "tools[0].custom"}, {kOpenAi, "tools[1].custom"}, {kTools, "tools"}}},
           Case{R"("tool_choice":{"type":"custom","custom":{"name":"f"}})",
                {{kOpenAi, "tool_choice.custom"}, {kTools, "tool_choice"}}},
           Case{R"("tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[]}})",
                {{kOpenAi, "tool_choice.allowed_tools"}, {kTools, "tool_choice"}}},
           Case{R"("stream":true,"stream_options":{"include_obfuscation":true})",
                {{kOpenAi, "stream_options.include_obfuscation"}}},
           Case{R"("stream":true,"stream_options":{"include_obfuscation":false})", {}},
           Case{R"("ignore_eos":true)", {{kSignals, "ignore_eos"}}},
           Case{R"("x_shoal":{"signals":true,"p_true":true,"hidden_state":"base64"})",
                {{kSignals, "x_shoal.signals"}, {kSignals, "x_shoal.p_true"}, {kSignals, "x_shoal.hidden_state"}}},
           Case{R"("top_k":5,"min_p":0.1,"repetition_penalty":1.1,"parallel_tool_calls":false)", {}},
           Case{R"("store":true,"tools":[{"type":"function","function":{"name":"f"}}])",
                {{kStored, "store"}, {kOpenAi, "store"}, {kTools, "tools"}}},
       }) {
    EXPECT_EQ(parsed(chat(c.more)).needs, c.wanted) << c.more;
  }
}

TEST(ParseNeeds, OfTextCompletions) {
  const auto needs = [](std::string_view body) {
    auto request = parse_completion_request(body);
    EXPECT_TRUE(request.ok()) << body;
    return request.ok() ? request->needs : Needs();
  };
  EXPECT_EQ(needs(R"({"prompt":"a"})"), Needs{});
  EXPECT_EQ(needs(R"({"prompt":[1,2]})"), (Needs{{kSignals, "prompt"}}));
  EXPECT_EQ(needs(R"({"prompt":[[1],[2]]})"), (Needs{{kSignals, "prompt"}}));
  EXPECT_EQ(needs(R"({"prompt":"a","best_of":2})"), (Needs{{kPaid, "best_of"}, {kOpenAi, "best_of"}}));
  EXPECT_EQ(needs(R"({"prompt":"a","best_of":1,"suffix":""})"), Needs{});
  EXPECT_EQ(needs(R"({"prompt":"a","suffix":"x"})"), (Needs{{kOpenAi, "suffix"}}));
}

TEST(ParseNeeds, TheRefusalNamesTheParameter) {
  for (int kind = 0; kind <= static_cast<int>(kOpenAi); ++kind) {
    const Error error = types::unsupported({static_cast<types::NeedKind>(kind), "messages[0].x"});
    EXPECT_EQ(error.code(), ErrorCode::kUnsupportedParameter);
    EXPECT_EQ(error.param(), "messages[0].x");
    EXPECT_EQ(error.message().find("messages[0].x is not supported: no model"), 0U) << error.message();
  }
}

TEST(ParseTools, AreFunctions) {
  const types::ChatRequest request = parsed(chat(kTwoTools));
  ASSERT_EQ(request.tools.size(), 2U);
  EXPECT_EQ(request.tools[0].name, "f");
  EXPECT_EQ(request.tools[0].description, "does");
  EXPECT_EQ(request.tools[0].parameters, R"({"type":"object","properties":{}})");
  EXPECT_EQ(request.tools[0].strict, true);
  EXPECT_EQ(request.tools[1].name, "g-2");
  EXPECT_EQ(request.tools[1].parameters, "");
  EXPECT_FALSE(request.tools[1].strict || request.tool_choice || request.parallel_tool_calls);
}

TEST(ParseTools, Choice) {
  using Kind = types::ToolChoice::Kind;
  const auto choice = [](std::string_view text) {
    return parsed(chat(std::string(kTwoTools) + R"(,"tool_choice":)" + std::string(text))).tool_choice;
  };
  EXPECT_EQ(choice(R"("auto")")->kind, Kind::kAuto);
  EXPECT_EQ(choice(R"("none")")->kind, Kind::kNone);
  EXPECT_EQ(choice(R"("required")")->kind, Kind::kRequired);
  const auto named = choice(R"({"type":"function","function":{"name":"g-2"}})");
  EXPECT_EQ(named->kind, Kind::kNamed);
  EXPECT_EQ(named->name, "g-2");
  EXPECT_EQ(parsed(chat(std::string(kTwoTools) + R"(,"parallel_tool_calls":false)")).parallel_tool_calls, false);
}

TEST(ParseTools, WhatIsWrongIsNamed) {
  struct Case {
    const char* more;
    const char* code;
    const char* param;
    const char* message;
  };
  for (
      const Case& c : {
          Case{R"("tools":"f")", "invalid_request", "tools", "an array"},
          Case{R"("tools":["f"])", "invalid_request", "tools[0]", "object"},
          Case{R"("tools":[{"function":{"name":"f"}}])", "invalid_request", "tools[0].type", "missing"},
          Case{R"("tools":[{"type":"function"}])", "invalid_request", "tools[0].function", "missing"},
          Case{R"("tools":[{"type":"mcp","mcp":{"name":"f"}}])", "unsupported_parameter", "tools[0].type",
               "\"mcp\"; supported are function, custom"},
          Case{R"("tools":[{"type":"custom"}])", "invalid_request", "tools[0].custom", "missing"},
          Case{R"("tools":[{"type":"custom","custom":{"name":"f"},"function":{"name":"f"}}])", "invalid_request",
               "tools[0].function", "does not belong"},
          Case{R"("tools":[{"type":"function","function":{}}])", "invalid_request", "tools[0].function.name",
               "missing"},
          Case{R"("tools":[{"type":"function","function":{"name":""}}])", "invalid_request", "tools[0].function.name",
               "letters"},
          Case{R"("tools":[{"type":"function","function":{"name":"a b"}}])", "invalid_request",
               "tools[0].function.name", "a b"},
          Case{R"("tools":[{"type":"function","function":{"name":"f","parameters":[]}}])", "invalid_request",
               "tools[0].function.parameters", "an object"},
          Case{R"("tools":[{"type":"function","function":{"name":"f","params":{}}}])", "unsupported_parameter",
               "tools[0].function.params", "not a parameter"},
          Case{R"("tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"f"}}])",
               "invalid_request", "tools[1].function.name", "second time"},
          Case{R"("tool_choice":"always")", "invalid_request", "tool_choice", "always"},
          Case{R"("tool_choice":7)", "invalid_request", "tool_choice", "not 7"},
          Case{R"("tool_choice":{"type":"file_search"})", "unsupported_parameter", "tool_choice.type", "allowed_tools"},
          Case{
              R"("tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"function","function":{"name":"g"}})",
              "invalid_request", "tool_choice.function.name", "not one of the tools"},
          Case{R"("parallel_tool_calls":1)", "invalid_request", "parallel_tool_calls", "true or false"},
          Case{R"("functions":{})", "invalid_request", "functions", "array"},
          Case{R"("functions":[1])", "invalid_request", "functions[0]", "an object"},
          Case{R"("modalities":["text",1])", "invalid_request", "modalities[1]", "a string"},
          Case{R"("reasoning_effort":"")", "invalid_request", "reasoning_effort", "name"},
          Case{R"("reasoning_effort":"very high")", "invalid_request", "reasoning_effort", "very high"},
          Case{R"("store":"yes")", "invalid_request", "store", "true or false"},
      }) {
    EXPECT_REFUSED(parse_chat_request(chat(c.more)), c.code, c.param, c.message);
  }
  std::string many = R"("tools":[)";
  for (int i = 0; i < 129; ++i) {
    many +=
        (i > 0 ? "," : "") + std::string(R"({"type":"function","function":{"name":"f)") + std::to_string(i) + "\"}}";
  }
  EXPECT_REFUSED(parse_chat_request(chat(many + "]")), "invalid_request", "tools", "at most 128");
}

TEST(ParseFormat, TextObjectOrSchema) {
  using Kind = types::ResponseFormat::Kind;
  EXPECT_EQ(parsed(chat(R"("response_format":{"type":"text"})")).format.kind, Kind::kText);
  EXPECT_EQ(parsed(chat(R"("response_format":{"type":"json_object"})")).format.kind, Kind::kJsonObject);
  const types::ResponseFormat format =
      parsed(chat(R"("response_format":{"type":"json_schema","json_schema":{"name":"n","description":"d",)"
                  R"("schema":{"type": "object"},"strict":false}})"))
          .format;
  EXPECT_EQ(format.kind, Kind::kJsonSchema);
  EXPECT_EQ(format.name, "n");
  EXPECT_EQ(format.description, "d");
  EXPECT_EQ(format.schema, R"({"type":"object"})");
  EXPECT_EQ(format.strict, false);
  const auto with = [](std::string_view value) {
    return parse_chat_request(chat(R"("response_format":)" + std::string(value)));
  };
  EXPECT_REFUSED(with(R"("json_object")"), "invalid_request", "response_format", "an object");
  EXPECT_REFUSED(with("{}"), "invalid_request", "response_format.type", "");
  EXPECT_REFUSED(with(R"({"type":"xml"})"), "invalid_request", "response_format.type", "xml");
  EXPECT_REFUSED(with(R"({"type":"json_schema"})"), "invalid_request", "response_format.json_schema", "missing");
  EXPECT_REFUSED(with(R"({"type":"json_object","json_schema":{"name":"n"}})"), "invalid_request",
                 "response_format.json_schema", "only for");
  EXPECT_REFUSED(with(R"({"type":"json_object","schema":{}})"), "unsupported_parameter", "response_format.schema",
                 "schema");
  EXPECT_REFUSED(with(R"({"type":"json_schema","json_schema":{"schema":{}}})"), "invalid_request",
                 "response_format.json_schema.name", "missing");
}

TEST(ParseMessages, CallsAndTheirResults) {
  const types::ChatRequest request = parsed(
      talk(R"({"role":"user","content":"?"},{"role":"assistant","content":null,"tool_calls":[)"
           R"({"id":"c1","type":"function","function":{"name":"f","arguments":"{}"},"index":0},)"
           R"({"id":"c2","type":"function","function":{"name":"g","arguments":""}}]},)"
           R"({"role":"tool","tool_call_id":"c1","content":[{"type":"text","text":"1"},{"type":"text","text":"2"}]},)"
           R"({"role":"tool","tool_call_id":"c2","content":""})"));
  ASSERT_EQ(request.messages.size(), 4U);
  EXPECT_EQ(request.messages[1].tool_calls, (std::vector<types::ToolCall>{{"c1", "f", "{}"}, {"c2", "g", ""}}));
  EXPECT_EQ(request.messages[1].content, "");
  EXPECT_EQ(request.messages[2].role, types::Role::kTool);
  EXPECT_EQ(request.messages[2].tool_call_id, "c1");
  EXPECT_EQ(request.messages[2].content, "12");
  EXPECT_TRUE(request.messages[2].parts.empty());
  EXPECT_EQ(request.needs,
            (Needs{{kTools, "messages[1].tool_calls"}, {kTools, "messages[2].role"}, {kTools, "messages[3].role"}}));
}

TEST(ParseMessages, OlderFormsAndRefusals) {
  const auto needs = [](std::string_view messages) { return parsed(talk(messages)).needs; };
  EXPECT_EQ(needs(R"({"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"}})"),
            (Needs{{kTools, "messages[0].function_call"}, {kOpenAi, "messages[0].function_call"}}));
  EXPECT_EQ(needs(R"({"role":"function","name":"f","content":"1"})"),
            (Needs{{kTools, "messages[0].role"}, {kOpenAi, "messages[0].role"}}));
  EXPECT_EQ(needs(R"({"role":"assistant","refusal":"no"})"), (Needs{{kOpenAi, "messages[0].refusal"}}));
  EXPECT_EQ(needs(R"({"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"custom",)"
                  R"("custom":{"name":"f","input":"x"}}]})"),
            (Needs{{kOpenAi, "messages[0].tool_calls[0].custom"}, {kTools, "messages[0].tool_calls"}}));
  EXPECT_EQ(needs(R"({"role":"user","content":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}},)"
                  R"({"type":"text","text":"b","prompt_cache_breakpoint":{"mode":"explicit"}}]})"),
            (Needs{{kOpenAi, "messages[0].content[0].cache_control"},
                   {kOpenAi, "messages[0].content[1].prompt_cache_breakpoint"}}));
  EXPECT_EQ(needs(R"({"role":"assistant","audio":{"id":"x"}})"),
            (Needs{{kAudio, "messages[0].audio"}, {kOpenAi, "messages[0].audio"}}));
}

// Whoever answers: what came with an answer may be said again.
TEST(ParseMessages, ThoughtsAskForNothing) {
  for (const char* thoughts : {
           R"("reasoning_content":"b")",
           R"("reasoning":"b","reasoning_details":[{"type":"reasoning.encrypted"}])",
           R"("thinking_blocks":[])",
           R"("parsed":{"a":1},"annotations":[])",
           R"("thinking_blocks":[{"type":"thinking","thinking":"b","signature":null}])",
       }) {
    const types::ChatRequest request =
        parsed(talk(R"({"role":"assistant","content":"a",)" + std::string(thoughts) + "}"));
    EXPECT_EQ(request.needs, Needs{}) << thoughts;
    EXPECT_EQ(request.messages.at(0).content, "a") << thoughts;
  }
  EXPECT_EQ(parsed(talk(R"({"role":"assistant","content":null,"reasoning_content":"b"})")).messages.size(), 1U);
  const types::ChatRequest parts =
      parsed(talk(R"({"role":"assistant","content":[{"type":"thinking","thinking":[{"type":"text","text":"b"}]},)"
                  R"({"type":"text","text":"a"}]})"));
  EXPECT_EQ(parts.messages.at(0).content, "a");
  EXPECT_EQ(parts.needs, Needs{});
  const auto block = [](std::string_view value) {
    return parse_chat_request(
        talk(R"({"role":"assistant","content":"a","thinking_blocks":[)" + std::string(value) + "]}"));
  };
  const std::string at = "messages[0].thinking_blocks[0]";
  EXPECT_REFUSED(block("1"), "invalid_request", at, "an object");
  EXPECT_REFUSED(block(R"({"thinking":"b"})"), "invalid_request", at + ".type", "missing");
  EXPECT_REFUSED(block(R"({"type":"text","thinking":"b"})"), "invalid_request", at + ".type", "redacted_thinking");
  EXPECT_REFUSED(block(R"({"type":"redacted_thinking"})"), "invalid_request", at + ".data", "redacted_thinking");
  EXPECT_REFUSED(block(R"({"type":"thinking","data":"d"})"), "invalid_request", at + ".data", "redacted_thinking");
  EXPECT_REFUSED(parse_chat_request(talk(R"({"role":"user","content":"a","reasoning_content":"b"})")),
                 "invalid_request", "messages[0].reasoning_content", "only for an assistant");
  EXPECT_REFUSED(
      parse_chat_request(talk(R"({"role":"assistant","tool_calls":[{"id":"c","type":"function","function":)"
                              R"({"name":"f","arguments":""},"extra_content":{"google":{"thought_signature":1}}}]})")),
      "invalid_request", "messages[0].tool_calls[0].extra_content.google.thought_signature", "a string");
}

TEST(ParseMessages, Parts) {
  using Kind = types::ContentPart::Kind;
  const types::ChatRequest request = parsed(talk(
      R"({"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"https://x/y.png"}},)"
      R"({"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0=","detail":"low"}},{"type":"text","text":"b"}]})"));
  const types::Message& message = request.messages.at(0);
  EXPECT_EQ(message.content, "ab");
  ASSERT_EQ(message.parts.size(), 4U);
  EXPECT_EQ(message.parts[0], (types::ContentPart{Kind::kText, "a", "", "", "", ""}));
  EXPECT_EQ(message.parts[1], (types::ContentPart{Kind::kImage, "", "", "", "https://x/y.png", ""}));
  EXPECT_EQ(message.parts[2], (types::ContentPart{Kind::kImage, "", "image/png", "iVBORw0=", "", "low"}));
  EXPECT_EQ(message.parts[3].text, "b");
  EXPECT_EQ(request.needs, (Needs{{kImages, "messages[0].content[1]"}, {kImages, "messages[0].content[2]"}}));
  EXPECT_EQ(
      parsed(talk(R"({"role":"user","content":[{"type":"input_audio","input_audio":{"data":"","format":"wav"}}]})"))
          .needs,
      (Needs{{kAudio, "messages[0].content[0]"}, {kOpenAi, "messages[0].content[0]"}}));
  EXPECT_EQ(parsed(talk(R"({"role":"user","content":[{"type":"file","file":{"file_id":"x"}}]})")).needs,
            (Needs{{kOpenAi, "messages[0].content[0]"}}));
  EXPECT_EQ(parsed(talk(R"({"role":"assistant","content":[{"type":"refusal","refusal":"x"}]})")).needs,
            (Needs{{kOpenAi, "messages[0].content[0]"}}));
}

TEST(ParseMessages, WhatIsWrongIsNamed) {
  struct Case {
    const char* message;
    const char* param;
    const char* text;
  };
  const auto part = [](std::string_view value) { return R"({"role":"user","content":[)" + std::string(value) + "]}"; };
  const std::string parts[] = {part(R"({"type":"image_url","image_url":{}})"),
                               part(R"({"type":"image_url"})"),
                               part(R"({"type":"image_url","image_url":{"url":"file:///etc/passwd"}})"),
                               part(R"({"type":"image_url","image_url":{"url":"data:image/png;base64,a b="}})"),
                               part(R"({"type":"image_url","image_url":{"url":"data:image/png;base64,"}})"),
                               part(R"({"type":"image_url","image_url":{"url":"https://x","detail":"huge"}})"),
                               part(R"({"type":"text","text":"a","image_url":{"url":"https://x"}})"),
                               part(R"({"text":"a"})"),
                               part(R"({"type":"image_url","image_url":{"url":"data:image/png;base64,abc"}})")};
  for (
      const Case& c : {
          Case{R"({"role":"tool","content":"x"})", "messages[0].tool_call_id", "missing"},
          Case{R"({"role":"user","content":"x","tool_call_id":"c"})", "messages[0].tool_call_id", "only for a tool"},
          Case{R"({"role":"user","content":"x","tool_calls":[]})", "messages[0].tool_calls", "only for an assistant"},
          Case{R"({"role":"assistant"})", "messages[0].content", "missing"},
          Case{R"({"role":"assistant","tool_calls":[]})", "messages[0].content", "missing"},
          Case{R"({"role":"tool","tool_call_id":"c"})", "messages[0].content", "missing"},
          Case{R"({"role":"assistant","tool_calls":[{}]})", "messages[0].tool_calls[0].id", "missing"},
          Case{
              R"({"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":{}}}]})",
              "messages[0].tool_calls[0].function.arguments", "a string"},
          Case{R"({"role":"assistant","content":[{"type":"image_url","image_url":{"url":"https://x"}}]})",
               "messages[0].content[0]", "only users"},
          Case{parts[0].c_str(), "messages[0].content[0].image_url.url", "missing"},
          Case{parts[1].c_str(), "messages[0].content[0].image_url", "missing"},
          Case{parts[2].c_str(), "messages[0].content[0].image_url.url", "https://"},
          Case{parts[3].c_str(), "messages[0].content[0].image_url.url", "base64"},
          Case{parts[4].c_str(), "messages[0].content[0].image_url.url", "base64"},
          Case{parts[5].c_str(), "messages[0].content[0].image_url.detail", "huge"},
          Case{parts[6].c_str(), "messages[0].content[0].image_url", "does not belong"},
          Case{parts[7].c_str(), "messages[0].content[0].type", "missing"},
          Case{parts[8].c_str(), "messages[0].content[0].image_url.url", "base64"},
      }) {
    EXPECT_REFUSED(parse_chat_request(talk(c.message)), "invalid_request", c.param, c.text);
  }
  EXPECT_REFUSED(parse_chat_request(talk(part(R"({"type":"video","video":{}})"))), "unsupported_parameter",
                 "messages[0].content[0].type", "video");
}

TEST(ParseMessages, EndpointsOfShoalAloneRefuseThemAtOnce) {
  constexpr std::string_view kImage =
      R"("messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x"}}]}])";
  const std::string body = "{" + std::string(kImage);
  EXPECT_REFUSED(parse_tokenize_request(body + "}"), "unsupported_parameter", "messages[0].content[0]", "images");
  EXPECT_REFUSED(parse_score_request(body + R"(,"labels":["a"]})"), "unsupported_parameter", "messages[0].content[0]",
                 "images");
}

}  // namespace
}  // namespace shoal::wire::openai
