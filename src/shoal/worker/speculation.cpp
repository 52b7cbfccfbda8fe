#include "shoal/worker/speculation.h"

#include <algorithm>
#include <utility>

namespace shoal::worker {
namespace {

// What was saved long ago does not pay for what is lost now: steps of the balance at most.
constexpr double kMostSavedSteps = 20;
// And what there is to begin with, once in the life of a worker: what a guess costs is not known before one was made.
constexpr double kFirstSteps = 4;

}  // namespace

double Speculation::expected_ns(std::size_t tokens) const {
  tokens = std::min(tokens, kMostKnown - 1);
  for (std::size_t known = tokens; known > 0; --known) {
    // Nothing is cheaper than in proportion, so this is the most that it can be.
    if (step_ns_[known] > 0) return step_ns_[known] * static_cast<double>(tokens) / static_cast<double>(known);
  }
  return 0;
}

bool Speculation::affords(std::size_t decoding, std::size_t guesses) const {
  const double plain = expected_ns(decoding);
  if (plain == 0 || decoding >= kMostKnown) return false;
  return expected_ns(decoding + guesses) - plain <= balance_ns_;
}

void Speculation::observe(std::size_t decoding, std::size_t guesses, std::size_t right, std::int64_t step_ns) {
  if (decoding == 0) return;
  const auto step = static_cast<double>(step_ns);
  const double plain = expected_ns(decoding);
  if (plain == 0) balance_ns_ = kFirstSteps * step;
  balance_ns_ += kTrialShare * step;
  if (std::exchange(guessed_, guesses > 0) && guesses == 0 && plain > 0) {
    // The graph of one token is built anew after one of several: that is the guesses' cost, and not the token's.
    balance_ns_ += plain - step;
    return;
  }
  double& known = step_ns_[std::min(decoding + guesses, kMostKnown - 1)];
  known = known == 0 ? step : known + (step - known) / 8;
  if (guesses > 0 && plain > 0) {
    // Without guesses the tokens of this step would have taken this long.
    const double without = plain * static_cast<double>(decoding + right) / static_cast<double>(decoding);
    balance_ns_ += without - step;
  }
  balance_ns_ = std::min(balance_ns_, kMostSavedSteps * expected_ns(decoding));
}

}  // namespace shoal::worker
