// Minimises a smooth function of many numbers: L-BFGS with a backtracking line search. For the convex losses of this
// folder, where every start leads to the same place.
// Sources: Nocedal and Wright 2006, "Numerical optimization", algorithms 7.4, 7.5 and 3.1.
// Owned by nobody; functions. Threads: any.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

namespace shoal::learning {

struct LbfgsSettings {
  std::size_t steps = 60;
  std::size_t memory = 8;
  double tolerance = 1e-5;  // ends where no slope is steeper
};

// The value at `at`, with the slope there written to `slope`.
using Objective = std::function<double(std::span<const double> at, std::span<double> slope)>;

// From `at` to where the function is least; returns how many steps that took.
std::size_t minimise(const Objective& function, std::vector<double>& at, const LbfgsSettings& settings);

}  // namespace shoal::learning
