// Softmax: a multinomial logistic model of sparse rows. Fitted with AdaGrad (Duchi, Hazan and Singer 2011, "Adaptive
// subgradient methods"), one row at a time, in an order drawn from the seed; the same rows and settings give the same
// model to the bit. Once fitted it keeps a byte for each weight, with a scale for each column: a column is read in one
// piece, and the file is a quarter as large.
// Use: `Softmax model = Softmax::fit(rows, classes, 77, settings)`, then `model.logits(row, out)`, which allocates
// nothing. Owned by value. Threads: any, once it is fitted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "shoal/learning/sparse.h"

namespace shoal::learning {

struct SoftmaxSettings {
  std::size_t epochs = 8;
  float rate = 0.3F;        // of the first epoch
  float last_rate = 0.03F;  // of the last; between them it falls on a line
  float start = 1e-4F;      // of each sum of squares
  std::uint64_t seed = 1;
};

class Softmax {
 public:
  Softmax() = default;
  // REQUIRES: classes.size() == rows.size(), each below class_count; columns of the rows below `columns`.
  [[nodiscard]] static Softmax fit(const SparseRows& rows, std::span<const std::uint32_t> classes,
                                   std::size_t class_count, std::size_t columns, const SoftmaxSettings& settings);

  // REQUIRES: out.size() == classes().
  void logits(std::span<const SparseValue> row, std::span<float> out) const;
  [[nodiscard]] std::size_t classes() const { return bias_.size(); }

  // All that there is to save. A column of the rows has the weights at places[column], none with kNone.
  struct Parts {
    std::vector<std::uint32_t> places;
    std::vector<float> scales;         // [places in use]
    std::vector<std::int8_t> weights;  // [places in use][classes]
    std::vector<float> bias;           // [classes]
  };
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};
  [[nodiscard]] Parts parts() const { return {places_, scales_, weights_, bias_}; }
  // REQUIRES: sizes that fit each other, places below scales.size() or kNone.
  [[nodiscard]] static Softmax from(Parts parts);

 private:
  std::vector<std::uint32_t> places_;
  std::vector<float> scales_;
  std::vector<std::int8_t> weights_;
  std::vector<float> bias_;
};

// In place: logits become log-probabilities. The same with the probabilities beside them; REQUIRES: as many.
void to_log_probabilities(std::span<float> logits);
void to_log_probabilities(std::span<float> logits, std::span<float> probabilities);

}  // namespace shoal::learning
