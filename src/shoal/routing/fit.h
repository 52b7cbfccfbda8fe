// fit_table(): a calibration table from answers that were graded, and how well it does on those that it did not see.
// A logistic model with Platt's targets, by damped Newton steps, of the answer's tokens; of its checks, too, where they
// win by cross-validated log-loss, by more than a standard error; isotonic steps over its score where those win, and
// there are at least kLeastForSteps answers. Same labels, options and seed: same table, bit for bit. Threads: any;
// pure.
//
// Sources: Platt 1999, "Probabilistic outputs for support vector machines" (targets); Lin, Lin and Weng 2007, "A note
// on Platt's probabilistic outputs" (Newton with a line search); Ayer et al. 1955 (pooling adjacent violators).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/routing/calibration.h"

namespace shoal::routing {

struct Label {
  Statistic statistic;  // of at least one token
  bool right = false;
  std::string group;               // labels of one group fall on the same side of the split: the question, normalised
  std::optional<Checks> checks{};  // of a complete answer; none: they were not read
};

inline constexpr std::size_t kLeastLabels = 1'000;  // to fit on; fewer make isotonic steps that follow chance
inline constexpr std::size_t kLeastFew = 200;       // with FitOptions::few
inline constexpr std::size_t kLeastOfAKind = 20;    // right ones, and wrong ones, of those; and of what a check sees

struct FitOptions {
  double held_out = 0.3;  // of the labels, (0, 0.9]
  std::uint64_t seed = 1;
  bool few = false;  // fewer than kLeastLabels will do: what the table says is then known less well

  [[nodiscard]] std::size_t least() const { return few ? kLeastFew : kLeastLabels; }
};

// How many labels there must be, with so many held out.
[[nodiscard]] std::size_t labels_needed(const FitOptions& options);
// What is told where there are fewer.
[[nodiscard]] std::string too_few_labels(std::size_t labels, const FitOptions& options);

// The key and the fields for people are the caller's to fill. Errors: kInvalidData with the numbers, where the
// labels are too few, or nearly all right or wrong.
[[nodiscard]] Result<Table> fit_table(std::span<const Label> labels, const FitOptions& options);

// Labels whose group_place() is below this one are held out of such a fit, whichever other labels were there: what was
// left of both tables' labels is clean for a third use. REQUIRES: enough labels to fit on.
[[nodiscard]] std::uint64_t first_fitted_place(std::span<const Label> labels, const FitOptions& options);

// How well `table` predicts `labels`. REQUIRES: at least one.
[[nodiscard]] Reliability measure(const Table& table, std::span<const Label> labels);

}  // namespace shoal::routing
