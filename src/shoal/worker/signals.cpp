// Two passes over a row that sits in the cache: the two largest, then the sums and where the largest is. libm's
// exp over 49,152 logits costs 3 % of a decode step of a 135M model, and gcc 12 vectorises the plain loop for
// AVX-512 only, so the loops are written on vector types and compiled for three levels, chosen when the worker
// starts.
#include "shoal/worker/signals.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace shoal::worker {
namespace {

template <int kWidth>
struct Lanes {
  // typedef, because gcc 12 drops a dependent vector_size from an alias.
  typedef float Float __attribute__((vector_size(kWidth * sizeof(float))));
  typedef std::int32_t Int __attribute__((vector_size(kWidth * sizeof(std::int32_t))));
};

struct Extremes {
  float max = -std::numeric_limits<float>::infinity();
  float second = -std::numeric_limits<float>::infinity();
  bool nan = false;

  void put(float value) {
    nan = nan || value != value;
    if (value > max) {
      second = max;
      max = value;
    } else if (value > second) {
      second = value;
    }
  }
};

struct Sums {
  double z = 0;          // sum exp(l - max)
  double zx = 0;         // sum exp(l - max) (l - max)
  double x = 0;          // sum (l - max)
  std::size_t best = 0;  // the first l == max is not before this
};

// exp on [-87, 0], relative error below 3e-7: range reduction by log 2 in two parts, then the minimax
// polynomial of degree 5 of Cephes' expf (S. Moshier).
// Vectors go by reference: passing them by value would depend on the level that the caller is compiled for.
template <int kWidth>
[[gnu::always_inline]] inline void fast_exp(const typename Lanes<kWidth>::Float& x,
                                            typename Lanes<kWidth>::Float& result) {
  using Float = typename Lanes<kWidth>::Float;
  using Int = typename Lanes<kWidth>::Int;
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: rounds to nearest in the low mantissa bits
  const Float t = x * 1.44269504F + kRound;
  const Float k = t - kRound;
  const Float r = x - k * 0.693359375F + k * 2.12194440e-4F;
  Float p = r * 1.9875691e-4F + 1.3981999e-3F;
  p = p * r + 8.3334519e-3F;
  p = p * r + 4.1665796e-2F;
  p = p * r + 1.6666666e-1F;
  p = p * r + 0.5F;
  p = p * r * r + r + 1.0F;
  const Int bits = ((Int)t - 0x4B400000 + 127) << 23;  // 2^k; a cast between vectors keeps the bits
  result = p * (Float)bits;
}

template <int kWidth>
[[gnu::always_inline]] inline Extremes extremes_of(const float* row, std::size_t n) {
  using Float = typename Lanes<kWidth>::Float;
  Float max = Float{} - std::numeric_limits<float>::infinity();
  Float second = max;
  typename Lanes<kWidth>::Int nan{};
  std::size_t i = 0;
  for (; i + kWidth <= n; i += kWidth) {
    Float value;
    std::memcpy(&value, row + i, sizeof value);
    const Float low = value < max ? value : max;
    max = value < max ? max : value;
    second = low < second ? second : low;
    nan |= value != value;
  }
  Extremes all;
  for (int lane = 0; lane < kWidth; ++lane) {
    all.put(max[lane]);
    all.put(second[lane]);
    all.nan = all.nan || nan[lane] != 0;
  }
  for (; i < n; ++i) all.put(row[i]);
  return all;
}

// Float sums of at most 8 terms, of 8 of those, then double: the error of a mean stays below 1e-6 of its size.
constexpr std::size_t kGroup = 8;

template <int kWidth>
[[gnu::always_inline]] inline Sums sums_of(const float* row, std::size_t n, float max) {
  using Float = typename Lanes<kWidth>::Float;
  using Int = typename Lanes<kWidth>::Int;
  constexpr std::size_t kBlock = kGroup * kGroup * kWidth;
  const Float lowest = Float{} - 87.0F;
  Sums total;
  bool found = false;
  std::size_t i = 0;
  while (i + kWidth <= n) {
    const std::size_t begin = i;
    const std::size_t end = std::min(n, i + kBlock);
    Float z{};
    Float zx{};
    Float x{};
    Int at_max{};
    while (i + kWidth <= end) {
      const std::size_t group_end = std::min(end, i + kGroup * kWidth);
      Float group{};
      for (; i + kWidth <= group_end; i += kWidth) {
        Float d;
        std::memcpy(&d, row + i, sizeof d);
        at_max |= d == max;
        d -= max;
        group += d;
        d = d < lowest ? lowest : d;
        Float e;
        fast_exp<kWidth>(d, e);
        z += e;
        zx += e * d;
      }
      x += group;
    }
    bool here = false;
    for (int lane = 0; lane < kWidth; ++lane) {
      total.z += static_cast<double>(z[lane]);
      total.zx += static_cast<double>(zx[lane]);
      total.x += static_cast<double>(x[lane]);
      here = here || at_max[lane] != 0;
    }
    if (here && !found) total.best = begin;
    found = found || here;
  }
  if (!found) total.best = i;
  for (; i < n; ++i) {
    const double d = static_cast<double>(row[i]) - static_cast<double>(max);
    const double e = std::exp(std::max(d, -87.0));
    total.z += e;
    total.zx += e * std::max(d, -87.0);
    total.x += d;
  }
  return total;
}

// One block: the weights, and their sum.
template <int kWidth>
[[gnu::always_inline]] inline double weights_of(const float* row, std::size_t n, float max, float scale, float* out) {
  using Float = typename Lanes<kWidth>::Float;
  const Float lowest = Float{} - 87.0F;
  Float sum{};
  std::size_t i = 0;
  for (; i + kWidth <= n; i += kWidth) {
    Float d;
    std::memcpy(&d, row + i, sizeof d);
    d = (d - max) * scale;
    Float e;
    fast_exp<kWidth>(d < lowest ? lowest : d, e);
    e = d < lowest ? Float{} : e;
    sum += e;
    std::memcpy(out + i, &e, sizeof e);
  }
  double total = 0;
  for (int lane = 0; lane < kWidth; ++lane) total += static_cast<double>(sum[lane]);
  for (; i < n; ++i) {
    const float d = (row[i] - max) * scale;
    out[i] = d < -87.0F ? 0.0F : std::exp(d);
    total += static_cast<double>(out[i]);
  }
  return total;
}

struct Kernels {
  Extremes (*extremes)(const float*, std::size_t);
  Sums (*sums)(const float*, std::size_t, float);
  double (*weights)(const float*, std::size_t, float, float, float*);
};

#if defined(__x86_64__)
[[gnu::target("avx512f")]] Extremes extremes_avx512(const float* row, std::size_t n) {
  return extremes_of<16>(row, n);
}
[[gnu::target("avx512f")]] Sums sums_avx512(const float* row, std::size_t n, float max) {
  return sums_of<16>(row, n, max);
}
[[gnu::target("avx512f")]] double weights_avx512(const float* row, std::size_t n, float max, float scale, float* out) {
  return weights_of<16>(row, n, max, scale, out);
}
[[gnu::target("avx2,fma")]] Extremes extremes_avx2(const float* row, std::size_t n) {
  return extremes_of<8>(row, n);
}
[[gnu::target("avx2,fma")]] Sums sums_avx2(const float* row, std::size_t n, float max) {
  return sums_of<8>(row, n, max);
}
[[gnu::target("avx2,fma")]] double weights_avx2(const float* row, std::size_t n, float max, float scale, float* out) {
  return weights_of<8>(row, n, max, scale, out);
}
#endif
Extremes extremes_base(const float* row, std::size_t n) {
  return extremes_of<4>(row, n);
}
Sums sums_base(const float* row, std::size_t n, float max) {
  return sums_of<4>(row, n, max);
}
double weights_base(const float* row, std::size_t n, float max, float scale, float* out) {
  return weights_of<4>(row, n, max, scale, out);
}

Kernels kernels_of(SignalKernel kernel) {
  switch (kernel) {
#if defined(__x86_64__)
    case SignalKernel::kAvx512:
      return {extremes_avx512, sums_avx512, weights_avx512};
    case SignalKernel::kAvx2:
      return {extremes_avx2, sums_avx2, weights_avx2};
#endif
    default:
      return {extremes_base, sums_base, weights_base};
  }
}

const Kernels& best_kernels() {
  static const Kernels kChosen = kernels_of(signal_kernels().back());
  return kChosen;
}

std::int32_t find_from(std::span<const float> logits, std::size_t begin, float value) {
  const auto from = logits.begin() + static_cast<std::ptrdiff_t>(begin);
  return static_cast<std::int32_t>(std::find(from, logits.end(), value) - logits.begin());
}

// KL(uniform || p) over the tokens that can come at all: log_z - mean(l - max) - log V. A logit of minus infinity,
// which would make the sum infinite, is left out of mean and V.
double self_certainty_of(std::span<const float> logits, const Sums& sums, float max, double log_z) {
  double sum = sums.x;
  auto count = static_cast<double>(logits.size());
  if (!std::isfinite(sum)) {
    sum = count = 0;
    for (const float l : logits) {
      if (!std::isfinite(l)) continue;
      sum += static_cast<double>(l) - static_cast<double>(max);
      ++count;
    }
  }
  return std::max(0.0, log_z - sum / count - std::log(count));
}

std::optional<RowSignals> measure_by(const Kernels& kernels, std::span<const float> logits) {
  const Extremes extremes = kernels.extremes(logits.data(), logits.size());
  if (extremes.nan || !std::isfinite(extremes.max)) return std::nullopt;
  const Sums sums = kernels.sums(logits.data(), logits.size(), extremes.max);
  const double log_z = std::log(sums.z);
  RowSignals signals;
  signals.best = find_from(logits, sums.best, extremes.max);
  signals.max = extremes.max;
  signals.log_z = static_cast<float>(log_z);
  signals.entropy = static_cast<float>(std::max(0.0, log_z - sums.zx / sums.z));
  // p_best = exp(0) / z, p_second = exp(second - max) / z
  signals.margin = static_cast<float>((1.0 - std::exp(static_cast<double>(extremes.second) - extremes.max)) / sums.z);
  signals.self_certainty = static_cast<float>(self_certainty_of(logits, sums, extremes.max, log_z));
  return signals;
}

}  // namespace

std::span<const SignalKernel> signal_kernels() {
  static const std::vector<SignalKernel> kHere = [] {
    std::vector<SignalKernel> here = {SignalKernel::kBase};
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) here.push_back(SignalKernel::kAvx2);
    if (__builtin_cpu_supports("avx512f")) here.push_back(SignalKernel::kAvx512);
#endif
    return here;
  }();
  return kHere;
}

std::optional<RowSignals> measure(std::span<const float> logits) {
  return measure_by(best_kernels(), logits);
}

std::optional<RowSignals> measure_with(SignalKernel kernel, std::span<const float> logits) {
  return measure_by(kernels_of(kernel), logits);
}

void exp_weights(std::span<const float> logits, float max, float scale, std::span<float> weights,
                 std::span<double> sums) {
  for (std::size_t begin = 0, block = 0; begin < logits.size(); begin += kWeightBlock, ++block) {
    const std::size_t size = std::min(kWeightBlock, logits.size() - begin);
    sums[block] = best_kernels().weights(logits.data() + begin, size, max, scale, weights.data() + begin);
  }
}

std::int32_t argmax(std::span<const float> logits) {
  return find_from(logits, 0, best_kernels().extremes(logits.data(), logits.size()).max);
}

std::vector<std::pair<std::int32_t, float>> best_of(std::span<const float> logits, std::size_t count) {
  count = std::min(count, logits.size());
  std::vector<std::pair<std::int32_t, float>> best;
  if (count == 0) return best;
  const auto higher = [](const auto& a, const auto& b) {
    return a.second > b.second || (a.second == b.second && a.first < b.first);
  };
  best.reserve(count + 1);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (best.size() == count && logits[i] <= best.front().second) continue;
    best.emplace_back(static_cast<std::int32_t>(i), logits[i]);
    std::push_heap(best.begin(), best.end(), higher);  // the worst of the best is at the front
    if (best.size() > count) {
      std::pop_heap(best.begin(), best.end(), higher);
      best.pop_back();
    }
  }
  std::sort_heap(best.begin(), best.end(), higher);
  return best;
}

}  // namespace shoal::worker
