#include "shoal/learning/nonnegative.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <numeric>

namespace shoal::learning {
namespace {

std::vector<double> centred(std::span<const double> values) {
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  std::vector<double> out(values.begin(), values.end());
  for (double& x : out) x -= mean;
  return out;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

}  // namespace

std::vector<double> nonnegative_weights(std::span<const std::vector<double>> columns, std::span<const double> target,
                                        double shrink) {
  constexpr int kMostSweeps = 10'000;
  constexpr double kEnough = 1e-12;
  const std::size_t k = columns.size();
  std::vector<double> weights(k);
  if (target.empty()) return weights;
  const std::vector<double> y = centred(target);
  std::vector<std::vector<double>> x;
  for (const std::vector<double>& column : columns) {
    assert(column.size() == target.size());
    x.push_back(centred(column));
  }
  std::vector<std::vector<double>> products(k, std::vector<double>(k));
  std::vector<double> wanted(k);
  for (std::size_t i = 0; i < k; ++i) {
    wanted[i] = dot(x[i], y);
    for (std::size_t j = 0; j < k; ++j) products[i][j] = dot(x[i], x[j]);
    products[i][i] *= 1 + shrink / static_cast<double>(target.size());
  }
  for (int sweep = 0; sweep < kMostSweeps; ++sweep) {
    double moved = 0;
    for (std::size_t i = 0; i < k; ++i) {
      if (!(products[i][i] > 0)) continue;  // it says nothing
      double rest = wanted[i];
      for (std::size_t j = 0; j < k; ++j) rest -= j == i ? 0 : products[i][j] * weights[j];
      const double next = std::max(0.0, rest / products[i][i]);
      moved = std::max(moved, std::abs(next - weights[i]));
      weights[i] = next;
    }
    if (moved < kEnough) break;
  }
  return weights;
}

}  // namespace shoal::learning
