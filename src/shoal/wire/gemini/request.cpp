// Source of names and ranges: the types of google-genai for Python, 3.4 (2026), and Google's API reference.
#include "shoal/wire/gemini/request.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "shoal/wire/json.h"
#include "shoal/wire/json_walk.h"
#include "shoal/wire/json_writer.h"

namespace shoal::wire::gemini {
namespace {

using types::Message;
using types::Role;

constexpr std::string_view kDialect = "Gemini's API";
// Log-probabilities could be asked for, but come for a whole answer, in no shape that a client of OpenAI's reads.
constexpr Vocabulary kWords = {
    .dialect = kDialect, .n = true, .seed = true, .penalties = true, .temperature = true, .top_p = true, .top_k = true};
constexpr std::size_t kMaxStops = 5;
// Gemini 3 refuses calls in the history without their signature. For those that another model made, or a client lost,
// it takes this in its place: ai.google.dev/gemini-api/docs/thought-signatures.
constexpr std::string_view kNoSignature = "skip_thought_signature_validator";

// "gemini-2.5-flash", without the folder that may stand before it.
std::string_view model_name(std::string_view model) {
  return model.substr(model.rfind('/') + 1);
}

bool wants_signatures(std::string_view model) {
  return !model_name(model).starts_with("gemini-1.") && !model_name(model).starts_with("gemini-2.");
}

Error bad(std::string param, std::string_view message) {
  return Error(ErrorCode::kInvalidRequest, fmt::format("{} {}", param, message)).with_param(std::move(param));
}

void write_text(JsonWriter& json, std::string_view text) {
  json.object().key("text").string(text).end_object();
}

Result<void> write_part(JsonWriter& json, const types::ContentPart& part, const std::string& path) {
  if (part.kind == types::ContentPart::Kind::kText) {
    write_text(json, part.text);
    return {};
  }
  if (!part.url.empty()) return unsaid(path + ".image_url.url", kWords);
  json.object().key("inlineData").object().key("mimeType").string(part.media_type);
  json.key("data").string(part.data).end_object().end_object();
  return {};
}

Result<void> write_call(JsonWriter& json, const types::ToolCall& call, bool wants_signature, const std::string& path) {
  const std::string_view input = call.arguments.empty() ? std::string_view("{}") : std::string_view(call.arguments);
  if (!json_is_object(input) || !check_json(input).ok()) {
    return bad(path + ".function.arguments", fmt::format("must be the text of a JSON object for {}", kDialect));
  }
  json.object().key("functionCall").object();
  if (!call.id.empty()) json.key("id").string(call.id);
  json.key("name").string(call.name).key("args").raw(input).end_object();
  if (!call.thought_signature.empty()) {
    json.key("thoughtSignature").string(call.thought_signature);
  } else if (wants_signature) {
    json.key("thoughtSignature").string(kNoSignature);
  }
  json.end_object();
  return {};
}

// The name of the function that a result is of: the last call of that id before it.
std::string_view called_name(const std::vector<Message>& messages, std::size_t before, std::string_view id) {
  for (std::size_t i = before; i-- > 0;) {
    for (const types::ToolCall& call : messages[i].tool_calls) {
      if (call.id == id) return call.name;
    }
  }
  return {};
}

class Printer {
 public:
  Printer(const types::ChatRequest& request, const OutgoingOptions& options) : request_(request), options_(options) {}

  Result<std::string> print() {
    SHOAL_TRY(check_words(request_, kWords));
    json_.object();
    SHOAL_TRY(write_messages());
    SHOAL_TRY(write_tools());
    SHOAL_TRY(write_config());
    json_.end_object();
    return std::move(out_);
  }

 private:
  Result<void> write_messages();
  Result<void> write_message(std::size_t index);
  Result<void> write_results(std::size_t& index);
  Result<void> write_tools();
  Result<void> write_config();
  Result<void> write_sampling();
  Result<void> write_format();
  Result<void> write_thinking();

  const types::ChatRequest& request_;
  const OutgoingOptions& options_;
  std::string out_;
  JsonWriter json_{out_};
};

Result<void> Printer::write_message(std::size_t index) {
  const Message& message = request_.messages[index];
  const std::string path = fmt::format("messages[{}]", index);
  if (message.role == Role::kSystem) return unsaid(path + ".role", kWords);  // not before all others
  json_.object().key("role").string(message.role == Role::kAssistant ? "model" : "user").key("parts").array();
  if (message.parts.empty() && (!message.content.empty() || message.tool_calls.empty())) {
    write_text(json_, message.content);
  }
  for (std::size_t i = 0; i < message.parts.size(); ++i) {
    SHOAL_TRY(write_part(json_, message.parts[i], fmt::format("{}.content[{}]", path, i)));
  }
  for (std::size_t i = 0; i < message.tool_calls.size(); ++i) {
    // Of parallel calls the first has the signature.
    const bool wants_signature = i == 0 && wants_signatures(options_.model);
    SHOAL_TRY(write_call(json_, message.tool_calls[i], wants_signature, fmt::format("{}.tool_calls[{}]", path, i)));
  }
  json_.end_array().end_object();
  return {};
}

// Results that follow each other are one turn.
Result<void> Printer::write_results(std::size_t& index) {
  const std::vector<Message>& messages = request_.messages;
  json_.object().key("role").string("user").key("parts").array();
  for (; index < messages.size() && messages[index].role == Role::kTool; ++index) {
    const Message& message = messages[index];
    const std::string_view name = called_name(messages, index, message.tool_call_id);
    if (name.empty()) return bad(fmt::format("messages[{}].tool_call_id", index), "is of no call before it");
    json_.object().key("functionResponse").object().key("id").string(message.tool_call_id).key("name").string(name);
    json_.key("response").object().key("output").string(message.content).end_object().end_object().end_object();
  }
  json_.end_array().end_object();
  return {};
}

Result<void> Printer::write_messages() {
  const std::vector<Message>& messages = request_.messages;
  std::size_t i = 0;
  if (!messages.empty() && messages[0].role == Role::kSystem) {
    json_.key("systemInstruction").object().key("parts").array();
    for (; i < messages.size() && messages[i].role == Role::kSystem; ++i) write_text(json_, messages[i].content);
    json_.end_array().end_object();
  }
  json_.key("contents").array();
  while (i < messages.size()) {
    if (messages[i].role == Role::kTool) {
      SHOAL_TRY(write_results(i));
    } else {
      SHOAL_TRY(write_message(i));
      ++i;
    }
  }
  json_.end_array();
  return {};
}

Result<void> Printer::write_tools() {
  using Kind = types::ToolChoice::Kind;
  if (request_.parallel_tool_calls == false && !request_.tools.empty()) return unsaid("parallel_tool_calls", kWords);
  if (!request_.tools.empty()) {
    json_.key("tools").array().object().key("functionDeclarations").array();
    for (std::size_t i = 0; i < request_.tools.size(); ++i) {
      const types::Tool& tool = request_.tools[i];
      if (tool.strict == true) return unsaid(fmt::format("tools[{}].function.strict", i), kWords);
      json_.object().key("name").string(tool.name);
      if (!tool.description.empty()) json_.key("description").string(tool.description);
      if (!tool.parameters.empty()) json_.key("parametersJsonSchema").raw(tool.parameters);
      json_.end_object();
    }
    json_.end_array().end_object().end_array();
  }
  if (!request_.tool_choice || request_.tool_choice->kind == Kind::kAuto) return {};
  const types::ToolChoice& choice = *request_.tool_choice;
  json_.key("toolConfig").object().key("functionCallingConfig").object().key("mode");
  json_.string(choice.kind == Kind::kNone ? "NONE" : "ANY");
  if (choice.kind == Kind::kNamed) json_.key("allowedFunctionNames").array().string(choice.name).end_array();
  json_.end_object().end_object();
  return {};
}

Result<void> Printer::write_sampling() {
  const types::SamplingParams& s = request_.params.sampling;
  const auto write_if = [this](bool asked, std::string_view key, float value) {
    if (asked) json_.key(key).number(value);
  };
  // Its own defaults of the first three are others, and differ from model to model.
  write_if(s.given.temperature || s.temperature != 1, "temperature", s.temperature);
  write_if(s.given.top_p || s.top_p != 1, "topP", s.top_p);
  if (s.given.top_k || s.top_k != 0) json_.key("topK").integer(s.top_k);
  write_if(s.presence_penalty != 0, "presencePenalty", s.presence_penalty);
  write_if(s.frequency_penalty != 0, "frequencyPenalty", s.frequency_penalty);
  if (!s.seed) return {};
  const auto seed = static_cast<std::int64_t>(*s.seed);
  if (seed < std::numeric_limits<std::int32_t>::min() || seed > std::numeric_limits<std::int32_t>::max()) {
    return unsaid("seed", kWords);  // theirs has 32 bits
  }
  json_.key("seed").integer(seed);
  return {};
}

Result<void> Printer::write_format() {
  using Kind = types::ResponseFormat::Kind;
  const types::ResponseFormat& format = request_.format;
  if (format.kind == Kind::kText) return {};
  if (!format.description.empty()) return unsaid("response_format.json_schema.description", kWords);
  json_.key("responseMimeType").string("application/json");
  if (!format.schema.empty()) json_.key("responseJsonSchema").raw(format.schema);
  return {};
}

// From Gemini 3 on there are levels, and no word for none at all: ai.google.dev/gemini-api/docs/thinking. Gemini 2.5
// has budgets, which Google's own API of OpenAI's dialect gives each effort: ai.google.dev/gemini-api/docs/openai.
// Those before do not think.
Result<void> Printer::write_thinking() {
  struct Effort {
    std::string_view name;
    std::string_view level;
    std::optional<std::int64_t> budget;
  };
  constexpr std::array kEfforts = {Effort{"none", {}, 0},          Effort{"minimal", "MINIMAL", 1024},
                                   Effort{"low", "LOW", 1024},     Effort{"medium", "MEDIUM", 8192},
                                   Effort{"high", "HIGH", 24'576}, Effort{"xhigh", "XHIGH", {}}};
  if (request_.reasoning_effort.empty()) return {};
  const auto* effort = std::ranges::find(kEfforts, request_.reasoning_effort, &Effort::name);
  if (effort == kEfforts.end()) return unsaid("reasoning_effort", kWords);
  const std::string_view model = model_name(options_.model);
  const bool none = effort->name == "none";
  if (model.starts_with("gemini-2.5-")) {
    if (!effort->budget || (none && model.starts_with("gemini-2.5-pro"))) return unsaid("reasoning_effort", kWords);
    json_.key("thinkingConfig").object().key("thinkingBudget").integer(*effort->budget).end_object();
    return {};
  }
  if (none && !wants_signatures(model)) return {};
  if (none || !wants_signatures(model)) return unsaid("reasoning_effort", kWords);
  json_.key("thinkingConfig").object().key("thinkingLevel").string(effort->level).end_object();
  return {};
}

Result<void> Printer::write_config() {
  const types::GenerationParams& p = request_.params;
  json_.key("generationConfig").object();
  if (const auto limit = p.max_tokens ? p.max_tokens : options_.max_tokens) {
    json_.key("maxOutputTokens").integer(*limit);
  }
  if (p.n != 1) json_.key("candidateCount").integer(p.n);
  if (p.stop.size() > kMaxStops) return unsaid("stop", kWords);
  if (!p.stop.empty()) {
    json_.key("stopSequences").array();
    for (const std::string& stop : p.stop) json_.string(stop);
    json_.end_array();
  }
  SHOAL_TRY(write_sampling());
  SHOAL_TRY(write_format());
  SHOAL_TRY(write_thinking());
  json_.end_object();
  return {};
}

// What RFC 3986 reserves nothing of (section 2.3), and the slash.
std::string escaped(std::string_view name) {
  std::string out;
  for (const char c : name) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~/").find(c) != std::string_view::npos;
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

}  // namespace

std::string target(std::string_view model, bool stream) {
  return fmt::format("{}{}{}", model.find('/') == std::string_view::npos ? "/models/" : "/", escaped(model),
                     stream ? ":streamGenerateContent?alt=sse" : ":generateContent");
}

Result<std::string> print_request(const types::ChatRequest& request, const OutgoingOptions& options) {
  return Printer(request, options).print();
}

}  // namespace shoal::wire::gemini
