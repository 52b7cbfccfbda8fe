// Non-negative least squares: weights that are at least 0 and bring a sum of columns nearest to a target (Lawson and
// Hanson 1974 state the problem; coordinate descent solves it here, which for a handful of columns is exact to the
// last digits). For stacking: how much each of several models is worth beside the others (Breiman 1996, "Stacked
// regressions"). Threads: any; pure.
#pragma once

#include <span>
#include <vector>

namespace shoal::learning {

// Columns and target are taken around their means. `shrink`: rows' worth of pull towards 0.
// REQUIRES: each column is as long as the target.
[[nodiscard]] std::vector<double> nonnegative_weights(std::span<const std::vector<double>> columns,
                                                      std::span<const double> target, double shrink);

}  // namespace shoal::learning
