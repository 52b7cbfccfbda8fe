#include "shoal/learning/kernels.h"

#include <cmath>

// Without fused multiply-add, which would round otherwise; resolvers of clones run before a sanitizer is ready.
#if defined(__x86_64__) && !defined(SHOAL_SANITIZE_ADDRESS) && !defined(SHOAL_SANITIZE_THREAD)
#define SHOAL_WIDE __attribute__((target_clones("avx2", "default")))
#else
#define SHOAL_WIDE
#endif

namespace shoal::learning {

SHOAL_WIDE void add_scaled(float* __restrict out, const float* __restrict row, float x, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) out[i] += x * row[i];
}

SHOAL_WIDE void add_scaled(float* __restrict out, const std::int8_t* __restrict row, float x, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) out[i] += x * static_cast<float>(row[i]);
}

SHOAL_WIDE void adagrad_step(float* __restrict weights, float* __restrict squares, const float* __restrict slope,
                             float x, float rate, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    const float d = slope[i] * x;
    const float square = squares[i] + d * d;
    squares[i] = square;
    weights[i] -= rate * d / std::sqrt(square);
  }
}

SHOAL_WIDE void add_product(float* __restrict out, Strided a, const float* __restrict b, std::size_t m, std::size_t k,
                            std::size_t n) {
  std::size_t i = 0;
  // Two rows of `out` and four of `b` at a time: what is loaded is used more than once.
  for (; i + 2 <= m; i += 2) {
    float* const first = out + i * n;
    float* const second = first + n;
    const float* const a0 = a.at + i * a.row_step;
    const float* const a1 = a0 + a.row_step;
    std::size_t j = 0;
    for (; j + 4 <= k; j += 4) {
      const float* const b0 = b + j * n;
      const float* const b1 = b0 + n;
      const float* const b2 = b1 + n;
      const float* const b3 = b2 + n;
      const std::size_t at = j * a.column_step;
      const float x0 = a0[at];
      const float x1 = a0[at + a.column_step];
      const float x2 = a0[at + 2 * a.column_step];
      const float x3 = a0[at + 3 * a.column_step];
      const float y0 = a1[at];
      const float y1 = a1[at + a.column_step];
      const float y2 = a1[at + 2 * a.column_step];
      const float y3 = a1[at + 3 * a.column_step];
      for (std::size_t c = 0; c < n; ++c) {
        first[c] += (x0 * b0[c] + x1 * b1[c]) + (x2 * b2[c] + x3 * b3[c]);
        second[c] += (y0 * b0[c] + y1 * b1[c]) + (y2 * b2[c] + y3 * b3[c]);
      }
    }
    for (; j < k; ++j) {
      const float x = a0[j * a.column_step];
      const float y = a1[j * a.column_step];
      for (std::size_t c = 0; c < n; ++c) {
        first[c] += x * b[j * n + c];
        second[c] += y * b[j * n + c];
      }
    }
  }
  for (; i < m; ++i) {
    for (std::size_t j = 0; j < k; ++j) {
      const float x = a.at[i * a.row_step + j * a.column_step];
      for (std::size_t c = 0; c < n; ++c) out[i * n + c] += x * b[j * n + c];
    }
  }
}

SHOAL_WIDE std::int32_t dot(const std::int8_t* a, const std::int8_t* b, std::size_t n) {
  std::int32_t sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += std::int32_t{a[i]} * std::int32_t{b[i]};
  return sum;
}

}  // namespace shoal::learning
