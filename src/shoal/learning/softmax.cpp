#include "shoal/learning/softmax.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <utility>

#include "shoal/learning/kernels.h"
#include "shoal/statistics/random.h"

namespace shoal::learning {
namespace {

// In place: logits become the slope of the log-loss, p - y.
void to_slope(std::vector<float>& z, std::uint32_t right) {
  const float most = *std::ranges::max_element(z);
  float sum = 0;
  for (float& one : z) sum += one = std::exp(one - most);
  for (float& one : z) one /= sum;
  z[right] -= 1;
}

struct Floats {
  std::vector<float> weights;  // [columns in use][classes]
  std::vector<float> bias;
};

Floats fit_floats(const SparseRows& rows, std::span<const std::uint32_t> classes, std::size_t count,
                  std::span<const std::uint32_t> places, std::size_t in_use, const SoftmaxSettings& settings) {
  Floats model{std::vector<float>(in_use * count), std::vector<float>(count)};
  std::vector<float> squares(in_use * count, settings.start);
  std::vector<float> bias_squares(count, settings.start);
  std::vector<float> z(count);
  statistics::Random random(settings.seed);
  for (std::size_t epoch = 0; epoch < settings.epochs; ++epoch) {
    const float done = settings.epochs < 2 ? 0 : static_cast<float>(epoch) / static_cast<float>(settings.epochs - 1);
    const float rate = settings.rate + (settings.last_rate - settings.rate) * done;
    for (const std::size_t i : random.permutation(rows.size())) {
      z = model.bias;
      for (const SparseValue& one : rows[i]) {
        add_scaled(z.data(), model.weights.data() + places[one.column] * count, one.value, count);
      }
      to_slope(z, classes[i]);
      for (const SparseValue& one : rows[i]) {
        const std::size_t at = places[one.column] * count;
        adagrad_step(model.weights.data() + at, squares.data() + at, z.data(), one.value, rate, count);
      }
      adagrad_step(model.bias.data(), bias_squares.data(), z.data(), 1, rate, count);
    }
  }
  return model;
}

}  // namespace

Softmax Softmax::fit(const SparseRows& rows, std::span<const std::uint32_t> classes, std::size_t class_count,
                     std::size_t columns, const SoftmaxSettings& settings) {
  assert(classes.size() == rows.size() && class_count > 0);
  Parts parts;
  parts.places.assign(columns, kNone);
  std::uint32_t in_use = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (const SparseValue& one : rows[i]) {
      if (parts.places[one.column] == kNone) parts.places[one.column] = in_use++;
    }
  }
  Floats floats = fit_floats(rows, classes, class_count, parts.places, in_use, settings);
  parts.bias = std::move(floats.bias);
  parts.weights.resize(floats.weights.size());
  parts.scales.resize(in_use);
  for (std::size_t i = 0; i < in_use; ++i) {
    const auto from = std::span(floats.weights).subspan(i * class_count, class_count);
    float most = 0;
    for (const float weight : from) most = std::max(most, std::abs(weight));
    parts.scales[i] = most / 127;
    if (most == 0) continue;
    for (std::size_t c = 0; c < class_count; ++c) {
      parts.weights[i * class_count + c] = static_cast<std::int8_t>(std::lround(from[c] / most * 127));
    }
  }
  return from(std::move(parts));
}

Softmax Softmax::from(Parts parts) {
  assert(parts.weights.size() == parts.scales.size() * parts.bias.size());
  Softmax out;
  out.places_ = std::move(parts.places);
  out.scales_ = std::move(parts.scales);
  out.weights_ = std::move(parts.weights);
  out.bias_ = std::move(parts.bias);
  return out;
}

void Softmax::logits(std::span<const SparseValue> row, std::span<float> out) const {
  assert(out.size() == bias_.size());
  std::ranges::copy(bias_, out.begin());
  // Columns are far apart: each is asked for some time before its numbers are needed.
  constexpr std::size_t kPlaceAhead = 16;
  constexpr std::size_t kWeightsAhead = 6;
  constexpr std::size_t kLine = 64;
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (i + kPlaceAhead < row.size()) __builtin_prefetch(places_.data() + row[i + kPlaceAhead].column);
    if (i + kWeightsAhead < row.size()) {
      const std::uint32_t next = places_[row[i + kWeightsAhead].column];
      const std::int8_t* const from = weights_.data() + next * bias_.size();
      for (std::size_t at = 0; next != kNone && at < bias_.size(); at += kLine) __builtin_prefetch(from + at);
    }
    const SparseValue& one = row[i];
    const std::uint32_t place = places_[one.column];
    if (place == kNone) continue;
    add_scaled(out.data(), weights_.data() + place * bias_.size(), one.value * scales_[place], bias_.size());
  }
}

void to_log_probabilities(std::span<float> logits, std::span<float> probabilities) {
  assert(probabilities.size() == logits.size());
  const float most = *std::ranges::max_element(logits);
  float sum = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) sum += probabilities[i] = std::exp(logits[i] - most);
  const float total = most + std::log(sum);
  for (float& one : logits) one -= total;
  for (float& one : probabilities) one /= sum;
}

void to_log_probabilities(std::span<float> logits) {
  const float most = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float one : logits) sum += std::exp(static_cast<double>(one - most));
  const float total = most + static_cast<float>(std::log(sum));
  for (float& one : logits) one -= total;
}

}  // namespace shoal::learning
