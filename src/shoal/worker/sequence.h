// Sequence: one answer that holds a place in the batch. Plain state; the scheduler moves it along.
// Owned by the scheduler. Threads: the compute thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "shoal/base/clock.h"
#include "shoal/types/completion.h"
#include "shoal/worker/answer_signals.h"
#include "shoal/worker/label_job.h"
#include "shoal/worker/ngram_draft.h"
#include "shoal/worker/sampler.h"
#include "shoal/worker/text_release.h"
#include "shoal/worker/truth_probe.h"

namespace shoal::worker {

struct PrefixNode;

struct Sequence {
  std::uint64_t request = 0;
  std::uint64_t principal = 0;
  std::int32_t number = 0;  // in the KV cache and the batch
  base::Deadline deadline;
  std::vector<std::int32_t> tokens;  // prompt, then answer
  std::int32_t prompt_tokens = 0;
  std::int32_t stored = 0;      // of tokens: in the KV cache
  std::int32_t cached = 0;      // of the prompt: taken over, not computed for this request
  PrefixNode* place = nullptr;  // where the prompt ends; KvCache's
  std::int32_t max_tokens = 0;  // of the answer
  std::int32_t more_cells = 0;  // for labels, or for the question after the answer
  std::int32_t generated = 0;
  std::uint32_t reserved = 0;  // KV cells of its own
  std::uint32_t credits = 0;   // tokens that may still be sent
  std::int32_t top_logprobs = 0;
  bool ignore_eos = false;
  bool streams = false;              // its tokens are read as they come
  bool wants_state = false;          // the hidden state of the last prompt token; false once it was sent
  std::unique_ptr<LabelJob> labels;  // a Score request: no answer, but these
  std::optional<TruthProbe> probe;
  NgramDraft draft;
  std::size_t guess_length = 4;       // at most, in one step; follows how many were right
  std::vector<std::int32_t> guesses;  // in the step at hand, after the last token
  Sampler sampler;
  TextRelease text;
  AnswerMeter meter;
  double fair_tag = 0;  // FairQueue's
  std::int64_t arrived_ns = 0;
  std::int64_t started_ns = 0;
  std::int64_t first_token_ns = 0;
  std::int64_t last_token_ns = 0;

  Sequence(const types::SamplingParams& params, std::uint64_t seed, std::vector<std::string> stops)
      : sampler(params, seed), text(std::move(stops)) {}

  [[nodiscard]] std::int32_t pending() const { return static_cast<std::int32_t>(tokens.size()) - stored; }
  [[nodiscard]] bool prefilling() const { return stored < prompt_tokens || pending() > 1; }
  // The labels are computed, from the prompt's cells on.
  [[nodiscard]] bool labelling() const { return labels && labels->begun(); }
  // The last token of the prompt is next, and is to be computed alone.
  [[nodiscard]] bool state_is_next() const { return wants_state && stored == prompt_tokens - 1; }
};

}  // namespace shoal::worker
