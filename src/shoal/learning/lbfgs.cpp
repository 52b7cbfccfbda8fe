#include "shoal/learning/lbfgs.h"

#include <algorithm>
#include <cmath>
#include <deque>

namespace shoal::learning {
namespace {

double inner(const std::vector<double>& a, const std::vector<double>& b) {
  const double* const x = a.data();
  const double* const y = b.data();
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += x[i] * y[i];
  return sum;
}

void add(std::vector<double>& to, double factor, const std::vector<double>& from) {
  double* const out = to.data();
  const double* const in = from.data();
  for (std::size_t i = 0; i < to.size(); ++i) out[i] += factor * in[i];
}

struct Pair {
  std::vector<double> moved;
  std::vector<double> turned;
  double curvature = 0;  // 1 / (moved . turned)
};

// The two loops of algorithm 7.4: minus the slope, times what is known of the inverse of the curvature.
std::vector<double> direction_of(const std::deque<Pair>& pairs, const std::vector<double>& slope) {
  std::vector<double> out = slope;
  std::vector<double> weights(pairs.size());
  for (std::size_t k = pairs.size(); k-- > 0;) {
    weights[k] = pairs[k].curvature * inner(pairs[k].moved, out);
    add(out, -weights[k], pairs[k].turned);
  }
  if (!pairs.empty()) {
    const Pair& last = pairs.back();
    const double scale = 1 / (last.curvature * inner(last.turned, last.turned));
    for (double& one : out) one *= scale;
  }
  for (std::size_t k = 0; k < pairs.size(); ++k) {
    add(out, weights[k] - pairs[k].curvature * inner(pairs[k].turned, out), pairs[k].moved);
  }
  for (double& one : out) one = -one;
  return out;
}

double steepest(const std::vector<double>& slope) {
  double most = 0;
  for (const double one : slope) most = std::max(most, std::abs(one));
  return most;
}

}  // namespace

std::size_t minimise(const Objective& function, std::vector<double>& at, const LbfgsSettings& settings) {
  constexpr double kDecrease = 1e-4;
  constexpr int kMostHalvings = 30;
  std::vector<double> slope(at.size());
  double value = function(at, slope);
  std::deque<Pair> pairs;
  std::vector<double> next(at.size());
  std::vector<double> next_slope(at.size());
  std::size_t step = 0;
  for (; step < settings.steps && steepest(slope) > settings.tolerance; ++step) {
    std::vector<double> direction = direction_of(pairs, slope);
    double down = inner(direction, slope);
    if (!(down < 0)) return step;
    double length = pairs.empty() ? 1 / std::max(1e-12, std::sqrt(inner(slope, slope))) : 1;
    double next_value = value;
    int halvings = 0;
    for (; halvings < kMostHalvings; ++halvings, length /= 2) {
      next = at;
      add(next, length, direction);
      next_value = function(next, next_slope);
      if (next_value <= value + kDecrease * length * down) break;
    }
    if (halvings == kMostHalvings) return step;
    Pair pair{next, next_slope, 0};
    add(pair.moved, -1, at);
    add(pair.turned, -1, slope);
    const double curved = inner(pair.moved, pair.turned);
    at.swap(next);
    slope.swap(next_slope);
    value = next_value;
    if (curved <= 0) continue;
    pair.curvature = 1 / curved;
    pairs.push_back(std::move(pair));
    if (pairs.size() > settings.memory) pairs.pop_front();
  }
  return step;
}

}  // namespace shoal::learning
