// Frames between the gateway and a worker over an inherited SOCK_STREAM socketpair: a fixed header, then
// a body of at most 1 MiB. Both sides use this file; the decoder trusts nothing (fuzz/ipc_frames.cpp).
// Host byte order: both ends run on one machine. A version mismatch ends the worker at READY.
//
//   gateway -> worker                         worker -> gateway
//   kGenerate   a prompt and how to sample    kReady     the model is loaded, the sandbox closed
//   kEmbed      texts to embed                kAccepted  admitted; prompt tokens counted
//   kScore      labels to score after a prompt  kScored  log-probabilities of the labels
//   kTokenize   text or messages to ids       kToken     one decoded token with its signals
//   kDetokenize ids to text                   kFinished  the answer is complete
//   kCancel     stop computing this request   kEmbedding one vector
//   kCredit     may send n more tokens        kTokens    a part of the ids
//   kPing       decode one token and say so   kText      a part of the text
//   kDrain      finish what runs, then exit   kFailed    this request, with a code of error.def
//   kLease      compute on so many threads    kLeaseHeld computes on fewer than before
//                                             kPong, kStats
// A worker that was started for one task (TaskArgs in worker_args.h) takes no frames and sends kTaskProgress, then
// kRewritten or kCompared, or kFailed.
//
// Threads: encode and decode are pure; a FrameReader belongs to one reader.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/types/chat.h"
#include "shoal/types/completion.h"
#include "shoal/types/kv_type.h"

namespace shoal::ipc {

inline constexpr std::uint16_t kProtocolVersion = 8;
inline constexpr std::uint32_t kMaxBodyBytes = 1U << 20;
inline constexpr std::size_t kMaxLabels = 256;

enum class FrameType : std::uint16_t {
  kGenerate = 1,
  kEmbed = 2,
  kCancel = 3,
  kCredit = 4,
  kPing = 5,
  kDrain = 6,
  kTokenize = 7,
  kDetokenize = 8,
  kLease = 9,
  kScore = 10,
  kReady = 32,
  kAccepted = 33,
  kToken = 34,
  kFinished = 35,
  kEmbedding = 36,
  kFailed = 37,
  kPong = 38,
  kStats = 39,
  kTokens = 40,
  kText = 41,
  kLeaseHeld = 42,
  kScored = 43,
  kHiddenState = 44,
  kTaskProgress = 64,
  kRewritten = 65,
  kCompared = 66,
};

struct FrameHeader {
  std::uint32_t body_bytes = 0;
  FrameType type = FrameType::kPing;
  std::uint16_t version = kProtocolVersion;
  std::uint64_t request = 0;     // chosen by the gateway, never reused; 0: about the worker itself
  std::int64_t deadline_ns = 0;  // CLOCK_MONOTONIC; INT64_MAX: never
};
static_assert(sizeof(FrameHeader) == 24);

// --- gateway to worker

struct Generate {
  std::uint64_t principal = 0;
  std::uint32_t credits = 0;     // tokens the worker may send before it needs kCredit; flow control per request
  std::int32_t max_tokens = -1;  // -1: to the end of the context
  std::int32_t top_logprobs = 0;
  bool ignore_eos = false;
  bool p_true = false;        // ask the model afterwards; Finished.signals.p_true
  bool hidden_state = false;  // send kHiddenState before the first token
  bool streams = false;       // tokens go out as they come; else the worker may collect them for some milliseconds
  types::SamplingParams sampling;
  std::vector<std::string> stop;
  std::variant<std::vector<types::Message>, std::string, std::vector<std::int32_t>> prompt;
};
struct Embed {
  std::uint64_t principal = 0;
  std::vector<std::variant<std::string, std::vector<std::int32_t>>> inputs;
};
// How probable each label is after the prompt. A label is read as text that goes on where the prompt ends: the tokens
// of the prompt are those that it has alone.
struct Score {
  std::uint64_t principal = 0;
  std::vector<std::string> labels;  // at most kMaxLabels, none empty
  std::variant<std::vector<types::Message>, std::string, std::vector<std::int32_t>> prompt;
};
// As a request with this prompt would be read: messages through the chat template. Never parses text as control
// tokens.
struct Tokenize {
  bool add_special = true;  // what the model puts around a text: BOS, [CLS]; messages have theirs from the template
  std::variant<std::vector<types::Message>, std::string> input;
};
struct Detokenize {
  bool skip_special = false;  // leave control tokens out instead of spelling them
  std::vector<std::int32_t> tokens;
};
struct Cancel {};
struct Credit {
  std::uint32_t tokens = 0;
};
struct Ping {};
struct Drain {};
// From the next step on, compute on this many threads. 0: on none after the step that runs; frames are handled all
// the same. Until the first of them a worker may use all that it was started with.
struct Lease {
  std::uint32_t threads = 0;
  std::uint64_t number = 0;  // of this lease, counted from 1
};

// --- worker to gateway

struct Ready {
  std::string cpu_backend;            // ggml's variant: "zen4"
  std::string sandbox;                // what was closed, in words
  std::uint32_t context_length = 0;   // tokens of KV cache, shared by the slots
  std::uint32_t sequence_length = 0;  // that a prompt and its answer may have together
  std::uint32_t slots = 0;
  std::uint32_t vocabulary = 0;
  std::uint32_t embedding_length = 0;
  types::KvType kv_type = types::KvType::kF16;
  std::uint64_t load_us = 0;  // exec to READY, as the worker saw it
  bool exact = false;         // answers do not depend on what is computed beside or was before
  bool keeps_prefixes = false;
};
struct Accepted {
  std::int32_t prompt_tokens = 0;
};
struct TokenFrame {
  types::Token token;
  std::string text;  // whole UTF-8 characters that this token releases; see engine::TokenEvent
};
struct Finished {
  types::FinishReason reason = types::FinishReason::kStop;
  std::string text;  // what was still held back
  types::Usage usage;
  types::Timings timings;
  types::AnswerSignals signals;
};
struct Scored {
  types::Usage usage;  // completion_tokens: those of the labels
  std::vector<types::LabelLogprobs> labels;
};
// Of the last token of the prompt, after the last layer and its norm: what the next token is chosen from.
struct HiddenState {
  std::vector<float> values;
};
struct Embedding {
  std::uint32_t index = 0;    // of the input
  std::int32_t tokens = 0;    // of that input
  bool last = false;          // the request is complete
  std::vector<float> values;  // [embedding_length], L2-normalised
};
// The answer to kTokenize and kDetokenize comes in parts, each within a frame's limit.
struct Tokens {
  bool last = false;
  bool lossless = false;  // the ids spell the whole text again
  std::vector<std::int32_t> ids;
};
struct Text {
  bool last = false;
  std::string bytes;  // need not be UTF-8
};
struct Failed {
  base::ErrorCode code = base::ErrorCode::kInternal;
  std::string message;
  std::string param;
};
struct Pong {};
// Sent at the end of a step when what the worker computes on became less: by a lease, or because it has nothing to
// compute. What it gave back by itself it uses again only after another lease.
struct LeaseHeld {
  std::uint32_t threads = 0;
  std::uint64_t number = 0;  // of the last lease that it had read then
};
// What was computed for requests, and in what time, since the worker began: for rates over the time that it worked.
// A step that computes any token of a prompt counts as prefill, whole.
struct Work {
  std::uint64_t decode_steps = 0;
  std::uint64_t decode_tokens = 0;
  std::uint64_t decode_cells = 0;  // of the KV cache, attended to
  std::uint64_t decode_ns = 0;
  std::uint64_t prefill_tokens = 0;
  std::uint64_t prefill_ns = 0;
};
// Sent while the worker computes for requests, at least 250 ms after the last one: progress for the watchdog.
struct Stats {
  std::uint64_t work = 0;  // grows with every node of a graph that is computed for a request; not with heartbeats
  std::uint64_t tokens_decoded = 0;
  std::uint32_t running = 0;
  std::uint32_t queued = 0;
  std::uint32_t kv_used = 0;     // cells, reserved or kept
  std::uint32_t kv_kept = 0;     // of them: with prefixes that no request holds
  std::uint64_t cold_bytes = 0;  // prefixes outside the cache
  std::uint64_t evictions = 0;   // prefixes that lost their cells
  std::uint64_t tokens_prefilled = 0;
  Work done{};
};

// Of a task: bytes or tokens.
struct TaskProgress {
  std::uint64_t done = 0;
  std::uint64_t total = 0;
};
struct Rewritten {
  std::uint64_t bytes = 0;  // of the new file
  std::uint32_t changed = 0;
  std::uint32_t kept = 0;  // tensors
};
// Next-token distributions of two models over the same text.
struct Compared {
  std::uint64_t tokens = 0;
  double kl = 0;         // mean of KL(source || candidate), nats
  double agreement = 0;  // share of positions with the same best token, [0, 1]
  double source_perplexity = 0;
  double perplexity = 0;  // of the candidate
};

using Body = std::variant<Generate, Embed, Score, Tokenize, Detokenize, Cancel, Credit, Ping, Drain, Lease, Ready,
                          Accepted, TokenFrame, Finished, Scored, HiddenState, Embedding, Tokens, Text, Failed, Pong,
                          Stats, LeaseHeld, TaskProgress, Rewritten, Compared>;

struct Frame {
  FrameHeader header;
  Body body;
};

// The frame as bytes, ready to write. Errors: kInvalidRequest when the body exceeds kMaxBodyBytes.
[[nodiscard]] Result<std::string> encode(std::uint64_t request, std::int64_t deadline_ns, const Body& body);

// Appends to `out`; for the hot path (tokens), where the buffer is reused. Errors: as encode().
[[nodiscard]] Result<void> encode_to(std::string& out, std::uint64_t request, std::int64_t deadline_ns,
                                     const Body& body);

// Cuts a byte stream into frames. Feed bytes as they come; take frames until there are none.
class FrameReader {
 public:
  void feed(std::span<const char> bytes);
  // A frame, nothing yet (ok, empty optional), or kInvalidRequest: the stream is broken for good.
  [[nodiscard]] Result<std::optional<Frame>> next();

 private:
  std::string buffer_;
  std::size_t consumed_ = 0;
};

}  // namespace shoal::ipc
