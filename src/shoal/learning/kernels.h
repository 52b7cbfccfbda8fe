// The inner loops of the models of text: sums over rows of numbers, element by element. Compiled for the widest
// instructions that the machine has, and the same to the bit with all of them: no sum is reordered, and no product is
// fused with an addition. Private to learning/. Owned by nobody; functions. Threads: any; pure.
#pragma once

#include <cstddef>
#include <cstdint>

namespace shoal::learning {

// out[i] += x * row[i].
void add_scaled(float* out, const float* row, float x, std::size_t n);
void add_scaled(float* out, const std::int8_t* row, float x, std::size_t n);

// A step of AdaGrad (Duchi, Hazan and Singer 2011) on a row: g += d^2, w -= rate d / sqrt(g), of d = slope[i] * x.
void adagrad_step(float* weights, float* squares, const float* slope, float x, float rate, std::size_t n);

// out[m][n] += a[m][k] b[k][n]. `a` is at a[i * row_step + j * column_step], so that it may be transposed; `out` and
// `b` have rows of n numbers, one after the other.
struct Strided {
  const float* at = nullptr;
  std::size_t row_step = 0;
  std::size_t column_step = 0;
};
void add_product(float* out, Strided a, const float* b, std::size_t m, std::size_t k, std::size_t n);

// Sum of a[i] b[i], in whole numbers.
[[nodiscard]] std::int32_t dot(const std::int8_t* a, const std::int8_t* b, std::size_t n);

}  // namespace shoal::learning
