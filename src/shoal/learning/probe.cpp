#include "shoal/learning/probe.h"

#include <algorithm>
#include <cassert>
#include <climits>
#include <cmath>

#include "shoal/learning/kernels.h"
#include "shoal/learning/lbfgs.h"
#include "shoal/learning/softmax.h"

namespace shoal::learning {
namespace {

constexpr std::size_t kBatch = 256;

// The mean log-loss of all rows with its slope, a batch at a time.
class ProbeLoss {
 public:
  ProbeLoss(const EmbeddingRows& rows, std::span<const std::uint32_t> classes, std::size_t class_count,
            double looseness)
      : rows_(rows),
        classes_(classes),
        count_(class_count),
        penalty_(1 / (looseness * static_cast<double>(rows.size()))),
        weights_(rows.width * count_),
        z_(kBatch * count_),
        part_(rows.width * count_) {}

  double operator()(std::span<const double> at, std::span<double> slope) {
    const std::size_t size = weights_.size();
    const double per_row = 1 / static_cast<double>(rows_.size());
    double loss = 0;
    std::ranges::fill(slope, 0.0);
    for (std::size_t i = 0; i < size; ++i) weights_[i] = static_cast<float>(at[i]);
    for (std::size_t first = 0; first < rows_.size(); first += kBatch) {
      const std::size_t n = std::min(kBatch, rows_.size() - first);
      loss += batch(first, n, at.subspan(size));
      std::ranges::fill(part_, 0.0F);
      const float* const from = rows_.values.data() + first * rows_.width;
      add_product(part_.data(), {from, 1, rows_.width}, z_.data(), rows_.width, n, count_);
      for (std::size_t i = 0; i < size; ++i) slope[i] += static_cast<double>(part_[i]) * per_row;
      for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t c = 0; c < count_; ++c) slope[size + c] += static_cast<double>(z_[i * count_ + c]) * per_row;
      }
    }
    double squares = 0;
    for (std::size_t i = 0; i < size; ++i) {
      squares += at[i] * at[i];
      slope[i] += penalty_ * at[i];
    }
    return loss * per_row + penalty_ * squares / 2;
  }

 private:
  // Fills z_ with p - y; returns the sum of the losses.
  double batch(std::size_t first, std::size_t n, std::span<const double> bias) {
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t c = 0; c < count_; ++c) z_[i * count_ + c] = static_cast<float>(bias[c]);
    }
    const float* const from = rows_.values.data() + first * rows_.width;
    add_product(z_.data(), {from, rows_.width, 1}, weights_.data(), n, rows_.width, count_);
    double loss = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const std::span row(z_.data() + i * count_, count_);
      to_log_probabilities(row);
      loss -= row[classes_[first + i]];
      for (float& one : row) one = std::exp(one);
      row[classes_[first + i]] -= 1;
    }
    return loss;
  }

  const EmbeddingRows& rows_;
  const std::span<const std::uint32_t> classes_;
  const std::size_t count_;
  const double penalty_;
  std::vector<float> weights_;
  std::vector<float> z_;
  std::vector<float> part_;
};

// Of the rows less their means: the covariance, a square matrix.
std::vector<double> covariance(const EmbeddingRows& rows, std::span<const std::uint32_t> classes,
                               const std::vector<double>& means) {
  const std::size_t width = rows.width;
  std::vector<double> out(width * width);
  std::vector<float> centred(kBatch * width);
  std::vector<float> part(width * width);
  for (std::size_t first = 0; first < rows.size(); first += kBatch) {
    const std::size_t n = std::min(kBatch, rows.size() - first);
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t mean = classes.empty() ? 0 : classes[first + i];
      for (std::size_t k = 0; k < width; ++k) {
        centred[i * width + k] = static_cast<float>(static_cast<double>(rows[first + i][k]) - means[mean * width + k]);
      }
    }
    std::ranges::fill(part, 0.0F);
    add_product(part.data(), {centred.data(), 1, width}, centred.data(), width, n, width);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] += static_cast<double>(part[i]);
  }
  for (double& one : out) one /= static_cast<double>(rows.size());
  return out;
}

// L^-1, transposed, where `matrix` + a diagonal = L L' (Cholesky; Golub and Van Loan 2013, algorithm 4.2.2).
std::vector<float> whitener_of(std::vector<double> matrix, std::size_t width, double shrink) {
  double trace = 0;
  for (std::size_t i = 0; i < width; ++i) trace += matrix[i * width + i];
  const double diagonal = std::max(shrink * trace / static_cast<double>(width), 1e-12);
  for (double& one : matrix) one *= 1 - shrink;
  for (std::size_t i = 0; i < width; ++i) matrix[i * width + i] += diagonal;
  for (std::size_t i = 0; i < width; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      double sum = matrix[i * width + j];
      for (std::size_t k = 0; k < j; ++k) sum -= matrix[i * width + k] * matrix[j * width + k];
      matrix[i * width + j] = i == j ? std::sqrt(std::max(sum, 1e-12)) : sum / matrix[j * width + j];
    }
  }
  std::vector<double> inverse(width * width);
  for (std::size_t column = 0; column < width; ++column) {
    for (std::size_t i = column; i < width; ++i) {
      double sum = i == column ? 1 : 0;
      for (std::size_t k = column; k < i; ++k) sum -= matrix[i * width + k] * inverse[column * width + k];
      inverse[column * width + i] = sum / matrix[i * width + i];
    }
  }
  return {inverse.begin(), inverse.end()};
}

Neighbours::Whitened whiten(const EmbeddingRows& rows, std::span<const std::uint32_t> classes, std::size_t class_count,
                            double shrink) {
  const std::size_t width = rows.width;
  std::vector<double> means(class_count * width);
  std::vector<std::size_t> counts(class_count);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::size_t mean = classes.empty() ? 0 : classes[i];
    ++counts[mean];
    for (std::size_t k = 0; k < width; ++k) means[mean * width + k] += static_cast<double>(rows[i][k]);
  }
  for (std::size_t i = 0; i < means.size(); ++i) {
    means[i] /= static_cast<double>(std::max<std::size_t>(1, counts[i / width]));
  }
  Neighbours::Whitened out;
  out.whitener = whitener_of(covariance(rows, classes, means), width, shrink);
  const std::vector<float> plain(means.begin(), means.end());
  out.means.resize(means.size());
  add_product(out.means.data(), {plain.data(), width, 1}, out.whitener.data(), class_count, width, width);
  return out;
}

// Squared, to the nearest mean.
double nearest(const Neighbours::Whitened& of, std::span<const float> row, std::vector<float>& scratch) {
  const std::size_t width = row.size();
  scratch.assign(width, 0.0F);
  add_product(scratch.data(), {row.data(), width, 1}, of.whitener.data(), 1, width, width);
  double least = HUGE_VAL;
  for (std::size_t mean = 0; mean + width <= of.means.size(); mean += width) {
    float sum = 0;
    for (std::size_t k = 0; k < width; ++k) {
      const float d = scratch.data()[k] - of.means.data()[mean + k];
      sum += d * d;
    }
    least = std::min(least, static_cast<double>(sum));
  }
  return least;
}

constexpr std::size_t kNearest = 3;

}  // namespace

Probe Probe::fit(const EmbeddingRows& rows, std::span<const std::uint32_t> classes, std::size_t class_count,
                 double looseness) {
  assert(classes.size() == rows.size());
  ProbeLoss loss(rows, classes, class_count, looseness);
  std::vector<double> at((rows.width + 1) * class_count);
  minimise([&loss](std::span<const double> x, std::span<double> slope) { return loss(x, slope); }, at, {});
  Probe out;
  const auto bias = at.begin() + static_cast<std::ptrdiff_t>(rows.width * class_count);
  out.weights.assign(at.begin(), bias);
  out.bias.assign(bias, at.end());
  return out;
}

void Probe::logits(std::span<const float> row, std::span<float> out) const {
  assert(row.size() == width() && out.size() == bias.size());
  std::ranges::copy(bias, out.begin());
  add_product(out.data(), {row.data(), row.size(), 1}, weights.data(), 1, row.size(), out.size());
}

Neighbours Neighbours::fit(const EmbeddingRows& rows, std::span<const std::uint32_t> classes, std::size_t class_count,
                           double shrink) {
  assert(rows.size() >= kNearest);
  Neighbours out;
  out.width = rows.width;
  out.of_classes = whiten(rows, classes, class_count, shrink);
  out.of_all = whiten(rows, {}, 1, shrink);
  float most = 1e-12F;
  for (const float value : rows.values) most = std::max(most, std::abs(value));
  out.scale = most / 127;
  out.rows.reserve(rows.values.size());
  for (const float value : rows.values) out.rows.push_back(static_cast<std::int8_t>(std::lround(value / out.scale)));
  return out;
}

Neighbours::Distances Neighbours::measure(std::span<const float> row, std::vector<float>& scratch) const {
  assert(row.size() == width && width <= kMostWidth);
  const double of_class = nearest(of_classes, row, scratch);
  const double of_any = nearest(of_all, row, scratch);
  std::array<std::int8_t, kMostWidth> asked{};
  for (std::size_t i = 0; i < width; ++i) {
    asked[i] = static_cast<std::int8_t>(std::lround(std::clamp(row[i] / scale, -127.0F, 127.0F)));
  }
  std::array<std::int32_t, kNearest> best{};
  best.fill(INT32_MIN);
  for (std::size_t at = 0; at < rows.size(); at += width) {
    std::int32_t product = dot(asked.data(), rows.data() + at, width);
    for (std::int32_t& one : best) {
      if (product > one) std::swap(product, one);
    }
  }
  const double unit = static_cast<double>(scale) * static_cast<double>(scale);
  return {of_class, of_class - of_any, best[0] * unit,
          (static_cast<double>(best[0]) + best[1] + best[2]) / static_cast<double>(kNearest) * unit};
}

}  // namespace shoal::learning
