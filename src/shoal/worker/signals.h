// Signals: what the model believed about the next token, from its raw logits before temperature, penalties,
// bias and masks. Routing stands on them. Threads: any; pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace shoal::worker {

struct RowSignals {
  std::int32_t best = 0;  // argmax; the lowest index wins a tie
  float max = 0;          // logit of the best
  float log_sum_exp = 0;  // log sum_i exp(l_i); log p_i = l_i - log_sum_exp
  float entropy = 0;      // -sum_i p_i log p_i, nats
  float margin = 0;       // p of the best minus p of the second best

  [[nodiscard]] float logprob(float logit) const { return logit - log_sum_exp; }
};

// Over a row of logits [n_vocab], n_vocab >= 2. Nothing when a logit is NaN or +infinity: the model is broken.
[[nodiscard]] std::optional<RowSignals> measure(std::span<const float> logits);

// The `count` highest (id, logit), in falling order, ties by id.
[[nodiscard]] std::vector<std::pair<std::int32_t, float>> best_of(std::span<const float> logits, std::size_t count);

}  // namespace shoal::worker
