#include "shoal/learning/detector.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "shoal/learning/lbfgs.h"

namespace shoal::learning {
namespace {

constexpr double kFarthest = 8;  // deviations, beyond which a signal says nothing more

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

// ln(1 + exp(-x)) without overflow.
double loss_of(double x) {
  return x > 0 ? std::log1p(std::exp(-x)) : -x + std::log1p(std::exp(x));
}

// What makes a probability of a score. `positive`: how many of the examples are.
void fit_curve(std::span<const DetectorExample> examples, double positive, Detector& out) {
  const auto all = static_cast<double>(examples.size());
  std::vector<double> scores;
  scores.reserve(examples.size());
  for (const DetectorExample& one : examples) scores.push_back(out.score(one.signals));
  // Platt's targets, which keep the curve from being sure of what few examples say.
  const double high = (positive + 1) / (positive + 2);
  const double low = 1 / (all - positive + 2);
  std::vector<double> curve = {1, std::log(positive / (all - positive))};
  const auto unweighed = [&](std::span<const double> x, std::span<double> slope) {
    double loss = 0;
    slope[0] = slope[1] = 0;
    for (std::size_t i = 0; i < scores.size(); ++i) {
      const double z = x[0] * scores[i] + x[1];
      const double target = examples[i].positive ? high : low;
      loss += target * loss_of(z) + (1 - target) * loss_of(-z);
      const double pull = sigmoid(z) - target;
      slope[0] += pull * scores[i];
      slope[1] += pull;
    }
    for (double& one : slope) one /= all;
    return loss / all;
  };
  minimise(unweighed, curve, {.steps = 100, .tolerance = 1e-7});
  out.slope = curve[0];
  out.offset = curve[1];
}

}  // namespace

Detector Detector::fit(std::span<const DetectorExample> examples, double looseness) {
  Detector out;
  const auto all = static_cast<double>(examples.size());
  const auto positive = static_cast<double>(std::ranges::count(examples, true, &DetectorExample::positive));
  const std::size_t width = examples.empty() ? 0 : examples.front().signals.size();
  out.means.assign(width, 0);
  out.scales.assign(width, 0);
  out.weights.assign(width, 0);
  for (std::size_t k = 0; k < width; ++k) {
    double sum = 0;
    double squares = 0;
    for (const DetectorExample& one : examples) sum += one.signals[k];
    out.means[k] = sum / all;
    for (const DetectorExample& one : examples) squares += std::pow(one.signals[k] - out.means[k], 2);
    out.scales[k] = 1 / (std::sqrt(squares / all) + 1e-9);
  }
  if (positive == 0 || positive == all) {
    out.offset = std::log((positive + 1) / (all - positive + 1));
    return out;
  }
  std::vector<double> at(width + 1);
  const double penalty = 1 / looseness;
  const auto weighed = [&](std::span<const double> x, std::span<double> slope) {
    std::ranges::fill(slope, 0.0);
    double loss = 0;
    out.weights.assign(x.begin(), x.end() - 1);
    out.bias = x.back();
    for (const DetectorExample& one : examples) {
      const double sign = one.positive ? 1 : -1;
      const double weight = all / (2 * (one.positive ? positive : all - positive));
      const double margin = sign * out.score(one.signals);
      loss += weight * loss_of(margin);
      const double pull = -sign * weight * sigmoid(-margin);
      for (std::size_t k = 0; k < width; ++k) {
        slope[k] += pull * std::clamp((one.signals[k] - out.means[k]) * out.scales[k], -kFarthest, kFarthest);
      }
      slope[width] += pull;
    }
    for (std::size_t k = 0; k < width; ++k) {
      loss += penalty * x[k] * x[k] / 2;
      slope[k] += penalty * x[k];
    }
    for (double& one : slope) one /= all;
    return loss / all;
  };
  minimise(weighed, at, {.steps = 200, .tolerance = 1e-6});
  out.weights.assign(at.begin(), at.end() - 1);
  out.bias = at.back();

  fit_curve(examples, positive, out);
  return out;
}

double Detector::score(std::span<const double> signals) const {
  assert(signals.size() == weights.size());
  double sum = bias;
  for (std::size_t k = 0; k < weights.size(); ++k) {
    sum += weights[k] * std::clamp((signals[k] - means[k]) * scales[k], -kFarthest, kFarthest);
  }
  return sum;
}

double Detector::probability(std::span<const double> signals) const {
  return sigmoid(slope * score(signals) + offset);
}

}  // namespace shoal::learning
