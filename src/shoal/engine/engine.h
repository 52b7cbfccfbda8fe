// Engine: the gateway's view of local inference. A request goes in, tokens come out as they are decoded;
// where the model runs, when its worker starts or dies and who shares its batch is behind this line.
// Implemented by engine::Supervisor (worker processes); tests use a fake.
// Owned by cli/'s App; callers hold references. Threads: the I/O thread of the io_context it was made
// with; every call that takes a Yield suspends the calling coroutine and never blocks the thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <variant>
#include <vector>

#include "shoal/base/async.h"
#include "shoal/base/clock.h"
#include "shoal/base/result.h"
#include "shoal/engine/work_rates.h"
#include "shoal/types/chat.h"
#include "shoal/types/completion.h"
#include "shoal/types/model.h"

namespace shoal::engine {

// What to continue: messages through the model's chat template, plain text, or token ids.
struct Prompt {
  std::variant<std::vector<types::Message>, std::string, std::vector<std::int32_t>> input;
};

struct GenerateRequest {
  std::string model;            // a name that models() lists
  std::uint64_t principal = 0;  // who asks: fair queueing and, later, the salt of the prefix cache; 0: anonymous
  base::Deadline deadline;
  std::stop_token cancel;  // here and below: once requested, on the I/O thread, the work ends with kCancelled
  Prompt prompt;
  types::SamplingParams sampling;
  std::optional<std::int32_t> max_tokens;  // none: to the end of the context
  std::vector<std::string> stop;
  std::int32_t top_logprobs = 0;
  bool ignore_eos = false;
  bool p_true = false;        // ask the model afterwards whether its answer is true: FinishEvent.signals.p_true
  bool hidden_state = false;  // FinishEvent.hidden_state
  bool streams = false;       // somebody reads along; else tokens may come some milliseconds late, several at once
};

// One piece of an answer.
struct TokenEvent {
  types::Token token;
  // The text that this token releases: whole UTF-8 characters only, and nothing that could still turn
  // out to be part of a stop string. The concatenation over all events is the answer.
  std::string text;
};
struct FinishEvent {
  types::FinishReason reason = types::FinishReason::kStop;
  std::string text;  // what was still held back; empty when a stop string matched
  types::Usage usage;
  types::Timings timings;
  bool exact = false;  // the worker's mode: what was computed beside it, or before, made no difference
  types::AnswerSignals signals;
  std::vector<float> hidden_state;  // [embedding_length] of the last prompt token, when asked for
};
using GenerateEvent = std::variant<TokenEvent, FinishEvent>;

// A running answer. Destroying it, or requesting the stop of its request's `cancel`, cancels: the worker stops
// computing within milliseconds, in prefill too.
class Generation {
 public:
  virtual ~Generation() = default;
  // Tokens of the whole prompt, template included. Known once start() has returned.
  [[nodiscard]] virtual std::int32_t prompt_tokens() const = 0;
  // The next event, in order, or nothing when `wake` passes first (time for a ping; call again). After a
  // FinishEvent or an Error there is no other.
  // Errors: kWorkerCrashed within 100 ms of the crash, kDeadlineExceeded, kCancelled, kNumericFault.
  virtual Result<std::optional<GenerateEvent>> next(base::Yield yield, base::Deadline wake) = 0;
};

struct EmbedRequest {
  std::string model;
  std::uint64_t principal = 0;
  base::Deadline deadline;
  std::stop_token cancel;
  std::vector<std::variant<std::string, std::vector<std::int32_t>>> inputs;
};
struct EmbedResult {
  std::vector<std::vector<float>> embeddings;  // [n_inputs][embedding_length], L2-normalised
  types::Usage usage;
};

struct ScoreRequest {
  std::string model;
  std::uint64_t principal = 0;
  base::Deadline deadline;
  std::stop_token cancel;
  Prompt prompt;
  std::vector<std::string> labels;  // 1 to 256, none empty: texts that go on where the prompt ends
};
struct ScoreResult {
  std::vector<types::LabelLogprobs> labels;  // in the order of the request; none without tokens
  types::Usage usage;                        // completion_tokens: those of the labels
};

struct TokenizeRequest {
  std::string model;
  base::Deadline deadline;
  std::stop_token cancel;
  std::variant<std::vector<types::Message>, std::string> input;
  bool add_special = true;  // with what the model puts around a text (BOS, [CLS]); messages have the template's own
};
struct TokenizeResult {
  std::vector<std::int32_t> tokens;
  std::uint32_t context_length = 0;  // tokens that a prompt and its answer may have together
  bool lossless = true;              // false: the vocabulary has no token for some byte of the text, or its tokenizer
                                     // changes texts (upper case, spaces)
};
struct DetokenizeRequest {
  std::string model;
  base::Deadline deadline;
  std::stop_token cancel;
  std::vector<std::int32_t> tokens;
  bool skip_special = false;  // leave control tokens out instead of spelling them
};

// A worker as `shoal ps` and /v1/models show it.
struct WorkerStatus {
  std::string model;
  types::ModelState state = types::ModelState::kStopped;
  std::string reason;                 // why it failed, or is loading; empty otherwise
  std::int32_t pid = 0;               // 0: no process
  std::uint32_t context_length = 0;   // tokens of KV cache shared by its slots
  std::uint32_t sequence_length = 0;  // that a prompt and its answer may have together
  std::uint32_t slots = 0;
  std::uint32_t threads = 0;  // that it may compute on at this moment; 0: it computes nothing, or waits for cores
  std::uint32_t running = 0;  // requests in the batch
  std::uint32_t queued = 0;
  std::uint64_t predicted_bytes = 0;
  std::uint64_t resident_bytes = 0;
  std::uint64_t restarts = 0;
  std::uint64_t tokens_decoded = 0;
  double tokens_per_second = 0;  // over the last ten seconds in which it decoded
  std::uint32_t kv_used = 0;     // cells of the cache, by requests or kept prefixes, as last reported
  Rates rates;                   // while it computes
  Demand demand;                 // what those rates ask of the machine
  std::int64_t idle_ms = 0;
  std::string sandbox;      // "landlock abi 7 + seccomp", "none (allowed by config)"
  std::string kv_type;      // of the cache: "f16"; empty: no worker, or one without a cache
  std::string cpu_backend;  // the ggml variant that was chosen: "zen4"
};

class Engine {
 public:
  virtual ~Engine() = default;

  // Every model that could answer, loaded or not; from memory, never blocks.
  [[nodiscard]] virtual std::vector<types::ModelInfo> models() const = 0;
  // The model that a name means, aliases included. Errors: kModelNotFound (with suggestion).
  [[nodiscard]] virtual Result<types::ModelInfo> resolve(const std::string& name) const = 0;
  [[nodiscard]] virtual std::vector<WorkerStatus> status() const = 0;

  // Starts the worker when none runs, waits for its READY and admits the request. On return the prompt
  // is tokenised and known to fit. Errors: kModelNotFound (with suggestion), kContextLengthExceeded
  // (both numbers), kInsufficientMemory (numbers), kOverloaded, kModelFailed, kModelInvalid,
  // kSandboxUnavailable, kWorkerCrashed, kShuttingDown, kDeadlineExceeded, kCancelled, kUnsupportedParameter.
  virtual Result<std::unique_ptr<Generation>> start(GenerateRequest request, base::Yield yield) = 0;

  // Errors: as start(), and kUnsupportedParameter when the model does not embed.
  virtual Result<EmbedResult> embed(EmbedRequest request, base::Yield yield) = 0;

  // Log p of each label after the prompt, which is computed once. Errors: as start(), and kInvalidRequest for a label
  // that has no tokens.
  virtual Result<ScoreResult> score(ScoreRequest request, base::Yield yield) = 0;

  // Exactly the tokens that a request with this input has; nothing in a text becomes a control token. Errors: as
  // start(), and kPayloadTooLarge for more than fits a frame (1 MiB).
  virtual Result<TokenizeResult> tokenize(TokenizeRequest request, base::Yield yield) = 0;
  // The bytes of the tokens, which need not be UTF-8 when a character is spread over tokens that are not all there.
  // Errors: as tokenize(), and kInvalidRequest for an id outside the vocabulary.
  virtual Result<std::string> detokenize(DetokenizeRequest request, base::Yield yield) = 0;

  // Loads a model without a request, for warm-up. Errors: as start().
  virtual Result<void> load(const std::string& model, base::Yield yield) = 0;
};

}  // namespace shoal::engine
