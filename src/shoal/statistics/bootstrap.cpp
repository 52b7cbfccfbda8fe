#include "shoal/statistics/bootstrap.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <numeric>

#include "shoal/statistics/binomial.h"
#include "shoal/statistics/random.h"

namespace shoal::statistics {
namespace {

// Between the order statistics that the share falls between (Hyndman and Fan's type 7). REQUIRES: sorted, not empty.
double quantile(std::span<const double> sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

Estimate summary(double value, std::vector<double> drawn, const BootstrapOptions& options) {
  Estimate out;
  out.value = value;
  out.undefined = options.resamples - drawn.size();
  if (drawn.size() < 2) {
    out.standard_error = out.interval.low = out.interval.high = std::numeric_limits<double>::quiet_NaN();
    return out;
  }
  std::ranges::sort(drawn);
  const auto n = static_cast<double>(drawn.size());
  const double mean = std::accumulate(drawn.begin(), drawn.end(), 0.0) / n;
  double squares = 0;
  for (const double x : drawn) squares += (x - mean) * (x - mean);
  out.standard_error = std::sqrt(squares / (n - 1));
  const double miss = (1 - options.confidence) / 2;
  out.interval = {.low = quantile(drawn, miss), .high = quantile(drawn, 1 - miss)};
  return out;
}

// `draw` fills the counts of one resample.
template <class Draw>
Estimate resampled(std::size_t rows, const Statistic& statistic, const BootstrapOptions& options, const Draw& draw) {
  assert(rows > 0 && options.resamples > 0 && options.confidence > 0 && options.confidence < 1);
  std::vector<double> counts(rows, 1);
  const double value = statistic(counts);
  std::vector<double> drawn;
  drawn.reserve(options.resamples);
  Random random(options.seed);
  for (std::size_t i = 0; i < options.resamples; ++i) {
    draw(random, counts);
    const double one = statistic(counts);
    if (!std::isnan(one)) drawn.push_back(one);
  }
  return summary(value, std::move(drawn), options);
}

}  // namespace

Estimate bootstrap(std::size_t rows, const Statistic& statistic, const BootstrapOptions& options) {
  return resampled(rows, statistic, options, [rows](Random& random, std::vector<double>& counts) {
    std::ranges::fill(counts, 0);
    for (std::size_t i = 0; i < rows; ++i) counts[random.index(rows)] += 1;
  });
}

Estimate group_bootstrap(std::span<const std::size_t> group_of, const Statistic& statistic,
                         const BootstrapOptions& options) {
  assert(!group_of.empty());
  const std::size_t groups = *std::ranges::max_element(group_of) + 1;
  std::vector<double> drawn(groups);
  return resampled(group_of.size(), statistic, options, [&](Random& random, std::vector<double>& counts) {
    std::ranges::fill(drawn, 0);
    for (std::size_t i = 0; i < groups; ++i) drawn[random.index(groups)] += 1;
    for (std::size_t i = 0; i < counts.size(); ++i) counts[i] = drawn[group_of[i]];
  });
}

Estimate paired_difference(std::span<const double> a, std::span<const double> b, const BootstrapOptions& options) {
  assert(a.size() == b.size());
  const auto n = static_cast<double>(a.size());
  return bootstrap(
      a.size(),
      [&](std::span<const double> counts) {
        double sum = 0;
        for (std::size_t i = 0; i < counts.size(); ++i) sum += counts[i] * (b[i] - a[i]);
        return sum / n;
      },
      options);
}

McNemar mcnemar(std::size_t only_first, std::size_t only_second) {
  const std::size_t differ = only_first + only_second;
  if (differ == 0) return {};
  const std::size_t fewer = std::min(only_first, only_second);
  const double at_most = binomial_at_most(fewer, differ, 0.5);
  const double here = at_most - (fewer > 0 ? binomial_at_most(fewer - 1, differ, 0.5) : 0);
  const double exact = std::min(1.0, 2 * at_most);
  // As extreme as what was seen: that, and its mirror image where that is another one.
  const double as_extreme = 2 * fewer == differ ? here : 2 * here;
  return {.exact = exact, .mid_p = exact - as_extreme / 2};
}

std::vector<double> holm(std::span<const double> p_values) {
  std::vector<std::size_t> order(p_values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return p_values[i]; });
  std::vector<double> out(p_values.size());
  double most = 0;
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    const auto left = static_cast<double>(order.size() - rank);
    most = std::max(most, std::min(1.0, left * p_values[order[rank]]));
    out[order[rank]] = most;
  }
  return out;
}

Verdict verdict(const Estimate& difference, double margin) {
  assert(margin >= 0);
  // An interval that is not a number is neither.
  if (difference.interval.low > margin) return Verdict::kBetter;
  if (difference.interval.high < -margin) return Verdict::kWorse;
  return Verdict::kCannotTell;
}

std::string_view verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kBetter:
      return "better";
    case Verdict::kWorse:
      return "worse";
    case Verdict::kCannotTell:
      return "cannot tell";
  }
  return "";
}

}  // namespace shoal::statistics
