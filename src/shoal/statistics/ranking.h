// How good predictions of "this answer is right" are: as an order (AUROC, AURC, AUGRC) and as probabilities (Brier,
// log-loss, debiased ECE with its bins). Ties are never broken by the order of the input: where scores are equal, the
// mean over all orders counts. Threads: any; pure.
//
// Sources: Hanley and McNeil 1982 (AUROC); Geifman, Uziel and El-Yaniv 2019, "Bias-reduced uncertainty estimation"
// (AURC and its excess); Traub et al. 2024, "Overcoming common flaws in the evaluation of selective classification"
// (AUGRC); Brier 1950; Bröcker 2012, "Estimating reliability and resolution of probability forecasts" (the debiased
// calibration error).
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace shoal::statistics {

// One prediction, and what came of it. The higher the score, the surer.
struct Scored {
  double score = 0;  // finite
  bool right = false;
};

// The probability that a right one has a higher score than a wrong one; ties count half. 0.5 when there are only right
// ones or only wrong ones.
[[nodiscard]] double auroc(std::span<const Scored> predictions);

// When the surest `coverage` of all are kept: the share of wrong ones among those kept, and among all.
struct RiskPoint {
  double coverage = 0;
  double risk = 0;
  double kept_and_wrong = 0;

  bool operator==(const RiskPoint&) const = default;
};
// A point for each score that occurs, the surest first: no threshold gives another one. Of none: empty.
[[nodiscard]] std::vector<RiskPoint> risk_coverage(std::span<const Scored> predictions);

// REQUIRES of the three: at least one prediction.
// The mean of the risk among the k surest, over every k.
[[nodiscard]] double aurc(std::span<const Scored> predictions);
// What aurc() is above that of the best order, r + (1 - r) ln(1 - r) for the risk r of all: 0 is best.
[[nodiscard]] double excess_aurc(std::span<const Scored> predictions);
// The probability that an answer is wrong and is kept, over every coverage; (1 - auroc) a (1 - a) + (1 - a)^2 / 2 for
// the share a of right ones.
[[nodiscard]] double augrc(std::span<const Scored> predictions);

// About as many answers in each; scores that are equal are never split.
struct Bin {
  std::size_t answers = 0;
  double predicted = 0;  // mean
  double right = 0;      // share

  bool operator==(const Bin&) const = default;
};
struct Reliability {
  std::size_t answers = 0;
  double right = 0;  // share
  double brier = 0;
  double log_loss = 0;  // mean, natural logarithm; predictions are taken from [1e-12, 1 - 1e-12]
  double ece = 0;       // debiased, of root mean square
  double auroc = 0.5;
  std::vector<Bin> bins;  // the least sure first

  bool operator==(const Reliability&) const = default;
};
// The debiased ECE is the root of sum (n_b / n) [(p_b - y_b)^2 - y_b (1 - y_b) / (n_b - 1)], or 0 where that is
// negative: unlike the plain one, it is not above zero for a perfect model only because there are few answers.
// REQUIRES: at least one prediction, scores that are probabilities, at least one bin.
[[nodiscard]] Reliability reliability(std::span<const Scored> predictions, std::size_t bins = 10);

}  // namespace shoal::statistics
