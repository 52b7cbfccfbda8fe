#include "shoal/statistics/binomial.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include <boost/math/distributions/binomial.hpp>
#include <boost/math/policies/policy.hpp>
#include <boost/math/special_functions/beta.hpp>

namespace shoal::statistics {
namespace {

namespace math = boost::math;

// No exceptions, and no long double: a double's digits are enough, and the same on every machine.
using Policy = math::policies::policy<math::policies::domain_error<math::policies::ignore_error>,
                                      math::policies::pole_error<math::policies::ignore_error>,
                                      math::policies::overflow_error<math::policies::ignore_error>,
                                      math::policies::evaluation_error<math::policies::ignore_error>,
                                      math::policies::promote_double<false>>;
using Binomial = math::binomial_distribution<double, Policy>;

}  // namespace

double binomial_at_most(std::size_t k, std::size_t trials, double p) {
  assert(p >= 0 && p <= 1);
  if (k >= trials) return 1;
  return math::cdf(Binomial(static_cast<double>(trials), p), static_cast<double>(k));
}

double binomial_at_least(std::size_t k, std::size_t trials, double p) {
  assert(p >= 0 && p <= 1);
  if (k == 0) return 1;
  if (k > trials) return 0;
  return math::cdf(math::complement(Binomial(static_cast<double>(trials), p), static_cast<double>(k - 1)));
}

double clopper_pearson_upper(std::size_t k, std::size_t trials, double miss) {
  assert(k <= trials && miss > 0 && miss < 1);
  if (k >= trials) return 1;
  return Binomial::find_upper_bound_on_p(static_cast<double>(trials), static_cast<double>(k), miss);
}

double clopper_pearson_lower(std::size_t k, std::size_t trials, double miss) {
  assert(k <= trials && miss > 0 && miss < 1);
  if (k == 0) return 0;
  return Binomial::find_lower_bound_on_p(static_cast<double>(trials), static_cast<double>(k), miss);
}

Interval clopper_pearson(std::size_t k, std::size_t trials, double confidence) {
  const double miss = (1 - confidence) / 2;
  return {clopper_pearson_lower(k, trials, miss), clopper_pearson_upper(k, trials, miss)};
}

Interval clopper_pearson_weighted(double share, double size, double confidence) {
  assert(share >= 0 && share <= 1 && size > 0);
  const double miss = (1 - confidence) / 2;
  const double k = share * size;
  const double low = k <= 0 ? 0 : math::ibeta_inv(k, size - k + 1, miss, Policy());
  const double high = k >= size ? 1 : math::ibetac_inv(k + 1, size - k, miss, Policy());
  return {std::min(low, share), std::max(high, share)};
}

std::size_t least_trials(std::size_t k, double alpha, double delta) {
  assert(alpha > 0 && alpha < 1 && delta > 0 && delta < 1);
  // The probability falls as trials are added: doubled until it is low enough, then halved in between.
  std::size_t above = k + 1;
  while (binomial_at_most(k, above, alpha) > delta) above *= 2;
  std::size_t below = k;
  while (above - below > 1) {
    const std::size_t middle = below + (above - below) / 2;
    (binomial_at_most(k, middle, alpha) > delta ? below : above) = middle;
  }
  return above;
}

}  // namespace shoal::statistics
