#include "shoal/worker/step_budget.h"

#include <algorithm>

namespace shoal::worker {
namespace {

double learn(double known, double seen, double weight) {
  return known == 0 ? seen : known + (seen - known) * weight;
}

// The cost of a prompt token grows with the depth of the context.
constexpr double kLast = 0.5;
// The gap is set by steps without a prompt, and while one is computed there are none that could correct it. So one that
// was disturbed says little.
constexpr double kLastSlow = 0.125;

}  // namespace

std::size_t StepBudget::prompt_tokens(std::size_t decoding) const {
  const std::size_t limit = most_ > decoding ? most_ - decoding : 0;
  const std::size_t floor = std::min(kFloorTokens, limit);
  const double token_ns = decoding == 0 || prompt_ns_ == 0 ? alone_ns_ : prompt_ns_;
  if (token_ns == 0) return decoding == 0 ? std::min(kFirstTokens, limit) : floor;  // not known yet: careful
  const double gap_ns =
      std::clamp(kSlowdown * decode_ns_, static_cast<double>(kGapNs), static_cast<double>(kMostGapNs));
  const double left_ns = decoding == 0 ? static_cast<double>(kAloneNs) : gap_ns - decode_ns_;
  return std::clamp(static_cast<std::size_t>(std::max(0.0, left_ns / token_ns)), floor, limit);
}

void StepBudget::observe(std::size_t prompt_tokens, std::size_t decoding, std::int64_t step_ns) {
  const auto step = static_cast<double>(step_ns);
  if (prompt_tokens == 0) {
    decode_ns_ = learn(decode_ns_, step, step > decode_ns_ ? kLastSlow : kLast);
    return;
  }
  if (decoding == 0) {
    // What a token costs in a short step says nothing about a long one.
    if (prompt_tokens >= std::min(kFirstTokens, this->prompt_tokens(0)))
      alone_ns_ = learn(alone_ns_, step / static_cast<double>(prompt_tokens), kLast);
    return;
  }
  const double prompt = std::max(step - decode_ns_, step / 4);
  // A few tokens cost nearly a step of their own and say little about a chunk.
  if (prompt_tokens >= kFloorTokens || prompt_ns_ == 0)
    prompt_ns_ = learn(prompt_ns_, prompt / static_cast<double>(prompt_tokens), kLast);
}

}  // namespace shoal::worker
