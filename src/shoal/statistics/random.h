// Random: numbers that are the same for the same seed, with every compiler and library. The distributions of the
// standard library are not, and neither is std::shuffle.
// Owned by value; copies go on alike. Threads: one at a time. Not for secrets.
//
// Sources: Blackman and Vigna 2021, "Scrambled linear pseudorandom number generators" (xoshiro256**); Steele, Lea and
// Flood 2014, "Fast splittable pseudorandom number generators" (splitmix64, which fills the state); Lemire 2019, "Fast
// random integer generation in an interval"; Marsaglia and Bray 1964 (the polar method).
#pragma once

#include <array>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

namespace shoal::statistics {

// The finaliser of splitmix64: for hashing small integers, and for a seed of its own for each part of a computation.
[[nodiscard]] constexpr std::uint64_t mixed(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27U)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31U);
}

class Random {
 public:
  explicit constexpr Random(std::uint64_t seed) {
    for (std::uint64_t& word : state_) {
      word = mixed(seed);
      seed += 0x9e3779b97f4a7c15ULL;
    }
  }

  [[nodiscard]] constexpr std::uint64_t next() {
    const std::uint64_t out = std::rotl(state_[1] * 5, 7) * 9;
    const std::uint64_t t = state_[1] << 17U;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = std::rotl(state_[3], 45);
    return out;
  }

  // In [0, 1), in steps of 2^-53.
  [[nodiscard]] constexpr double uniform() { return static_cast<double>(next() >> 11U) * 0x1p-53; }

  // In [0, n), each as likely. REQUIRES: n > 0.
  [[nodiscard]] constexpr std::size_t index(std::size_t n) {
    assert(n > 0);
    const std::uint64_t least = (0 - static_cast<std::uint64_t>(n)) % n;
    for (;;) {
      __extension__ using Wide = unsigned __int128;
      const Wide product = static_cast<Wide>(next()) * n;
      if (static_cast<std::uint64_t>(product) >= least) return static_cast<std::size_t>(product >> 64U);
    }
  }

  [[nodiscard]] constexpr bool chance(double probability) { return uniform() < probability; }

  // Of mean 0 and variance 1.
  [[nodiscard]] double normal() {
    for (;;) {
      const double x = 2 * uniform() - 1;
      const double y = 2 * uniform() - 1;
      const double s = x * x + y * y;
      if (s > 0 && s < 1) return x * std::sqrt(-2 * std::log(s) / s);
    }
  }

  template <class T>
  constexpr void shuffle(std::span<T> items) {
    for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[index(i)]);
  }
  template <class T>
  constexpr void shuffle(std::vector<T>& items) {
    shuffle(std::span<T>(items));
  }

  // 0 .. n-1 in a drawn order.
  [[nodiscard]] std::vector<std::size_t> permutation(std::size_t n) {
    std::vector<std::size_t> out(n);
    std::iota(out.begin(), out.end(), std::size_t{0});
    shuffle(out);
    return out;
  }

 private:
  std::array<std::uint64_t, 4> state_{};
};

}  // namespace shoal::statistics
