// Speculation: whether guessed tokens are worth their place in the next step. It keeps a balance: what guesses have
// saved, less what they have cost, plus a small part of all decoding time to try them with. A guess that could cost
// more than the balance is not made, so answers are never slower by more than that part.
// Owned by the Scheduler. Threads: the compute thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace shoal::worker {

class Speculation {
 public:
  static constexpr std::size_t kMostGuesses = 12;  // for one answer in one step
  // Of the decoding time, to try guesses with: half of the 3 % that may be lost at most.
  static constexpr double kTrialShare = 0.015;

  // Whether a step of `decoding` tokens may take `guesses` more.
  [[nodiscard]] bool affords(std::size_t decoding, std::size_t guesses) const;
  // A step without a prompt that was computed: its tokens, the guesses among them, and those that were right.
  void observe(std::size_t decoding, std::size_t guesses, std::size_t right, std::int64_t step_ns);

 private:
  static constexpr std::size_t kMostKnown = 64 + kMostGuesses * 4 + 1;

  // Of a step with so many tokens: measured, or the nearest smaller one that was, scaled.
  [[nodiscard]] double expected_ns(std::size_t tokens) const;

  std::array<double, kMostKnown> step_ns_{};  // by tokens; 0: not seen
  double balance_ns_ = 0;
  bool guessed_ = false;  // in the step before
};

}  // namespace shoal::worker
