#include "shoal/learning/ridge.h"

#include <cassert>
#include <numeric>

namespace shoal::learning {
namespace {

double squared_length(const std::vector<float>& v) {
  double sum = 0;
  for (const float x : v) sum += static_cast<double>(x) * x;
  return sum;
}

// X'X v + penalty v
void multiply(const SparseRows& rows, double penalty, const std::vector<float>& v, std::vector<float>& out) {
  for (std::size_t j = 0; j < v.size(); ++j) out[j] = static_cast<float>(penalty) * v[j];
  for (std::size_t i = 0; i < rows.size(); ++i) {
    float z = 0;
    for (const SparseValue& x : rows[i]) z += x.value * v[x.column];
    for (const SparseValue& x : rows[i]) out[x.column] += x.value * z;
  }
}

}  // namespace

Ridge fit_ridge(const SparseRows& rows, std::span<const float> targets, std::size_t columns,
                const RidgeOptions& options) {
  assert(rows.size() == targets.size() && !targets.empty());
  // Below this share of a row the residual no longer moves a prediction.
  constexpr double kEnough = 1e-8;
  Ridge out;
  out.mean = std::accumulate(targets.begin(), targets.end(), 0.0) / static_cast<double>(targets.size());
  out.weights.resize(columns);
  std::vector<float> residual(columns);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto off = static_cast<float>(targets[i] - out.mean);
    for (const SparseValue& x : rows[i]) residual[x.column] += x.value * off;
  }
  std::vector<float> direction = residual;
  std::vector<float> product(columns);
  double now = squared_length(residual);
  for (int step = 0; step < options.most_steps && now > kEnough * static_cast<double>(rows.size()); ++step) {
    multiply(rows, options.penalty, direction, product);
    double curvature = 0;
    for (std::size_t j = 0; j < columns; ++j) curvature += static_cast<double>(direction[j]) * product[j];
    if (!(curvature > 0)) break;
    const auto length = static_cast<float>(now / curvature);
    for (std::size_t j = 0; j < columns; ++j) {
      out.weights[j] += length * direction[j];
      residual[j] -= length * product[j];
    }
    const double next = squared_length(residual);
    const auto keep = static_cast<float>(next / now);
    for (std::size_t j = 0; j < columns; ++j) direction[j] = residual[j] + keep * direction[j];
    now = next;
  }
  return out;
}

}  // namespace shoal::learning
