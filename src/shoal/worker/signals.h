// Signals: what the model believed about the next token, from its raw logits before temperature, penalties,
// bias and masks. Routing stands on them. One call for each row that a token is chosen from; AnswerSignals are
// made of them in worker/answer_signals.h. Threads: any; pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace shoal::worker {

struct RowSignals {
  std::int32_t best = 0;     // argmax; the lowest index wins a tie
  float max = 0;             // logit of the best
  float log_z = 0;           // log sum_i exp(l_i - max)
  float entropy = 0;         // -sum_i p_i log p_i, nats
  float margin = 0;          // p of the best minus p of the second best
  float self_certainty = 0;  // KL(uniform || p) = log sum_i exp(l_i) - mean(l) - log V, nats: Kang et al. 2025,
                             // "Scalable Best-of-N Selection for Large Language Models via Self-Certainty"

  // Not logit - log_sum_exp: of large logits that difference would lose the digits that matter.
  [[nodiscard]] float logprob(float logit) const {
    return static_cast<float>(static_cast<double>(logit) - static_cast<double>(max) - static_cast<double>(log_z));
  }
};

// Over a row of logits [n_vocab], n_vocab >= 2. Nothing when a logit is NaN or +infinity: the model is broken.
// A logit of -infinity is a token that cannot come; self_certainty leaves it out of the uniform distribution.
[[nodiscard]] std::optional<RowSignals> measure(std::span<const float> logits);

// The loops of measure(), by the instructions that they use. measure() takes the last of those that are here.
enum class SignalKernel : std::uint8_t { kBase, kAvx2, kAvx512 };
[[nodiscard]] std::span<const SignalKernel> signal_kernels();
// REQUIRES: signal_kernels() has it.
[[nodiscard]] std::optional<RowSignals> measure_with(SignalKernel kernel, std::span<const float> logits);

// The index of the largest; the lowest wins a tie. REQUIRES: not empty, no NaN.
[[nodiscard]] std::int32_t argmax(std::span<const float> logits);

// weights[i] = exp((logits[i] - max) * scale), 0 where that is below exp(-87); sums[b] is that of the block b of
// kWeightBlock weights. For a draw: find the block, then the token in it. REQUIRES: no logit above max, scale > 0,
// weights as long as logits, a sum for each block that has begun.
inline constexpr std::size_t kWeightBlock = 1024;
void exp_weights(std::span<const float> logits, float max, float scale, std::span<float> weights,
                 std::span<double> sums);

// The `count` highest (id, logit), in falling order, ties by id.
[[nodiscard]] std::vector<std::pair<std::int32_t, float>> best_of(std::span<const float> logits, std::size_t count);

}  // namespace shoal::worker
