// The vocabulary of an answer: tokens with the signals that routing stands on, why an answer ended, and
// what it used. Produced by engine/, printed by wire/. Owned by value. Threads: any, as plain data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace shoal::types {

enum class FinishReason : std::uint8_t {
  kStop,           // end-of-sequence token or a stop string
  kLength,         // max_tokens or the context is used up
  kToolCalls,      // the model wants functions called
  kContentFilter,  // a provider's filter cut it, or the model refused
};

struct TopLogprob {
  std::int32_t id = 0;
  std::string bytes;  // the token's exact bytes, which need not be UTF-8 by themselves
  float logprob = 0;  // natural logarithm
};

// One decoded token. The signals are over the raw logits [n_vocab], before temperature, penalties and
// bias, so they say what the model believed and not how it was sampled.
struct Token {
  std::int32_t id = 0;
  std::string bytes;            // exact bytes; empty for a token that ends the answer
  float logprob = 0;            // of this token, natural logarithm
  float entropy = 0;            // of the distribution, nats
  float margin = 0;             // probability of the best token minus the second best
  float self_certainty = 0;     // KL(uniform || p), nats: log sum exp(l) - mean(l) - log n_vocab
  std::uint32_t decode_us = 0;  // time of the decode step that produced it
  std::vector<TopLogprob> top;  // the best alternatives, in falling order, when asked for
};

// The tokens over which a worst window is taken: about a clause. The shortest answers are one window.
// Sliding windows of token confidence: Fu et al. 2025, "Deep Think with Confidence" (theirs has 1024 and more tokens,
// for answers of tens of thousands).
inline constexpr std::int32_t kSignalWindow = 16;

// One signal over the tokens of an answer. "Worst" is where the model was least sure: the highest entropy, the
// lowest of the others.
struct SignalSummary {
  float mean = 0;
  float worst = 0;
  float worst_window = 0;  // of the means over every kSignalWindow tokens in a row; of all, when there are fewer
};

// What the model believed while it wrote an answer. Over the tokens of the answer, the one that ended it not among
// them; a token that a stop string cut off is.
struct AnswerSignals {
  std::int32_t tokens = 0;  // 0: nothing was generated, and all else is 0
  SignalSummary logprob;
  SignalSummary entropy;
  SignalSummary margin;
  SignalSummary self_certainty;
  // What the model says when it is asked afterwards whether its answer is true: p(True) / (p(True) + p(False)) of the
  // next token. Kadavath et al. 2022, "Language Models (Mostly) Know What They Know". Only when it was asked.
  std::optional<float> p_true;
};

// How probable a model finds a text after a prompt: log p of each of its tokens, given the prompt and those before.
struct LabelLogprobs {
  std::vector<std::int32_t> tokens;
  std::vector<float> logprobs;  // one for each token
};

// In OpenAI's terms: a part is counted in its whole as well. ledger::disjoint() is the other way to say it.
struct Usage {
  std::int32_t prompt_tokens = 0;
  std::int32_t completion_tokens = 0;
  std::int32_t cached_tokens = 0;          // of prompt_tokens: not computed again
  std::int32_t cache_write_5m_tokens = 0;  // of prompt_tokens: kept by the provider for five minutes
  std::int32_t cache_write_1h_tokens = 0;  // of prompt_tokens: for an hour
  std::int32_t reasoning_tokens = 0;       // of completion_tokens: thought, and not shown

  [[nodiscard]] std::int32_t total_tokens() const { return prompt_tokens + completion_tokens; }

  bool operator==(const Usage&) const = default;
};

struct Timings {
  std::uint64_t queue_us = 0;    // admission to first prefill step
  std::uint64_t prefill_us = 0;  // first prefill step to first token
  std::uint64_t decode_us = 0;   // first token to last
};

}  // namespace shoal::types
