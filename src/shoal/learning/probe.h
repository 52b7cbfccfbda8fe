// What an embedding tells about a class. Probe: a multinomial logistic model on it. Neighbours: how far it is from
// what was seen. EmbeddingRows: the embeddings that both are fitted to.
// Owned by value. Threads: any, once they are fitted.
//
// Sources: Lee et al. 2018, "A simple unified framework for detecting out-of-distribution samples" (the distance of
// Mahalanobis to the nearest class mean); Ren et al. 2021, "A simple fix to Mahalanobis distance" (less the distance to
// the mean of all); Sun et al. 2022, "Out-of-distribution detection with deep nearest neighbors".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace shoal::learning {

// Rows of equal width.
struct EmbeddingRows {
  std::size_t width = 0;
  std::vector<float> values;

  [[nodiscard]] std::size_t size() const { return width == 0 ? 0 : values.size() / width; }
  [[nodiscard]] std::span<const float> operator[](std::size_t row) const {
    return std::span(values).subspan(row * width, width);
  }
  void append(std::span<const float> row) { values.insert(values.end(), row.begin(), row.end()); }
};

class Probe {
 public:
  Probe() = default;
  // Minimises the log-loss plus |w|^2 / (2 `looseness`). REQUIRES: classes.size() == rows.size(), each below
  // class_count.
  [[nodiscard]] static Probe fit(const EmbeddingRows& rows, std::span<const std::uint32_t> classes,
                                 std::size_t class_count, double looseness);

  // REQUIRES: row.size() == width(), out.size() == classes().
  void logits(std::span<const float> row, std::span<float> out) const;
  [[nodiscard]] std::size_t classes() const { return bias.size(); }
  [[nodiscard]] std::size_t width() const { return bias.empty() ? 0 : weights.size() / bias.size(); }

  std::vector<float> weights;  // [width][classes]
  std::vector<float> bias;
};

class Neighbours {
 public:
  // Squared distance to the nearest class, the same less that to the mean of all, cosine of the nearest row, mean of
  // the nearest three.
  using Distances = std::array<double, 4>;

  static constexpr std::size_t kMostWidth = 8192;  // of an embedding

  Neighbours() = default;
  // `shrink`: how far covariances go to their mean diagonal. REQUIRES: as Probe::fit, at least three rows.
  [[nodiscard]] static Neighbours fit(const EmbeddingRows& rows, std::span<const std::uint32_t> classes,
                                      std::size_t class_count, double shrink);
  // `scratch` is resized; the same one does not allocate again.
  [[nodiscard]] Distances measure(std::span<const float> row, std::vector<float>& scratch) const;

  struct Whitened {
    std::vector<float> whitener;  // [width][width]: L^-1, transposed, of a covariance L L'
    std::vector<float> means;     // [means][width], whitened
  };
  std::size_t width = 0;
  Whitened of_classes;
  Whitened of_all;
  std::vector<std::int8_t> rows;  // [rows][width]
  float scale = 1;                // a row's number is value * scale
};

}  // namespace shoal::learning
