// Source of names and ranges: the parameter types of Anthropic's SDK for Python, 2.12 (2026), and its API reference.
#include "shoal/wire/anthropic/request.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "shoal/wire/json.h"
#include "shoal/wire/json_walk.h"
#include "shoal/wire/json_writer.h"
#include "shoal/wire/signatures.h"

namespace shoal::wire::anthropic {
namespace {

using types::Message;
using types::Role;

constexpr std::string_view kDialect = "Anthropic's API";
constexpr Vocabulary kWords = {.dialect = kDialect};
constexpr Vocabulary kSamplingWords = {.dialect = kDialect, .temperature = true, .top_p = true, .top_k = true};

Result<void> write_image(JsonWriter& json, const types::ContentPart& part, const std::string& path) {
  constexpr std::array kTypes = {"image/jpeg", "image/png", "image/gif", "image/webp"};
  json.object().key("type").string("image").key("source").object().key("type");
  if (!part.url.empty()) {
    json.string("url").key("url").string(part.url);
  } else if (std::ranges::count(kTypes, part.media_type) == 0) {
    return unsaid(path + ".image_url.url", kWords);
  } else {
    json.string("base64").key("media_type").string(part.media_type).key("data").string(part.data);
  }
  json.end_object().end_object();
  return {};
}

void write_text(JsonWriter& json, std::string_view text) {
  json.object().key("type").string("text").key("text").string(text).end_object();
}

// A tool's input is an object, where OpenAI has its text.
Result<void> write_call(JsonWriter& json, const types::ToolCall& call, const std::string& path) {
  const std::string_view input = call.arguments.empty() ? std::string_view("{}") : std::string_view(call.arguments);
  if (!json_is_object(input) || !check_json(input).ok()) {
    const std::string param = path + ".function.arguments";
    return Error(ErrorCode::kInvalidRequest,
                 fmt::format("{} must be the text of a JSON object for {}", param, kDialect))
        .with_param(param);
  }
  json.object().key("type").string("tool_use").key("id").string(call.id).key("name").string(call.name);
  json.key("input").raw(input).end_object();
  return {};
}

Result<void> write_message(JsonWriter& json, const Message& message, const std::string& path) {
  const bool blocks = !message.parts.empty() || !message.tool_calls.empty() || !message.thinking_blocks.empty();
  json.object().key("role").string(message.role == Role::kAssistant ? "assistant"
                                   : message.role == Role::kSystem  ? "system"
                                                                    : "user");
  if (!blocks) {
    json.key("content").string(message.content).end_object();
    return {};
  }
  json.key("content").array();
  for (const types::ThinkingBlock& block : message.thinking_blocks) write_thinking_block(json, block);
  if (message.parts.empty() && !message.content.empty()) write_text(json, message.content);
  for (std::size_t i = 0; i < message.parts.size(); ++i) {
    const types::ContentPart& part = message.parts[i];
    if (part.kind == types::ContentPart::Kind::kText) {
      write_text(json, part.text);
    } else {
      SHOAL_TRY(write_image(json, part, fmt::format("{}.content[{}]", path, i)));
    }
  }
  for (std::size_t i = 0; i < message.tool_calls.size(); ++i) {
    SHOAL_TRY(write_call(json, message.tool_calls[i], fmt::format("{}.tool_calls[{}]", path, i)));
  }
  json.end_array().end_object();
  return {};
}

Result<void> write_messages(JsonWriter& json, const std::vector<Message>& messages) {
  std::size_t i = 0;
  if (!messages.empty() && messages[0].role == Role::kSystem) {
    json.key("system").array();
    for (; i < messages.size() && messages[i].role == Role::kSystem; ++i) write_text(json, messages[i].content);
    json.end_array();
  }
  json.key("messages").array();
  while (i < messages.size()) {
    if (messages[i].role != Role::kTool) {
      SHOAL_TRY(write_message(json, messages[i], fmt::format("messages[{}]", i)));
      ++i;
      continue;
    }
    json.object().key("role").string("user").key("content").array();
    for (; i < messages.size() && messages[i].role == Role::kTool; ++i) {
      json.object().key("type").string("tool_result").key("tool_use_id").string(messages[i].tool_call_id);
      json.key("content").string(messages[i].content).end_object();
    }
    json.end_array().end_object();
  }
  json.end_array();
  return {};
}

void write_tools(JsonWriter& json, const types::ChatRequest& request) {
  if (request.tools.empty()) return;
  json.key("tools").array();
  for (const types::Tool& tool : request.tools) {
    json.object().key("name").string(tool.name);
    if (!tool.description.empty()) json.key("description").string(tool.description);
    json.key("input_schema").raw(tool.parameters.empty() ? R"({"type":"object","properties":{}})" : tool.parameters);
    if (tool.strict) json.key("strict").boolean(*tool.strict);
    json.end_object();
  }
  json.end_array();
}

void write_tool_choice(JsonWriter& json, const types::ChatRequest& request) {
  using Kind = types::ToolChoice::Kind;
  const Kind kind = request.tool_choice ? request.tool_choice->kind : Kind::kAuto;
  const bool one_at_most = request.parallel_tool_calls == false && kind != Kind::kNone;
  // Without tools, auto and none ask for nothing, and the API takes no choice.
  if (kind == Kind::kAuto && !one_at_most) return;
  if (request.tools.empty() && (kind == Kind::kAuto || kind == Kind::kNone)) return;
  json.key("tool_choice").object().key("type");
  switch (kind) {
    case Kind::kAuto:
      json.string("auto");
      break;
    case Kind::kNone:
      json.string("none");
      break;
    case Kind::kRequired:
      json.string("any");
      break;
    case Kind::kNamed:
      json.string("tool").key("name").string(request.tool_choice->name);
      break;
  }
  if (one_at_most) json.key("disable_parallel_tool_use").boolean(true);
  json.end_object();
}

// output_config: an effort and a format; thinking, when there shall be none.
Result<void> write_output(JsonWriter& json, const types::ChatRequest& request) {
  using Kind = types::ResponseFormat::Kind;
  constexpr std::array kEfforts = {"low", "medium", "high", "xhigh", "max"};
  const std::string& effort = request.reasoning_effort;
  const types::ResponseFormat& format = request.format;
  if (format.kind == Kind::kJsonObject) return unsaid("response_format", kWords);
  if (format.kind == Kind::kJsonSchema && format.schema.empty()) {
    return unsaid("response_format.json_schema without a schema", kWords);
  }
  if (!format.description.empty()) return unsaid("response_format.json_schema.description", kWords);
  const bool no_thinking = effort == "none";
  const bool has_effort = !effort.empty() && !no_thinking;
  if (has_effort && std::ranges::count(kEfforts, effort) == 0) return unsaid("reasoning_effort", kWords);
  if (no_thinking) json.key("thinking").object().key("type").string("disabled").end_object();
  if (!has_effort && format.kind == Kind::kText) return {};
  json.key("output_config").object();
  if (has_effort) json.key("effort").string(effort);
  if (format.kind == Kind::kJsonSchema) {
    json.key("format").object().key("type").string("json_schema").key("schema").raw(format.schema).end_object();
  }
  json.end_object();
  return {};
}

Result<void> write_sampling(JsonWriter& json, const types::SamplingParams& s) {
  if (s.temperature > 1) return unsaid("temperature", kWords);  // theirs ends at 1
  if (s.given.temperature || s.temperature != 1) json.key("temperature").number(s.temperature);
  if (s.given.top_p || s.top_p != 1) json.key("top_p").number(s.top_p);
  if (s.given.top_k || s.top_k != 0) json.key("top_k").integer(s.top_k);
  return {};
}

}  // namespace

Result<std::string> print_request(const types::ChatRequest& request, const OutgoingOptions& options) {
  SHOAL_TRY(check_words(request, options.sampling ? kSamplingWords : kWords));
  const types::GenerationParams& p = request.params;
  const auto limit = p.max_tokens ? p.max_tokens : options.max_tokens;
  if (!limit) {
    return Error(ErrorCode::kInvalidRequest, fmt::format("max_tokens is missing; {} has no default", kDialect))
        .with_param("max_tokens");
  }
  std::string out;
  JsonWriter json(out);
  json.object().key("model").string(options.model).key("max_tokens").integer(*limit);
  SHOAL_TRY(write_messages(json, request.messages));
  // What is left of it for a model that takes none asks for nothing.
  if (options.sampling) SHOAL_TRY(write_sampling(json, p.sampling));
  if (!p.stop.empty()) {
    json.key("stop_sequences").array();
    for (const std::string& stop : p.stop) json.string(stop);
    json.end_array();
  }
  write_tools(json, request);
  write_tool_choice(json, request);
  SHOAL_TRY(write_output(json, request));
  if (!request.user.empty()) json.key("metadata").object().key("user_id").string(request.user).end_object();
  if (p.stream) json.key("stream").boolean(true);
  json.end_object();
  return out;
}

}  // namespace shoal::wire::anthropic
