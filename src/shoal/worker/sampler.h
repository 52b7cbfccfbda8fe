// Sampler: chooses the next token of one sequence from its logits. The order is llama.cpp's: logit bias,
// penalties, top-k, top-p, min-p, temperature, draw; so top-p and min-p look at the distribution before
// temperature. Temperature 0 is the argmax after bias and penalties; the lowest id wins a tie.
// Owned by one sequence. Threads: the compute thread.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "shoal/types/chat.h"

namespace shoal::worker {

class Sampler {
 public:
  // `seed` is used when params has none.
  Sampler(const types::SamplingParams& params, std::uint64_t seed);

  // A token of the prompt: counts for the repetition penalty only.
  void accept_prompt(std::int32_t token);
  // A token of the answer: counts for all penalties.
  void accept(std::int32_t token);

  // The next token. `logits` [n_vocab] is left as it is. `forbidden` tokens (the ends, under ignore_eos) are
  // never chosen. `best` is the argmax of the raw row, which saves a pass when nothing changes it.
  [[nodiscard]] std::int32_t choose(std::span<const float> logits, std::span<const std::int32_t> forbidden,
                                    std::int32_t best);

 private:
  using Candidate = std::pair<float, std::int32_t>;  // logit, id

  [[nodiscard]] bool changes_logits() const;
  void adjust(std::vector<float>& logits, std::span<const std::int32_t> forbidden) const;
  [[nodiscard]] static std::int32_t best_allowed(std::span<const float> logits, std::span<const std::int32_t> forbidden,
                                                 std::int32_t best);
  [[nodiscard]] std::vector<Candidate> heavy(std::span<const float> logits, double share, double total) const;
  static void keep_mass(std::vector<Candidate>& all, double share, double total, float max);
  [[nodiscard]] std::vector<Candidate> shortlist(std::span<const float> logits);
  [[nodiscard]] double weigh(std::span<const float> logits, float scale);
  [[nodiscard]] std::int32_t draw_from_all(std::span<const float> logits);
  [[nodiscard]] std::int32_t draw(std::vector<Candidate> candidates);

  types::SamplingParams params_;
  std::mt19937_64 random_;
  std::unordered_map<std::int32_t, std::int32_t> answer_counts_;
  std::unordered_map<std::int32_t, std::int32_t> seen_;  // prompt and answer
  // Reused from token to token.
  std::vector<float> adjusted_;
  std::vector<float> weights_;
  std::vector<double> sums_;  // by kWeightBlock
};

}  // namespace shoal::worker
