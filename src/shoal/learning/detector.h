// Detector: one number from a few signals, the higher the more there is of what was looked for. A logistic model of
// signals that are brought to mean 0 and variance 1, with both sides weighed alike however many examples they have;
// then a curve that makes a probability of it, where examples come in their natural share (Platt 1999).
// Owned by value. Threads: any, once it is fitted.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace shoal::learning {

struct DetectorExample {
  std::vector<double> signals;  // of equal number in all
  bool positive = false;
};

class Detector {
 public:
  Detector() = default;
  // Minimises the weighed log-loss plus |w|^2 / (2 `looseness`). With examples of one side only it is always
  // `certain`: the smoothed share (positive + 1) / (all + 2).
  [[nodiscard]] static Detector fit(std::span<const DetectorExample> examples, double looseness);

  // REQUIRES: as many signals as it was fitted to.
  [[nodiscard]] double score(std::span<const double> signals) const;
  [[nodiscard]] double probability(std::span<const double> signals) const;

  std::vector<double> means;
  std::vector<double> scales;  // 1 / deviation
  std::vector<double> weights;
  double bias = 0;
  double slope = 1;  // of the curve
  double offset = 0;
};

}  // namespace shoal::learning
