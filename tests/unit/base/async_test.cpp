// Coroutines run on stacks that are used again, with a guard below each.
#include "shoal/base/async.h"

#include <cstdint>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

namespace shoal::base {
namespace {

std::uintptr_t here() {
  return reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) & ~(kCoroutineStackBytes - 1);
}

TEST(Spawn, AStackServesOneCoroutineAfterTheOther) {
  asio::io_context io;
  EXPECT_EQ(StackPool::of(io)->waiting(), 0U);
  std::set<std::uintptr_t> stacks;
  for (int i = 0; i < 5; ++i) {
    spawn(io.get_executor(), "test", [&](Yield yield) {
      asio::post(yield);
      stacks.insert(here());
    });
    io.restart();
    io.run();
    EXPECT_EQ(StackPool::of(io)->waiting(), 1U);
  }
  EXPECT_EQ(stacks.size(), 1U);
}

TEST(Spawn, CoroutinesAtTheSameTimeHaveStacksOfTheirOwnAndNotAllAreKept) {
  asio::io_context io;
  base::Timer gate(io, base::Timer::time_point::max());
  int running = 0;
  for (int i = 0; i < 300; ++i) {
    spawn(io, "test", [&, i](Yield yield) {
      std::vector<int> mine(100, i);
      error_code woken;
      if (++running == 300) {
        gate.cancel();
      } else {
        gate.async_wait(yield[woken]);
      }
      EXPECT_EQ(mine, std::vector<int>(100, i));
    });
  }
  io.run();
  EXPECT_EQ(running, 300);
  EXPECT_EQ(StackPool::of(io)->waiting(), 128U);
}

TEST(Spawn, ACoroutineThatTheContextOutlivesGivesItsStackBack) {
  std::shared_ptr<StackPool> pool;
  bool unwound = false;
  {
    asio::io_context io;
    pool = StackPool::of(io);
    base::Timer never(io, base::Timer::time_point::max());
    spawn(io, "test", [&](Yield yield) {
      const std::shared_ptr<void> at_the_end(nullptr, [&](void*) { unwound = true; });
      error_code woken;
      never.async_wait(yield[woken]);
    });
    io.poll();
    EXPECT_EQ(pool->waiting(), 0U);
  }
  EXPECT_TRUE(unwound);
  EXPECT_EQ(pool->waiting(), 1U);
}

TEST(SpawnDeathTest, AStackThatIsTooSmallIsACrashAndNothingWorse) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto overflow = [] {
    asio::io_context io;
    spawn(io, "test", [](Yield) {
      volatile char deep[2 * kCoroutineStackBytes];
      for (std::size_t i = sizeof deep; i > 0; --i) deep[i - 1] = 1;
    });
    io.run();
  };
  EXPECT_DEATH(overflow(), "");
}

}  // namespace
}  // namespace shoal::base
