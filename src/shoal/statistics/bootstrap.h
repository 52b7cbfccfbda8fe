// What a number computed from rows may be with other rows: intervals and standard errors by resampling, of rows or of
// whole groups (when rows of a group stand and fall together, the questions of one subject say, the error by rows
// promises too much). Comparisons are paired by computing both sides of a difference from the same rows. Also tests on
// pairs of right and wrong, what several tests at once are worth, and a verdict that may be "cannot tell".
// Same rows, options and seed: same result, bit for bit. Threads: any; pure.
//
// Sources: Efron and Tibshirani 1993, "An introduction to the bootstrap" (percentile intervals); Cameron, Gelbach and
// Miller 2008 (groups); McNemar 1947; Fagerland, Lydersen and Laake 2013, "The McNemar test for binary matched-pairs
// data: mid-p and asymptotic are better than exact conditional"; Holm 1979.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "shoal/statistics/interval.h"

namespace shoal::statistics {

// Of rows of which row i counts counts[i] times. NaN: not defined for such rows.
using Statistic = std::function<double(std::span<const double> counts)>;

struct BootstrapOptions {
  std::size_t resamples = 1'000;
  double confidence = 0.95;
  std::uint64_t seed = 1;
};

struct Estimate {
  double value = 0;           // of the rows as they are
  double standard_error = 0;  // NaN, with the interval, where fewer than two resamples had a value
  Interval interval;
  std::size_t undefined = 0;  // resamples for which the statistic was NaN; they are left out
};

// REQUIRES: rows > 0, resamples > 0, confidence in (0, 1).
[[nodiscard]] Estimate bootstrap(std::size_t rows, const Statistic& statistic, const BootstrapOptions& options = {});
// Draws groups, with all of their rows; group_of[i] is the group of row i, numbered from 0. REQUIRES as above.
[[nodiscard]] Estimate group_bootstrap(std::span<const std::size_t> group_of, const Statistic& statistic,
                                       const BootstrapOptions& options = {});
// mean(b) - mean(a). REQUIRES: as many of both, row i of one question.
[[nodiscard]] Estimate paired_difference(std::span<const double> a, std::span<const double> b,
                                         const BootstrapOptions& options = {});

// Of two graded on the same questions: how many only the first has right, and only the second. Two-sided.
struct McNemar {
  double exact = 1;  // never too small
  double mid_p = 1;  // nearly always closer to the truth: exact less half the probability of what was seen
};
[[nodiscard]] McNemar mcnemar(std::size_t only_first, std::size_t only_second);

// p-values, in their own order, such that rejecting those at most alpha keeps the chance of a single false rejection
// at alpha, however the tests depend on each other.
[[nodiscard]] std::vector<double> holm(std::span<const double> p_values);

enum class Verdict : std::uint8_t { kBetter, kWorse, kCannotTell };
// Of a difference, new minus old: better when all of the interval is above `margin`, worse when all is below -margin.
// REQUIRES: margin >= 0.
[[nodiscard]] Verdict verdict(const Estimate& difference, double margin = 0);
// "better", "worse", "cannot tell".
[[nodiscard]] std::string_view verdict_name(Verdict verdict);

}  // namespace shoal::statistics
