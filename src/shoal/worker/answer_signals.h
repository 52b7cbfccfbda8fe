// AnswerMeter: the signals of an answer, from those of its tokens as they come: mean, worst token and worst window.
// A window is types::kSignalWindow tokens in a row; one of that length ends at every token from the 16th on.
// Owned by one sequence. Threads: the compute thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "shoal/types/completion.h"

namespace shoal::worker {

class AnswerMeter {
 public:
  void add(const types::Token& token);
  [[nodiscard]] types::AnswerSignals signals() const;

 private:
  // Each turned so that the lowest is the worst.
  struct Track {
    double sum = 0;
    double worst = 0;
    double worst_window = 0;
    std::array<double, types::kSignalWindow> last{};

    void add(double value, std::size_t index);
    [[nodiscard]] types::SignalSummary summary(std::size_t count, double sign) const;
  };

  std::size_t count_ = 0;
  Track logprob_, entropy_, margin_, self_certainty_;
};

}  // namespace shoal::worker
