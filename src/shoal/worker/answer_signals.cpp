#include "shoal/worker/answer_signals.h"

#include <algorithm>
#include <numeric>

namespace shoal::worker {

// The window is summed anew each time: a running difference would keep the error of, and the infinity of, a token
// that left it.
void AnswerMeter::Track::add(double value, std::size_t index) {
  sum += value;
  worst = index == 0 ? value : std::min(worst, value);
  last[index % last.size()] = value;
  if (index + 1 < last.size()) return;
  const double window = std::accumulate(last.begin(), last.end(), 0.0) / static_cast<double>(last.size());
  worst_window = index + 1 == last.size() ? window : std::min(worst_window, window);
}

types::SignalSummary AnswerMeter::Track::summary(std::size_t count, double sign) const {
  const double mean = sum / static_cast<double>(count);
  const auto turned = [sign](double value) { return static_cast<float>(sign * value + 0.0); };  // + 0: no minus zero
  return {turned(mean), turned(worst), turned(count < last.size() ? mean : worst_window)};
}

void AnswerMeter::add(const types::Token& token) {
  logprob_.add(token.logprob, count_);
  entropy_.add(-token.entropy, count_);
  margin_.add(token.margin, count_);
  self_certainty_.add(token.self_certainty, count_);
  ++count_;
}

types::AnswerSignals AnswerMeter::signals() const {
  if (count_ == 0) return {};
  return {static_cast<std::int32_t>(count_), logprob_.summary(count_, 1),        entropy_.summary(count_, -1),
          margin_.summary(count_, 1),        self_certainty_.summary(count_, 1), std::nullopt};
}

}  // namespace shoal::worker
