// What k of m tells about the share behind it, exactly: no approximation by a normal distribution, which promises too
// much where it matters, at few wrong ones. Owned by nobody; functions. Threads: any; pure.
//
// Sources: Clopper and Pearson 1934, "The use of confidence or fiducial limits illustrated in the case of the
// binomial" (the intervals, which cover at least as often as they say); the distribution is Boost.Math's regularised
// incomplete beta function.
#pragma once

#include <cstddef>

#include "shoal/statistics/interval.h"

namespace shoal::statistics {

// P(Bin(trials, p) <= k), which falls as p grows. REQUIRES: p in [0, 1]. Of no trials, or k >= trials: 1.
[[nodiscard]] double binomial_at_most(std::size_t k, std::size_t trials, double p);
// P(Bin(trials, p) >= k).
[[nodiscard]] double binomial_at_least(std::size_t k, std::size_t trials, double p);

// The true share is above (below) it with a probability of at most `miss`; of no trials it is 1 (0).
// REQUIRES: k <= trials, miss in (0, 1).
[[nodiscard]] double clopper_pearson_upper(std::size_t k, std::size_t trials, double miss);
[[nodiscard]] double clopper_pearson_lower(std::size_t k, std::size_t trials, double miss);
// Both ends, each missed with half of 1 - confidence.
[[nodiscard]] Interval clopper_pearson(std::size_t k, std::size_t trials, double confidence = 0.95);

// The same for a share of `size` labels that were weighted, as many as so many unweighted ones (Korn and Graubard 1998,
// "Confidence intervals for proportions with small expected number of positive counts estimated from survey data").
// REQUIRES: share in [0, 1]; size > 0.
[[nodiscard]] Interval clopper_pearson_weighted(double share, double size, double confidence = 0.95);

// The smallest m for which k wrong of m shows, with the confidence 1 - delta, that fewer than the share `alpha` are
// wrong: P(Bin(m, alpha) <= k) <= delta. REQUIRES: alpha and delta in (0, 1).
[[nodiscard]] std::size_t least_trials(std::size_t k, double alpha, double delta);

}  // namespace shoal::statistics
