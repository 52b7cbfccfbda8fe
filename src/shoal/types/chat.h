// The vocabulary of a request: what a client asks for, in no dialect. wire/ parses into these types and
// prints from them; gateway/ and engine/ carry them; nothing here knows JSON or HTTP.
// Owned by value. Threads: any, as plain data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace shoal::types {

enum class Role : std::uint8_t { kSystem, kUser, kAssistant, kTool };

// A function that the model wants to be called.
struct ToolCall {
  std::string id;
  std::string name;
  std::string arguments;  // as the model wrote them: meant to be the text of a JSON object
  // Gemini's, over the thoughts that led to the call: it wants it back with the call. Empty: none.
  std::string thought_signature{};

  bool operator==(const ToolCall&) const = default;
};

// A thought that its provider signed, so that it can be given back. Anthropic wants those of the last turn back, as
// they were, before the calls that they led to.
struct ThinkingBlock {
  std::string thinking;  // may be empty: the provider shows none of it
  std::string signature;
  std::string redacted;  // in place of both: a thought that the provider alone can read

  bool operator==(const ThinkingBlock&) const = default;
};

// One part of a message that is not text alone.
struct ContentPart {
  enum class Kind : std::uint8_t { kText, kImage };
  Kind kind = Kind::kText;
  std::string text;
  std::string media_type;  // of an image in `data`: "image/png"
  std::string data;        // base64
  std::string url;         // in place of data
  std::string detail;      // "auto", "low", "high"; empty: not said

  bool operator==(const ContentPart&) const = default;
};

struct Message {
  Role role = Role::kUser;
  std::string content;                           // UTF-8; the text parts, joined
  std::string name;                              // empty: none
  std::vector<ContentPart> parts{};              // all of them in order, when one is no text; else empty
  std::vector<ToolCall> tool_calls{};            // of an assistant
  std::vector<ThinkingBlock> thinking_blocks{};  // of an assistant
  std::string tool_call_id{};                    // of a tool: whose result `content` is

  bool operator==(const Message&) const = default;
};

// A function that the model may call.
struct Tool {
  std::string name;
  std::string description;
  std::string parameters;      // text of a JSON Schema; empty: it takes none
  std::optional<bool> strict;  // arguments match the schema, always
};

struct ToolChoice {
  enum class Kind : std::uint8_t { kAuto, kNone, kRequired, kNamed };
  Kind kind = Kind::kAuto;
  std::string name;  // kNamed
};

struct ResponseFormat {
  enum class Kind : std::uint8_t { kText, kJsonObject, kJsonSchema };
  Kind kind = Kind::kText;
  std::string name;  // kJsonSchema, here and below
  std::string description;
  std::string schema;  // text of a JSON Schema
  std::optional<bool> strict;
};

// What a request asks for that not every model can do. A candidate that cannot falls out of the route.
enum class NeedKind : std::uint8_t {
  kTools,
  kImages,
  kAudio,
  kStructured,  // JSON, or JSON of a schema
  kReasoning,   // an effort, a verbosity
  kSignals,     // what only Shoal's own engine has: signals, P(True), hidden states, token ids
  kPaid,        // has a price of its own: web search, predicted outputs, another service tier
  kStored,      // the answer is to be kept by the provider
  kOpenAi,      // said by the client's own bytes alone, no field here holds it: only for OpenAI's dialect
};
struct Need {
  NeedKind kind = NeedKind::kTools;
  std::string param;  // the parameter that asks for it: "tools"

  bool operator==(const Need&) const = default;
};

// How the next token is chosen. Defaults are OpenAI's: temperature 1, everything else off.
struct SamplingParams {
  float temperature = 1.0F;                                // [0, 2]; 0 is greedy
  float top_p = 1.0F;                                      // (0, 1]
  std::int32_t top_k = 0;                                  // 0: off
  float min_p = 0.0F;                                      // [0, 1]
  float presence_penalty = 0.0F;                           // [-2, 2]
  float frequency_penalty = 0.0F;                          // [-2, 2]
  float repetition_penalty = 1.0F;                         // (0, 2]; 1: off
  std::optional<std::uint64_t> seed;                       // none: fresh randomness per request
  std::vector<std::pair<std::int32_t, float>> logit_bias;  // token id, bias in [-100, 100]

  // What the client gave, were it a default of ours: a provider's may be another.
  struct Given {
    bool temperature = false;
    bool top_p = false;
    bool top_k = false;
  };
  Given given{};
};

// What both generation endpoints share.
struct GenerationParams {
  SamplingParams sampling;
  std::optional<std::int32_t> max_tokens;  // none: to the end of the context
  std::vector<std::string> stop;           // at most 16, none empty
  std::int32_t n = 1;                      // answers per prompt, [1, 16]
  bool ignore_eos = false;                 // go on past the end-of-sequence token
  bool logprobs = false;                   // report the log-probability of each chosen token
  std::int32_t top_logprobs = 0;           // alternatives per token, [0, 20]
  bool stream = false;
  bool include_usage = false;  // stream_options.include_usage
  bool signals = false;        // x_shoal.signals: show AnswerSignals, and each token's with logprobs
  bool p_true = false;         // x_shoal.p_true: ask the model afterwards whether its answer is true
  bool hidden_state = false;   // x_shoal.hidden_state: the vector of the last prompt token
  bool hidden_base64 = false;  // as base64 of float32 and not as numbers
};

struct ChatRequest {
  std::string model;  // empty: the configured default
  std::vector<Message> messages;
  GenerationParams params;
  std::vector<Tool> tools;
  std::optional<ToolChoice> tool_choice;
  std::optional<bool> parallel_tool_calls;
  ResponseFormat format;
  std::string reasoning_effort;  // "low", "medium", "high", ...; empty: not said
  std::vector<Need> needs;
  std::string user;  // the client's own end-user id, for the ledger; empty: none
};

struct CompletionRequest {
  std::string model;
  // Each prompt is text or token ids.
  struct Prompt {
    std::string text;
    std::vector<std::int32_t> tokens;  // used when not empty
  };
  std::vector<Prompt> prompts;
  GenerationParams params;
  std::vector<Need> needs;
  bool echo = false;  // repeat the prompt before the answer
  std::string user;
};

struct EmbeddingRequest {
  std::string model;
  struct Input {
    std::string text;
    std::vector<std::int32_t> tokens;  // used when not empty
  };
  std::vector<Input> inputs;
  std::optional<std::int32_t> dimensions;
  bool base64 = false;  // encoding_format
  std::string user;
};

struct TokenizeRequest {
  std::string model;
  std::variant<std::vector<Message>, std::string> input;
  bool add_special_tokens = true;
};

struct DetokenizeRequest {
  std::string model;
  std::vector<std::int32_t> tokens;
  bool skip_special_tokens = false;
};

}  // namespace shoal::types
