// StepBudget: how many prompt tokens go into the next step. Beside answers that are being written, as many as keep
// the step within the gap that a reader may notice; alone, as many as a newcomer may wait for. Learned from the steps
// before, so it follows the model, the depth of the context and the machine. Owned by the Scheduler. Threads: the
// compute thread.
#pragma once

#include <cstddef>
#include <cstdint>

namespace shoal::worker {

class StepBudget {
 public:
  // The token gap to keep beside a prompt. A blink of the text: 60 ms, which a step may take when others disturb it.
  static constexpr std::int64_t kGapNs = 36'000'000;
  // Where a token takes long without a prompt, too, the gap may be as many times that; a few prompt tokens cost up to
  // twice as much each.
  static constexpr int kSlowdown = 8;
  static constexpr std::int64_t kMostGapNs = 100'000'000;
  // A step beside no answers: who comes meanwhile waits for its end. Short ones are dear where kernels unpack weights
  // for each step: TinyLlama in IQ2 takes 10 ms a token in steps of 25, and 5.5 in steps of 256.
  static constexpr std::int64_t kAloneNs = 3'000'000'000;
  static constexpr std::size_t kFloorTokens = 16;   // so that a prompt never starves
  static constexpr std::size_t kFirstTokens = 128;  // until it is known what a token costs

  // `most`: tokens of one step.
  explicit StepBudget(std::size_t most) : most_(most) {}

  // Prompt tokens for the next step. `decoding`: answers that get a token in it.
  [[nodiscard]] std::size_t prompt_tokens(std::size_t decoding) const;
  // A step that was computed: its tokens, and its time.
  void observe(std::size_t prompt_tokens, std::size_t decoding, std::int64_t step_ns);

 private:
  std::size_t most_;
  double decode_ns_ = 0;  // of a step without a prompt
  double prompt_ns_ = 0;  // per prompt token, beside answers
  double alone_ns_ = 0;   // the same, beside none, in steps as long as they may be
};

}  // namespace shoal::worker
