#include "shoal/wire/openai/request.h"

#include "shoal/wire/json_writer.h"
#include "shoal/wire/signatures.h"

namespace shoal::wire::openai {
namespace {

constexpr Vocabulary kWords = {.dialect = "an API of OpenAI's dialect",
                               .n = true,
                               .seed = true,
                               .logprobs = true,
                               .logit_bias = true,
                               .penalties = true,
                               .temperature = true,
                               .top_p = true,
                               .top_k = true,  // not to OpenAI itself, but to most that speak as it does
                               .local_sampling = true,
                               .names = true,
                               .image_detail = true};

std::string_view role_name(types::Role role) {
  switch (role) {
    case types::Role::kSystem:
      return "system";
    case types::Role::kUser:
      return "user";
    case types::Role::kAssistant:
      return "assistant";
    case types::Role::kTool:
      return "tool";
  }
  return "user";
}

void write_part(JsonWriter& json, const types::ContentPart& part) {
  json.object().key("type");
  if (part.kind == types::ContentPart::Kind::kText) {
    json.string("text").key("text").string(part.text).end_object();
    return;
  }
  json.string("image_url").key("image_url").object().key("url");
  json.string(part.url.empty() ? "data:" + part.media_type + ";base64," + part.data : part.url);
  if (!part.detail.empty()) json.key("detail").string(part.detail);
  json.end_object().end_object();
}

void write_message(JsonWriter& json, const types::Message& message) {
  json.object().key("role").string(role_name(message.role));
  if (!message.name.empty()) json.key("name").string(message.name);
  json.key("content");
  if (!message.parts.empty()) {
    json.array();
    for (const types::ContentPart& part : message.parts) write_part(json, part);
    json.end_array();
  } else if (message.content.empty() && !message.tool_calls.empty()) {
    json.raw("null");
  } else {
    json.string(message.content);
  }
  if (!message.tool_calls.empty()) {
    json.key("tool_calls").array();
    for (const types::ToolCall& call : message.tool_calls) {
      json.object().key("id").string(call.id).key("type").string("function").key("function").object();
      json.key("name").string(call.name).key("arguments").string(call.arguments).end_object();
      write_extra_content(json, call.thought_signature);
      json.end_object();
    }
    json.end_array();
  }
  if (!message.thinking_blocks.empty()) {
    json.key("thinking_blocks").array();
    for (const types::ThinkingBlock& block : message.thinking_blocks) write_thinking_block(json, block);
    json.end_array();
  }
  if (!message.tool_call_id.empty()) json.key("tool_call_id").string(message.tool_call_id);
  json.end_object();
}

void write_tools(JsonWriter& json, const types::ChatRequest& request) {
  using Kind = types::ToolChoice::Kind;
  if (!request.tools.empty()) json.key("tools").array();
  for (const types::Tool& tool : request.tools) {
    json.object().key("type").string("function").key("function").object().key("name").string(tool.name);
    if (!tool.description.empty()) json.key("description").string(tool.description);
    if (!tool.parameters.empty()) json.key("parameters").raw(tool.parameters);
    if (tool.strict) json.key("strict").boolean(*tool.strict);
    json.end_object().end_object();
  }
  if (!request.tools.empty()) json.end_array();
  if (request.tool_choice && request.tool_choice->kind == Kind::kNamed) {
    json.key("tool_choice").object().key("type").string("function").key("function").object();
    json.key("name").string(request.tool_choice->name).end_object().end_object();
  } else if (request.tool_choice) {
    const Kind kind = request.tool_choice->kind;
    json.key("tool_choice").string(kind == Kind::kNone ? "none" : kind == Kind::kRequired ? "required" : "auto");
  }
  if (request.parallel_tool_calls) json.key("parallel_tool_calls").boolean(*request.parallel_tool_calls);
}

void write_format(JsonWriter& json, const types::ResponseFormat& format) {
  using Kind = types::ResponseFormat::Kind;
  if (format.kind == Kind::kText) return;
  json.key("response_format").object().key("type");
  if (format.kind == Kind::kJsonObject) {
    json.string("json_object").end_object();
    return;
  }
  json.string("json_schema").key("json_schema").object().key("name").string(format.name);
  if (!format.description.empty()) json.key("description").string(format.description);
  if (!format.schema.empty()) json.key("schema").raw(format.schema);
  if (format.strict) json.key("strict").boolean(*format.strict);
  json.end_object().end_object();
}

void write_sampling(JsonWriter& json, const types::SamplingParams& s) {
  const auto write_if = [&json](bool asked, std::string_view key, float value) {
    if (asked) json.key(key).number(value);
  };
  write_if(s.given.temperature || s.temperature != 1, "temperature", s.temperature);
  write_if(s.given.top_p || s.top_p != 1, "top_p", s.top_p);
  if (s.given.top_k || s.top_k != 0) json.key("top_k").integer(s.top_k);
  write_if(s.min_p != 0, "min_p", s.min_p);
  write_if(s.presence_penalty != 0, "presence_penalty", s.presence_penalty);
  write_if(s.frequency_penalty != 0, "frequency_penalty", s.frequency_penalty);
  write_if(s.repetition_penalty != 1, "repetition_penalty", s.repetition_penalty);
  if (s.seed) json.key("seed").integer(static_cast<std::int64_t>(*s.seed));
  if (s.logit_bias.empty()) return;
  json.key("logit_bias").object();
  for (const auto& [id, bias] : s.logit_bias) json.key(std::to_string(id)).number(bias);
  json.end_object();
}

}  // namespace

Result<std::string> print_request(const types::ChatRequest& request, const OutgoingOptions& options) {
  SHOAL_TRY(check_words(request, kWords));
  const types::GenerationParams& p = request.params;
  std::string out;
  JsonWriter json(out);
  json.object().key("model").string(options.model).key("messages").array();
  for (const types::Message& message : request.messages) write_message(json, message);
  json.end_array();
  if (const auto limit = p.max_tokens ? p.max_tokens : options.max_tokens) {
    json.key(options.limit_name == LimitName::kMaxTokens ? "max_tokens" : "max_completion_tokens").integer(*limit);
  }
  write_sampling(json, p.sampling);
  if (!p.stop.empty()) {
    json.key("stop").array();
    for (const std::string& stop : p.stop) json.string(stop);
    json.end_array();
  }
  if (p.n != 1) json.key("n").integer(p.n);
  if (p.logprobs) json.key("logprobs").boolean(true);
  if (p.top_logprobs > 0) json.key("top_logprobs").integer(p.top_logprobs);
  write_tools(json, request);
  write_format(json, request.format);
  if (!request.reasoning_effort.empty()) json.key("reasoning_effort").string(request.reasoning_effort);
  if (!request.user.empty()) json.key("user").string(request.user);
  if (p.stream) {
    json.key("stream").boolean(true).key("stream_options").object().key("include_usage").boolean(true).end_object();
  }
  json.end_object();
  return out;
}

}  // namespace shoal::wire::openai
