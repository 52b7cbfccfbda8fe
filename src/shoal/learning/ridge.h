// Ridge regression on sparse rows: the weights w that make |X w - (y - mean y)|^2 + penalty |w|^2 least, by conjugate
// gradient (Hestenes and Stiefel 1952) on the normal equations, which are never formed. Deterministic. Threads: any;
// pure.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "shoal/learning/sparse.h"

namespace shoal::learning {

struct RidgeOptions {
  double penalty = 8;
  int most_steps = 40;
};

struct Ridge {
  std::vector<float> weights;  // one for each column
  double mean = 0;             // of the targets: the prediction is mean + x w
};

// REQUIRES: as many targets as rows, at least one; every column below `columns`.
[[nodiscard]] Ridge fit_ridge(const SparseRows& rows, std::span<const float> targets, std::size_t columns,
                              const RidgeOptions& options);

}  // namespace shoal::learning
