// What a router is worth on rows whose outcomes are known. A router gives each row a score, the higher the more it is
// worth to ask the strong model. A(p) is the accuracy when the share p with the highest scores goes there, a_w and a_s
// those of the models alone:
//
//   APGR    (mean of A(p) over p, minus a_w) / (a_s - a_w): 0.5 for chance; above 1 is possible, for strong models harm
//   CPT(x)  the least share p that brings x of the gap a_s - a_w
//   AUDC    the mean of A(p) over p
//
// integrated at every rank, with ties averaged over all their orders. Rows may have weights. Threads: any; pure.
//
// Sources: Ong et al. 2024, "RouteLLM" (APGR, CPT); lm-sys/RouteLLM, evals/evaluate.py (its integral); Hu et al. 2024,
// "RouterBench", and its successors (the area under the deferral curve); Lu et al. 2025, "RouterArena" (its score).
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "shoal/evaluation/outcome_table.h"
#include "shoal/statistics/bootstrap.h"

namespace shoal::evaluation {

struct CurveMeasures {
  double weak = 0;  // accuracy alone
  double strong = 0;
  double apgr = 0;  // NaN, with both CPT, where the strong model is not better
  double cpt50 = 0;
  double cpt80 = 0;
  double audc = 0;
};

struct CurvePoint {
  double share = 0;  // that goes to the strong model
  double accuracy = 0;
};

// Sorts once; then each set of weights takes one pass, as resampling needs it.
class RouterCurve {
 public:
  // REQUIRES: as many scores as rows, at least one, none of them NaN.
  RouterCurve(std::span<const PairedRow> rows, std::span<const double> scores);

  // REQUIRES of `weights`: one per row, not negative.
  [[nodiscard]] CurveMeasures measures(std::span<const double> weights) const;
  [[nodiscard]] CurveMeasures measures() const;
  // Alone; NaN as above. The fast one.
  [[nodiscard]] double apgr(std::span<const double> weights) const;
  // Of the score, for the weak model being wrong; an outcome below 0.5 is wrong. Ties count half; 0.5 where all are
  // wrong or none is.
  [[nodiscard]] double difficulty_auroc(std::span<const double> weights) const;
  // From none to all, a point for each score that occurs.
  [[nodiscard]] std::vector<CurvePoint> points() const;
  // Rows in the order of falling scores, and where in it each set of rows with one score ends.
  [[nodiscard]] const std::vector<std::size_t>& order() const { return order_; }
  [[nodiscard]] const std::vector<std::size_t>& ends() const { return ends_; }

 private:
  // Calls `block(weight, gain)` for each set of rows with one score, the highest first.
  template <class Block>
  void each_block(std::span<const double> weights, const Block& block) const;

  std::vector<std::size_t> order_;
  std::vector<std::size_t> ends_;
  std::vector<double> gain_;  // strong minus weak, in that order
  std::vector<double> weak_;
};

// APGR as RouteLLM's own script computes it: eleven thresholds at the deciles of the scores of the test rows, rows at a
// threshold go to the strong model, trapezoids between. Differs from ours by what eleven points miss, and by ties.
[[nodiscard]] double routellm_apgr(std::span<const PairedRow> rows, std::span<const double> scores);

// RouterArena's score of a router that is right with `accuracy` and costs `usd_per_1k` per thousand requests: 1.1 A C /
// (0.1 A + C) with C = log2(200 / c) / log2(200 / 0.0044), c taken from [0.0044, 200].
[[nodiscard]] double arena_score(double accuracy, double usd_per_1k);

struct ArenaPoint {
  double share = 0;
  double accuracy = 0;
  double usd_per_1k = 0;
  double score = 0;
};
// What a thousand requests cost at each model, where the table does not say what each one cost.
struct Prices {
  double weak_usd_per_1k = 0;
  double strong_usd_per_1k = 0;
};
// At the shares 0, 1/4, 1/2, 3/4 and 1, and last at the share that is best on these very rows. Costs of the table win
// over `prices`; empty where neither says what a row costs.
[[nodiscard]] std::vector<ArenaPoint> arena_points(std::span<const PairedRow> rows, const RouterCurve& curve,
                                                   const std::optional<Prices>& prices);

// That every group counts the same, whatever its size.
[[nodiscard]] std::vector<double> group_weights(std::span<const std::size_t> group_of);
// The groups of rows, numbered in the order of their names.
[[nodiscard]] std::vector<std::size_t> group_numbers(std::span<const PairedRow> rows);

// The best scores that there are, for those who know the outcomes: strong minus weak.
[[nodiscard]] std::vector<double> oracle_scores(std::span<const PairedRow> rows);
// Of those who know only whether the weak model is wrong: what a perfect judge of difficulty is worth.
[[nodiscard]] std::vector<double> difficulty_scores(std::span<const PairedRow> rows);

struct RouterScore {
  CurveMeasures measures;
  statistics::Estimate by_row;                   // of APGR
  std::optional<statistics::Estimate> by_group;  // where there are at least two groups
  double normalised = 0;                         // (APGR - 0.5) / (oracle's - 0.5): to compare pairs of models
  double group_weighted_apgr = 0;
  double routellm_apgr = 0;
  double difficulty_auroc = 0;
  statistics::Estimate auroc_by_row;
  double augrc = 0;  // of its opposite, as the confidence that the weak model is right
};
// REQUIRES: as RouterCurve.
[[nodiscard]] RouterScore score_router(std::span<const PairedRow> rows, std::span<const double> scores,
                                       const statistics::BootstrapOptions& options);

}  // namespace shoal::evaluation
