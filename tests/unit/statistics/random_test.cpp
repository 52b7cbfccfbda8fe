#include "shoal/statistics/random.h"

#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

namespace shoal::statistics {
namespace {

// The first outputs of splitmix64 with the seed 1234567, as in Vigna's reference (and Rosetta Code's test).
TEST(Random, IsSplitmix) {
  constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15ULL;
  EXPECT_EQ(mixed(1234567), 6457827717110365317ULL);
  EXPECT_EQ(mixed(1234567 + kStep), 3203168211198807973ULL);
  EXPECT_EQ(mixed(1234567 + 2 * kStep), 9817491932198370423ULL);
}

// As the reference implementation of xoshiro256** gives them; the generator must never change, for results name seeds.
TEST(Random, NeverChanges) {
  Random random(42);
  const std::array<std::uint64_t, 4> first = {random.next(), random.next(), random.next(), random.next()};
  EXPECT_EQ(first, (std::array<std::uint64_t, 4>{1546998764402558742ULL, 6990951692964543102ULL,
                                                 12544586762248559009ULL, 17057574109182124193ULL}));
}

TEST(Random, DrawsEveryIndexAsOften) {
  Random random(1);
  std::array<int, 7> seen{};
  for (int i = 0; i < 70'000; ++i) ++seen[random.index(seen.size())];
  for (const int count : seen) EXPECT_NEAR(count, 10'000, 400);  // four standard deviations
}

TEST(Random, DrawsNormalNumbers) {
  Random random(2);
  double sum = 0;
  double squares = 0;
  int beyond = 0;
  for (int i = 0; i < 100'000; ++i) {
    const double x = random.normal();
    sum += x;
    squares += x * x;
    beyond += std::abs(x) > 1.959964 ? 1 : 0;
  }
  EXPECT_NEAR(sum / 1e5, 0, 0.013);
  EXPECT_NEAR(squares / 1e5, 1, 0.02);
  EXPECT_NEAR(beyond / 1e5, 0.05, 0.003);
}

TEST(Random, ShufflesIntoEveryOrder) {
  Random random(3);
  std::array<int, 6> seen{};
  for (int i = 0; i < 60'000; ++i) {
    const std::vector<std::size_t> order = random.permutation(3);
    ++seen[order[0] * 2 + (order[1] > order[2] ? 1 : 0)];
  }
  for (const int count : seen) EXPECT_NEAR(count, 10'000, 400);
}

}  // namespace
}  // namespace shoal::statistics
