// Model: what the scheduler needs of an engine, without the engine's types. Implemented by
// worker/llama::LlamaModel; tests use a fake. Owned by main. Threads: the compute thread, but interrupt().
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/types/chat.h"

namespace shoal::worker {

struct BatchToken {
  std::int32_t id = 0;
  std::int32_t position = 0;
  std::int32_t sequence = 0;
  bool want_logits = false;
};

enum class DecodeStatus : std::uint8_t {
  kDone,
  kInterrupted,  // interrupt() was called; ask length() what is stored
  kNoRoom,       // the KV cache has no room; nothing was stored
  kFailed,       // ask length() what is stored
};

// How far back shorten() can take a sequence and leave what comes before.
enum class Rewind : std::uint8_t {
  kAnywhere,
  kLastStep,  // a sliding window: what has left it is forgotten
  kNever,     // a recurrent state: each step overwrites it in place, so that no step can be interrupted either
};

struct ModelShape {
  std::uint32_t context_length = 0;   // tokens of KV cache, shared by the sequences
  std::uint32_t sequence_length = 0;  // the longest that one sequence may become: trained, or what the cache gives it
  std::uint32_t sequences = 0;        // that compute at the same time
  std::uint32_t sequence_ids = 0;     // that cells may belong to: 0 .. sequence_ids - 1
  std::int32_t scratch_id = 0;        // one of them, not for requests: heartbeat, warm-up
  std::uint32_t batch_tokens = 0;     // of one decode()
  std::uint32_t batch_logits = 0;     // of them: tokens with want_logits
  std::uint32_t vocabulary = 0;
  std::uint32_t embedding_length = 0;
  std::uint32_t threads = 1;  // that decode() and embed() may use, at most
  bool generates = false;
  bool embeds = false;
  Rewind rewind = Rewind::kAnywhere;
  // What a sequence computed can begin another one. Only with Rewind::kAnywhere, and where it was asked for.
  bool keeps_prefixes = false;
  // All sequences take their cells from one cache of context_length. Otherwise each has its own, which makes every
  // logit independent of the neighbours, bit for bit; or a state in place of cells.
  bool one_cache = false;
  // Sequences may have cells in common: share() copies nothing. Only in one cache, and where prefixes are kept.
  bool shares_cells = false;
};

// KV cells of a sequence outside the cache, bits kept.
struct KvBlob {
  std::int32_t begin = 0;  // positions [begin, end)
  std::int32_t end = 0;
  std::vector<std::uint8_t> bytes;
};

using PromptInput = std::variant<std::vector<types::Message>, std::string, std::vector<std::int32_t>>;

class Model {
 public:
  virtual ~Model() = default;
  [[nodiscard]] virtual const ModelShape& shape() const = 0;

  // The prompt as tokens. `add_special`: with what the model puts around a text (BOS, [CLS]). Text is never read as
  // a control token. Errors: kUnsupportedParameter (no chat template), kInvalidRequest (the template refuses the
  // messages, an id outside the vocabulary).
  [[nodiscard]] virtual Result<std::vector<std::int32_t>> tokenize(const PromptInput& prompt, bool add_special) = 0;
  // Text that goes on where other tokens end: nothing is put before it, no space either.
  [[nodiscard]] virtual std::vector<std::int32_t> continue_with(const std::string& text) = 0;
  // What a conversation has between an answer and the next one, when the user says `text` in between. Errors:
  // kUnsupportedParameter (no chat template), kInvalidRequest (the template refuses such a conversation).
  [[nodiscard]] virtual Result<std::vector<std::int32_t>> next_turn(const std::string& text) = 0;
  // The text of which these are the tokens, byte for byte where the tokenizer keeps all bytes. Control tokens are
  // spelled, or left out. Errors: kInvalidRequest (an id outside the vocabulary).
  [[nodiscard]] virtual Result<std::string> detokenize(std::span<const std::int32_t> tokens, bool skip_special) = 0;
  // Exact bytes; empty for control tokens.
  [[nodiscard]] virtual std::string token_bytes(std::int32_t token) = 0;
  // Tokens that end an answer.
  [[nodiscard]] virtual std::span<const std::int32_t> end_tokens() const = 0;

  // Computes. REQUIRES: 1 <= batch.size() <= shape().batch_tokens, at most shape().batch_logits of them with
  // want_logits.
  [[nodiscard]] virtual DecodeStatus decode(std::span<const BatchToken> batch) = 0;
  // One token alone, which wants logits. On kDone `state` is its hidden state [embedding_length] after the last layer
  // and its norm.
  [[nodiscard]] virtual DecodeStatus decode_with_state(const BatchToken& token, std::vector<float>& state) = 0;
  // Logits [n_vocab] of the token at that index of the last batch, which had want_logits.
  [[nodiscard]] virtual std::span<const float> logits(std::size_t batch_index) = 0;
  // Positions that the KV cache holds of the sequence: 0 .. length - 1.
  [[nodiscard]] virtual std::int32_t length(std::int32_t sequence) = 0;
  // Drops the positions from `length` on. False: this model cannot (shape().rewind), and all of the sequence is gone.
  virtual bool shorten(std::int32_t sequence, std::int32_t length) = 0;
  // `to` gets the cells [begin, end) of `from` in place of its own. False: no room; `to` is as it was, or empty.
  // REQUIRES: shape().keeps_prefixes, `from` holds [0, end), `to` holds [0, begin).
  virtual bool share(std::int32_t from, std::int32_t to, std::int32_t begin, std::int32_t end) = 0;
  // A copy of the cells [begin, length); begin is 0 unless shape().shares_cells.
  [[nodiscard]] virtual std::optional<KvBlob> save(std::int32_t sequence, std::int32_t begin) = 0;
  // Puts them back. False: no room. REQUIRES: `sequence` holds [0, blob.begin) and nothing more.
  [[nodiscard]] virtual bool restore(std::int32_t sequence, const KvBlob& blob) = 0;
  // A token that is safe to decode at position 0, for heartbeat and warm-up.
  [[nodiscard]] virtual std::int32_t any_token() const = 0;

  // One L2-normalised vector [embedding_length] per input, all in one pass. Errors: kCancelled when interrupted,
  // kNumericFault, kInternal. REQUIRES: shape().embeds, at most shape().sequence_ids inputs, none empty, with at most
  // shape().batch_tokens tokens together.
  [[nodiscard]] virtual Result<std::vector<std::vector<float>>> embed(
      std::span<const std::vector<std::int32_t>> inputs) = 0;

  // Called on the compute thread, again and again while decode() or embed() computes: a step of a large model may take
  // minutes on a slow machine. Set once, before the first decode().
  virtual void on_progress(std::function<void()> callback) = 0;

  // Compute on this many threads from the next decode() or embed() on. What is computed stays the same, but for
  // attention that splits the keys of a long context over the threads (f16 with flash attention, from 512 tokens on).
  // REQUIRES: 1 <= threads <= shape().threads.
  virtual void set_threads(std::uint32_t threads) = 0;

  // Makes the decode() or embed() that runs return within about a millisecond, unless shape().rewind is kNever. Any
  // thread.
  virtual void interrupt() = 0;
  // Forgets interrupts that came before.
  virtual void clear_interrupt() = 0;
};

}  // namespace shoal::worker
