#include "shoal/wire/openai/fields.h"

#include <array>
#include <cstdint>

namespace shoal::wire::openai {
namespace {

using enum FieldType;
using enum FieldRule;
using types::NeedKind;
constexpr double kInt32Max = std::numeric_limits<std::int32_t>::max();
constexpr double kAnyLow = std::numeric_limits<double>::lowest();
constexpr double kAnyHigh = std::numeric_limits<double>::max();

template <std::size_t A, std::size_t B>
constexpr std::array<FieldSpec, A + B> join(const std::array<FieldSpec, A>& a, const std::array<FieldSpec, B>& b) {
  std::array<FieldSpec, A + B> all{};
  for (std::size_t i = 0; i < A; ++i) all[i] = a[i];
  for (std::size_t i = 0; i < B; ++i) all[A + i] = b[i];
  return all;
}

constexpr FieldSpec field(std::string_view name, FieldType type, std::string_view what, double min = kAnyLow,
                          double max = kAnyHigh, std::string_view schema = {}) {
  FieldSpec spec;
  spec.name = name;
  spec.type = type;
  spec.what = what;
  spec.min = min;
  spec.max = max;
  spec.schema = schema;
  return spec;
}
constexpr FieldSpec above(FieldSpec spec) {
  spec.above_min = true;
  return spec;
}
constexpr FieldSpec required(FieldSpec spec) {
  spec.required = true;
  return spec;
}
constexpr FieldSpec accepted(std::string_view name, FieldType type, std::string_view what) {
  FieldSpec spec = field(name, type, what);
  spec.rule = kAccepted;
  return spec;
}
constexpr FieldSpec refused(std::string_view name, std::string_view harmless = {}) {
  FieldSpec spec;
  spec.name = name;
  spec.rule = kRefused;
  spec.harmless = harmless;
  return spec;
}

// What not every model can do, and a field of types/ holds.
constexpr FieldSpec needs(NeedKind kind, FieldSpec spec, std::string_view harmless = {}) {
  spec.rule = kNeeds;
  spec.need = kind;
  spec.harmless = harmless;
  return spec;
}
// The same, of which nothing but its name is read.
constexpr FieldSpec verbatim(NeedKind kind, FieldSpec spec, std::string_view harmless = {}) {
  spec = needs(kind, spec, harmless);
  spec.verbatim = true;
  return spec;
}

// The name that another server gives to a parameter of ours.
constexpr FieldSpec foreign(std::string_view name, std::string_view instead) {
  FieldSpec spec = refused(name);
  spec.instead = instead;
  return spec;
}

// What chat and text completions share.
constexpr std::array kGeneration = {
    field("model", kString, "Name of a model from /v1/models; the server's default model when it is absent."),
    field("max_tokens", kInteger,
          "The most tokens to generate; when absent the context divided by `engine.slots`, or what the prompt leaves.",
          1, kInt32Max),
    field("temperature", kNumber, "Sampling temperature; 0 always takes the most probable token.", 0, 2),
    above(field("top_p", kNumber, "Nucleus sampling: the most probable tokens that together hold this mass.", 0, 1)),
    field("top_k", kInteger, "Sample from this many most probable tokens; 0 is off.", 0, kInt32Max),
    field("min_p", kNumber, "Drop tokens less probable than this share of the best one; 0 is off.", 0, 1),
    field("presence_penalty", kNumber, "Subtracted once from each token that has occurred.", -2, 2),
    field("frequency_penalty", kNumber, "Subtracted for each time that a token has occurred.", -2, 2),
    above(field("repetition_penalty", kNumber, "Divides the logits of tokens that have occurred; 1 is off.", 0, 2)),
    field("seed", kInteger, "With the same seed and parameters the same answer; answer i of n uses seed + i."),
    field("logit_bias", kObject, "Token id to a bias in [-100, 100], added to its logit.", kAnyLow, kAnyHigh,
          R"("type":"object","additionalProperties":{"type":"number","minimum":-100,"maximum":100})"),
    field(
        "stop", kAny, "Up to 16 texts at which the answer ends; they are not part of it.", kAnyLow, kAnyHigh,
        R"("oneOf":[{"type":"string","minLength":1},{"type":"array","maxItems":16,"items":{"type":"string","minLength":1}}])"),
    field("n", kInteger, "Answers for each prompt.", 1, 16),
    field("stream", kBoolean, "Send the answer as server-sent events while it is written."),
    field(
        "stream_options", kObject, "Only with stream.", kAnyLow, kAnyHigh,
        R"("type":"object","properties":{"include_usage":{"type":"boolean"},"include_obfuscation":{"type":"boolean"}},"additionalProperties":false)"),
    needs(NeedKind::kSignals, field("ignore_eos", kBoolean, "Go on past the end-of-sequence token."), "false"),
    field("user", kString, "The client's own id of its user."),
    field("x_shoal", kObject, "Shoal's own switches.", kAnyLow, kAnyHigh,
          R"("$ref":"#/components/schemas/XShoalRequest")"),
    accepted("metadata", kObject, "Accepted and not kept."),
    accepted("safety_identifier", kString, "Accepted and not kept."),
    accepted("prompt_cache_key", kString, "Accepted; has no effect."),
    verbatim(NeedKind::kPaid, field("service_tier", kString, "How fast and how dear a provider answers."),
             R"("auto"|"default")"),
    foreign("repeat_penalty", "repetition_penalty"),
    foreign("n_predict", "max_tokens"),
    foreign("num_predict", "max_tokens"),
    foreign("max_new_tokens", "max_tokens"),
    foreign("stop_sequences", "stop"),
};

constexpr std::array kChatOnly = {
    required(field("messages", kArray, "The conversation so far.", kAnyLow, kAnyHigh,
                   R"("type":"array","minItems":1,"items":{"$ref":"#/components/schemas/Message"})")),
    field("max_completion_tokens", kInteger, "The newer name of max_tokens.", 1, kInt32Max),
    field("logprobs", kBoolean, "Report the log-probability of each token of the answer."),
    field("top_logprobs", kInteger, "Alternatives for each token; needs logprobs.", 0, 20),
    needs(NeedKind::kTools,
          field("tools", kArray, "Functions that the model may call.", kAnyLow, kAnyHigh,
                R"("type":"array","maxItems":128,"items":{"$ref":"#/components/schemas/Tool"})"),
          "[]"),
    needs(NeedKind::kTools,
          field("tool_choice", kAny, "Whether functions may or must be called, or which.", kAnyLow, kAnyHigh,
                R"("oneOf":[{"type":"string","enum":["none","auto","required"]},)"
                R"({"$ref":"#/components/schemas/NamedToolChoice"}])"),
          R"("none"|"auto")"),
    field("parallel_tool_calls", kBoolean, "Whether several functions may be called at once."),
    verbatim(NeedKind::kTools, field("functions", kArray, "The older form of tools."), "[]"),
    verbatim(NeedKind::kTools, field("function_call", kAny, "The older form of tool_choice."), R"("none"|"auto")"),
    needs(NeedKind::kStructured,
          field("response_format", kObject, "Whether the answer is text, JSON, or JSON of a schema.", kAnyLow, kAnyHigh,
                R"("$ref":"#/components/schemas/ResponseFormat")"),
          R"({"type":"text"})"),
    needs(NeedKind::kReasoning, field("reasoning_effort", kString, "How much the model thinks before it answers.")),
    verbatim(NeedKind::kReasoning, field("verbosity", kString, "How much the model says.")),
    verbatim(NeedKind::kAudio, field("modalities", kArray, "What an answer is made of."), R"(["text"])"),
    verbatim(NeedKind::kAudio, field("audio", kObject, "The voice and the format of spoken answers.")),
    verbatim(NeedKind::kPaid, field("prediction", kObject, "Text that the answer will mostly repeat.")),
    verbatim(NeedKind::kPaid, field("web_search_options", kObject, "Let a provider search the web.")),
    verbatim(NeedKind::kStored, field("store", kBoolean, "Let a provider keep the answer."), "false"),
    verbatim(NeedKind::kStored, field("prompt_cache_retention", kString, "How long a provider keeps the prompt.")),
    verbatim(NeedKind::kOpenAi, field("prompt_cache_options", kObject, "How a provider keeps the prompt.")),
    verbatim(NeedKind::kOpenAi, field("moderation", kObject, "Let a provider moderate the request and the answer.")),
};

constexpr std::array kCompletionOnly = {
    required(field(
        "prompt", kAny, "A text, an array of texts, token ids, or an array of arrays of token ids.", kAnyLow, kAnyHigh,
        R"("oneOf":[{"type":"string"},{"type":"array","minItems":1,"items":{"type":"string"}},)"
        R"({"type":"array","minItems":1,"items":{"type":"integer"}},)"
        R"({"type":"array","minItems":1,"items":{"type":"array","minItems":1,"items":{"type":"integer"}}}])")),
    field("logprobs", kInteger, "Report the log-probabilities, with this many alternatives for each token.", 0, 20),
    field("echo", kBoolean, "Put the prompt before the answer; only for texts, and without logprobs."),
    verbatim(NeedKind::kPaid, field("best_of", kInteger, "Make more answers than are shown.", 1, 20), "1"),
    verbatim(NeedKind::kOpenAi, field("suffix", kString, "The text that comes after the answer."), R"("")"),
};

constexpr auto kChat = join(kChatOnly, kGeneration);
constexpr auto kCompletion = join(kCompletionOnly, kGeneration);

constexpr std::array kMessage = {
    required(field("role", kString, "Who speaks.", kAnyLow, kAnyHigh,
                   R"("type":"string","enum":["system","developer","user","assistant","tool","function"])")),
    field(
        "content", kAny, "Text, or an array of parts; of several texts, all joined.", kAnyLow, kAnyHigh,
        R"("oneOf":[{"type":"string"},{"type":"array","minItems":1,"items":{"$ref":"#/components/schemas/ContentPart"}}])"),
    accepted("name", kString, "Accepted; chat templates have no place for it."),
    accepted("annotations", kArray, "Of an earlier answer; accepted and not used."),
    accepted("parsed", kAny, "What OpenAI's SDK made of content; accepted and not used."),
    needs(NeedKind::kTools,
          field("tool_calls", kArray, "Of an assistant: the functions that it called.", kAnyLow, kAnyHigh,
                R"("type":"array","items":{"$ref":"#/components/schemas/ToolCall"})"),
          "[]"),
    field("tool_call_id", kString, "Of a tool: the call whose result this is."),
    verbatim(NeedKind::kTools, field("function_call", kObject, "The older form of tool_calls.")),
    verbatim(NeedKind::kOpenAi, field("refusal", kString, "Of an assistant: why it did not answer.")),
    verbatim(NeedKind::kAudio, field("audio", kObject, "Of an assistant: an earlier spoken answer.")),
    accepted("reasoning_content", kString, "Of an assistant: what it thought; for providers of this dialect alone."),
    accepted("reasoning", kString, "Another name of reasoning_content."),
    accepted("reasoning_details", kArray, "Of an assistant: what it thought; for providers of this dialect alone."),
    field("thinking_blocks", kArray, "Of an assistant: what it thought, signed by Anthropic, which wants it back.",
          kAnyLow, kAnyHigh, R"("type":"array","items":{"$ref":"#/components/schemas/ThinkingBlock"})"),
};

constexpr std::array kThinkingBlock = {
    required(field("type", kString, "Which of the others it has.", kAnyLow, kAnyHigh,
                   R"("type":"string","enum":["thinking","redacted_thinking"])")),
    field("thinking", kString, "The thought."),
    field("signature", kString, "By which Anthropic knows the thought again."),
    field("data", kString, "A thought that Anthropic alone can read."),
    accepted("index", kInteger, "Of the stream that it came in; accepted and not used."),
};

// `type` and, by its value, one of the others.
constexpr std::array kContentPart = {
    required(field("type", kString, "Which of the others it has.", kAnyLow, kAnyHigh,
                   R"("type":"string","enum":["text","image_url","input_audio","file","refusal","thinking"])")),
    field("text", kString, "The text."),
    field("image_url", kObject, "An image; only from a user.", kAnyLow, kAnyHigh,
          R"("$ref":"#/components/schemas/ImageUrl")"),
    field("input_audio", kObject, "A recording: its data and its format."),
    field("file", kObject, "A document."),
    field("refusal", kString, "Of an assistant: why it did not answer."),
    field("thinking", kAny, "Of an assistant: what it thought; for providers of this dialect alone."),
    verbatim(NeedKind::kOpenAi, field("prompt_cache_breakpoint", kObject, "That a provider keeps the prompt to here.")),
    verbatim(NeedKind::kOpenAi, field("cache_control", kObject, "The same, for OpenRouter and LiteLLM.")),
};

constexpr std::array kImageUrl = {
    required(field("url", kString, "Where the image is, or the image itself as data:image/png;base64,...")),
    field("detail", kString, "How closely it is looked at.", kAnyLow, kAnyHigh,
          R"("type":"string","enum":["auto","low","high","original"])"),
};

constexpr std::string_view kToolTypes = R"("type":"string","enum":["function","custom"])";

// `type` and, by its value, one of the others; so with choices and calls.
constexpr std::array kTool = {
    required(field("type", kString, "Which of the others it has.", kAnyLow, kAnyHigh, kToolTypes)),
    field("function", kObject, "The function.", kAnyLow, kAnyHigh, R"("$ref":"#/components/schemas/Function")"),
    verbatim(NeedKind::kOpenAi, field("custom", kObject, "A tool that takes text and no JSON.")),
};

constexpr std::array kFunction = {
    required(field("name", kString, "How the model calls it.")),
    field("description", kString, "What it does, for the model."),
    field("parameters", kObject, "A JSON Schema of its arguments; it takes none when absent."),
    field("strict", kBoolean, "Whether arguments always match the schema."),
};

constexpr std::array kNamedToolChoice = {
    required(field("type", kString, "Which of the others it has.", kAnyLow, kAnyHigh,
                   R"("type":"string","enum":["function","custom","allowed_tools"])")),
    field("function", kObject, "The one to call.", kAnyLow, kAnyHigh, R"("$ref":"#/components/schemas/FunctionName")"),
    verbatim(NeedKind::kOpenAi, field("custom", kObject, "The custom tool to call.")),
    verbatim(NeedKind::kOpenAi, field("allowed_tools", kObject, "Those of tools that may be called.")),
};

constexpr std::array kFunctionName = {
    required(field("name", kString, "One of the functions in tools.")),
};

constexpr std::array kToolCall = {
    required(field("id", kString, "By which its result names it.")),
    required(field("type", kString, "Which of the others it has.", kAnyLow, kAnyHigh, kToolTypes)),
    field("function", kObject, "What was called.", kAnyLow, kAnyHigh,
          R"("$ref":"#/components/schemas/CalledFunction")"),
    verbatim(NeedKind::kOpenAi, field("custom", kObject, "The custom tool that was called.")),
    accepted("index", kInteger, "Of the stream that it came in; accepted and not used."),
    field("extra_content", kObject, "What came with the call: Gemini wants its google.thought_signature back."),
};

constexpr std::array kCalledFunction = {
    required(field("name", kString, "Of the function.")),
    required(field("arguments", kString, "Its arguments, as the model wrote them.")),
    accepted("parsed_arguments", kAny, "What OpenAI's SDK made of arguments; accepted and not used."),
};

constexpr std::array kResponseFormat = {
    required(field("type", kString, "What the answer is.", kAnyLow, kAnyHigh,
                   R"("type":"string","enum":["text","json_object","json_schema"])")),
    field("json_schema", kObject, "With json_schema only: which.", kAnyLow, kAnyHigh,
          R"("$ref":"#/components/schemas/JsonSchemaFormat")"),
};

constexpr std::array kJsonSchemaFormat = {
    required(field("name", kString, "Of the format.")),
    field("description", kString, "What the format is for."),
    field("schema", kObject, "A JSON Schema."),
    field("strict", kBoolean, "Whether the answer always matches it."),
};

constexpr std::array kStreamOptions = {
    field("include_usage", kBoolean, "End the stream with a chunk that has the usage."),
    verbatim(NeedKind::kOpenAi, field("include_obfuscation", kBoolean, "Hide the lengths of a provider's chunks."),
             "false"),
};

constexpr std::array kGenerationXShoal = {
    needs(NeedKind::kSignals,
          field("signals", kBoolean,
                "Show how sure the model was: x_shoal.signals of the answer, and with logprobs x_shoal of each token."),
          "false"),
    needs(
        NeedKind::kSignals,
        field("p_true", kBoolean,
              "Ask the model after its answer whether that is true: p_true in x_shoal.signals. The answer stays as it "
              "is."),
        "false"),
    needs(NeedKind::kSignals,
          field("hidden_state", kAny,
                "Return the last layer's vector of the last prompt token, in x_shoal.hidden_states.", kAnyLow, kAnyHigh,
                R"("oneOf":[{"type":"boolean"},{"type":"string","enum":["float","base64"]}])"),
          "false"),
};

constexpr std::array kEmbedding = {
    field("model", kString,
          "Name of an embedding model from /v1/models; the server's default embedder when it is absent."),
    required(field(
        "input", kAny, "A text, an array of texts, token ids, or an array of arrays of token ids; at most 2048.",
        kAnyLow, kAnyHigh,
        R"("oneOf":[{"type":"string"},{"type":"array","minItems":1,"maxItems":2048,"items":{"type":"string"}},)"
        R"({"type":"array","minItems":1,"items":{"type":"integer"}},)"
        R"({"type":"array","minItems":1,"maxItems":2048,"items":{"type":"array","minItems":1,"items":{"type":"integer"}}}])")),
    field("encoding_format", kString, "float, or base64 of little-endian 32-bit floats.", kAnyLow, kAnyHigh,
          R"("type":"string","enum":["float","base64"])"),
    field("dimensions", kInteger, "Shorter vectors; only sizes that the model was trained for.", 1, kInt32Max),
    field("user", kString, "The client's own id of its user."),
    field("x_shoal", kObject, "Shoal's own switches; none in this version.", kAnyLow, kAnyHigh,
          R"("type":"object","additionalProperties":false)"),
};

// What score and classify share.
constexpr std::array kLabelling = {
    field("model", kString, "Name of a model from /v1/models; the server's default model when it is absent."),
    field("normalize", kString,
          "What is compared: sum, the log-probability of the whole label (the default); mean, that of a token.",
          kAnyLow, kAnyHigh, R"("type":"string","enum":["sum","mean"])"),
    field("user", kString, "The client's own id of its user."),
    foreign("candidate_labels", "labels"),
    foreign("choices", "labels"),
};

constexpr std::array kScoreOnly = {
    field("prompt", kAny, "A text or token ids, after which the labels stand. This or messages.", kAnyLow, kAnyHigh,
          R"("oneOf":[{"type":"string"},{"type":"array","minItems":1,"items":{"type":"integer"}}])"),
    field("messages", kArray, "A conversation, whose next turn begins with a label. This or prompt.", kAnyLow, kAnyHigh,
          R"("type":"array","minItems":1,"items":{"$ref":"#/components/schemas/Message"})"),
    required(field("labels", kArray, "Texts that may go on after the prompt; all different.", kAnyLow, kAnyHigh,
                   R"("type":"array","minItems":1,"maxItems":256,"items":{"type":"string","minLength":1})")),
    field("calibrate", kString,
          "contextual divides by what the model says without content; none, the default, does not.", kAnyLow, kAnyHigh,
          R"("type":"string","enum":["none","contextual"])"),
    field("content_free", kAny, "The same prompt without its content, of the same kind; with calibrate only.", kAnyLow,
          kAnyHigh,
          R"("oneOf":[{"type":"string"},{"type":"array","minItems":1,"items":{"type":"integer"}},)"
          R"({"type":"array","minItems":1,"items":{"$ref":"#/components/schemas/Message"}}])"),
    foreign("continuations", "labels"),
    foreign("text_1", "prompt"),
    foreign("text_2", "labels"),
    foreign("query", "prompt"),
    foreign("items", "labels"),
};

constexpr std::array kClassifyOnly = {
    required(
        field("input", kAny, "A text, or up to 256 texts.", kAnyLow, kAnyHigh,
              R"("oneOf":[{"type":"string"},{"type":"array","minItems":1,"maxItems":256,"items":{"type":"string"}}])")),
    field("labels", kArray, "The classes; all different. This or task.", kAnyLow, kAnyHigh,
          R"("type":"array","minItems":2,"maxItems":256,"items":{"type":"string","minLength":1})"),
    field("task", kString, "A task that `shoal tune probe` trained; its labels are the classes. This or labels."),
    field("asked", kArray, "With a task of slots: for each input, the slots that the last question was about.", kAnyLow,
          kAnyHigh, R"("type":"array","maxItems":256,"items":{"type":"array","items":{"type":"string"}})"),
    field("instruction", kString, "What to do with the text; a question that lists the labels when absent."),
    field("calibrate", kString,
          "contextual divides by what the model says without content, batch by the mean of at least 10 inputs; none, "
          "the default, by nothing.",
          kAnyLow, kAnyHigh, R"("type":"string","enum":["none","contextual","batch"])"),
    field("content_free", kString, "A text without content; N/A when absent. With calibrate only."),
    foreign("prompt", "input"),
    foreign("text", "input"),
};

constexpr auto kScore = join(kScoreOnly, kLabelling);
constexpr auto kClassify = join(kClassifyOnly, kLabelling);

constexpr std::array kTokenize = {
    field("model", kString, "Name of a model from /v1/models; the server's default model when it is absent."),
    field("prompt", kString, "The text; no part of it is read as a control token. This or messages."),
    field("messages", kArray, "A conversation, through the model's chat template. This or prompt.", kAnyLow, kAnyHigh,
          R"("type":"array","minItems":1,"items":{"$ref":"#/components/schemas/Message"})"),
    field("add_special_tokens", kBoolean,
          "With what the model puts around a prompt, such as its beginning-of-sequence token; true when absent."),
    refused("add_generation_prompt", "true"),
    refused("continue_final_message", "false"),
    refused("return_token_strs", "false"),
    foreign("content", "prompt"),
    foreign("input", "prompt"),
    foreign("add_special", "add_special_tokens"),
};

constexpr std::array kDetokenize = {
    field("model", kString, "Name of a model from /v1/models; the server's default model when it is absent."),
    required(field("tokens", kArray, "Token ids of that model.", kAnyLow, kAnyHigh,
                   R"("type":"array","items":{"type":"integer","minimum":0})")),
    field("skip_special_tokens", kBoolean, "Leave control tokens out instead of spelling them; false when absent."),
};

}  // namespace

std::span<const FieldSpec> chat_fields() {
  return kChat;
}
std::span<const FieldSpec> message_fields() {
  return kMessage;
}
std::span<const FieldSpec> content_part_fields() {
  return kContentPart;
}
std::span<const FieldSpec> image_url_fields() {
  return kImageUrl;
}
std::span<const FieldSpec> tool_fields() {
  return kTool;
}
std::span<const FieldSpec> function_fields() {
  return kFunction;
}
std::span<const FieldSpec> named_tool_choice_fields() {
  return kNamedToolChoice;
}
std::span<const FieldSpec> function_name_fields() {
  return kFunctionName;
}
std::span<const FieldSpec> thinking_block_fields() {
  return kThinkingBlock;
}
std::span<const FieldSpec> tool_call_fields() {
  return kToolCall;
}
std::span<const FieldSpec> called_function_fields() {
  return kCalledFunction;
}
std::span<const FieldSpec> response_format_fields() {
  return kResponseFormat;
}
std::span<const FieldSpec> json_schema_format_fields() {
  return kJsonSchemaFormat;
}
std::span<const FieldSpec> completion_fields() {
  return kCompletion;
}
std::span<const FieldSpec> stream_options_fields() {
  return kStreamOptions;
}
std::span<const FieldSpec> embedding_fields() {
  return kEmbedding;
}
std::span<const FieldSpec> score_fields() {
  return kScore;
}
std::span<const FieldSpec> classify_fields() {
  return kClassify;
}
std::span<const FieldSpec> tokenize_fields() {
  return kTokenize;
}
std::span<const FieldSpec> detokenize_fields() {
  return kDetokenize;
}
std::span<const FieldSpec> generation_x_shoal_fields() {
  return kGenerationXShoal;
}

}  // namespace shoal::wire::openai
