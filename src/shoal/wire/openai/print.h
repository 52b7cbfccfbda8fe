// The OpenAI dialect, outward: answers, stream chunks, models and errors as JSON text. Everything appends to
// a string that the caller owns and reuses; nothing builds a document, because the token stream is hot.
// Threads: any; as plain data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/base/error.h"
#include "shoal/types/chat.h"
#include "shoal/types/completion.h"
#include "shoal/types/model.h"
#include "shoal/types/remote.h"
#include "shoal/types/route.h"
#include "shoal/types/score.h"
#include "shoal/wire/openai/answer_kind.h"

namespace shoal::wire::openai {

// What is the same in a whole answer and in each of its chunks.
struct AnswerHead {
  AnswerKind kind = AnswerKind::kChat;
  std::string id;            // "chatcmpl-..." or "cmpl-..."
  std::int64_t created = 0;  // Unix seconds
  std::string model;
};

// How the answer came about: `usage` and `x_shoal`. Lives while it is printed.
struct AnswerFacts {
  const types::Receipt& receipt;
  std::span<const types::AnswerSignals> signals{};      // by answer; shown when there are any
  std::span<const std::vector<float>> hidden_states{};  // by prompt; shown when there are any
  bool base64 = false;                                  // how to show them
};

// What is shown of each token.
struct TokenDetail {
  bool logprobs = false;
  bool signals = false;  // beside the log-probability
};

struct Choice {
  std::string text;
  types::FinishReason reason = types::FinishReason::kStop;
  std::vector<types::Token> tokens;  // used when log-probabilities were asked for
  // Of chats only, from elsewhere.
  std::string reasoning{};
  std::vector<types::ThinkingBlock> thinking_blocks{};
  std::string refusal{};
  std::vector<types::ToolCall> tool_calls{};
};

// A whole answer as it was read from a provider. REQUIRES: it came to its end.
[[nodiscard]] Choice choice_of(const types::AnswerDelta& answer);

// A whole answer: "chat.completion" or "text_completion".
void append_answer(std::string& out, const AnswerHead& head, std::span<const Choice> choices, TokenDetail detail,
                   const AnswerFacts& facts);

// The value of `x_shoal`: the receipt, as an object.
void append_x_shoal_value(std::string& out, const AnswerFacts& facts);

// The chunks of one stream, each one JSON object without a line end. Owned by the stream.
class ChunkPrinter {
 public:
  // `usage_chunk`: stream_options.include_usage, which also puts "usage":null on all chunks before the last.
  ChunkPrinter(AnswerHead head, std::size_t answers, TokenDetail detail, bool usage_chunk);

  // Chat only: the first chunk of an answer, with the role.
  void append_role(std::string& out, std::size_t index) const;
  // A piece of text; `token` is read when log-probabilities were asked for.
  void append_piece(std::string& out, std::size_t index, std::string_view text, const types::Token* token);
  // A piece that came from elsewhere, of any kind, and the finish_reason if it has one; the role went out before.
  void append_delta(std::string& out, const types::AnswerDelta& delta) const;
  // The chunk with finish_reason. `facts` on the last of the stream: `x_shoal`.
  void append_finish(std::string& out, std::size_t index, types::FinishReason reason, const AnswerFacts* facts) const;
  // The chunk without choices, after the last.
  void append_usage(std::string& out, const types::Usage& usage) const;

 private:
  void open(std::string& out, std::size_t index) const;
  void close(std::string& out) const;

  std::string prefix_;  // up to "choices":
  AnswerKind kind_;
  std::vector<std::size_t> text_offsets_;  // characters printed so far, by answer
  TokenDetail detail_;
  bool usage_chunk_;
};

// {"object":"list","data":[...]}: call open, each vector in order, close. One at a time, so that the caller
// can let others run between them.
void append_embeddings_open(std::string& out);
void append_embedding(std::string& out, std::size_t index, std::span<const float> values, bool base64);
void append_embeddings_close(std::string& out, std::string_view model, const types::Usage& usage);

// What is the same of all lists of scores.
struct ScoreHead {
  std::string id;
  std::int64_t created = 0;
  std::string model;
};
// {"object":"list","data":[{"object":"score","label","logprob","probability","tokens","token_logprobs"}]}
void append_scores(std::string& out, const ScoreHead& head, std::span<const std::string> labels,
                   std::span<const types::LabelScore> scores, const types::Usage& usage);
// vLLM's shape of a classification, with the order of its probs, the log-probabilities and the margin: one entry for
// each input.
void append_classes(std::string& out, const ScoreHead& head, std::span<const std::string> labels,
                    std::span<const std::vector<types::LabelScore>> inputs, const types::Usage& usage);

// {"count","max_model_len","model","lossless","tokens"}
void append_tokens(std::string& out, std::string_view model, std::span<const std::int32_t> tokens,
                   std::uint32_t context_length, bool lossless);
// {"model","prompt"}, and "bytes" when they are not UTF-8, which the text then shows as U+FFFD.
void append_detokenized(std::string& out, std::string_view model, std::string_view bytes);

struct ModelEntry {
  types::ModelInfo info;
  types::ModelState state = types::ModelState::kStopped;
  std::string reason;
  std::uint32_t context_length = 0;  // of the running worker; 0: of the training
};
void append_model(std::string& out, const ModelEntry& entry);
void append_model(std::string& out, const types::OtherModel& other);
void append_models(std::string& out, std::span<const ModelEntry> entries, std::span<const types::OtherModel> others);

// {"error":{"message","type","param","code"}} and, in it, did_you_mean when there is a suggestion.
void append_error(std::string& out, const Error& error);

[[nodiscard]] std::string_view state_name(types::ModelState state);
[[nodiscard]] std::string_view finish_name(types::FinishReason reason);

}  // namespace shoal::wire::openai
