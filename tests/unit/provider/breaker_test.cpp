// The breaker opens when too much fails, lets one request try again when its time is over, and closes when that one is
// answered.
#include "shoal/provider/breaker.h"

#include <gtest/gtest.h>

#include "fakes/manual_clock.h"

namespace shoal::provider {
namespace {

using State = Breaker::State;

struct BreakerTest : testing::Test {
  void succeed(int times = 1) {
    for (int i = 0; i < times; ++i) breaker.succeeded(*breaker.enter());
  }
  void fail(int times = 1) {
    for (int i = 0; i < times; ++i) breaker.failed(*breaker.enter(), {}, true);
  }
  // A random number in the middle: no jitter.
  fakes::ManualClock clock;
  double random = 0.5;
  Breaker breaker{{}, clock, [this] { return random; }};
};

TEST_F(BreakerTest, FewerThanFiveOutcomesSayNothing) {
  fail(4);
  EXPECT_EQ(breaker.state(), State::kClosed);
  fail();
  EXPECT_EQ(breaker.state(), State::kOpen);
  EXPECT_EQ(breaker.wait_ms(), 15'000);
  EXPECT_FALSE(breaker.enter());
}

TEST_F(BreakerTest, HalfOfThemMustFail) {
  succeed(6);
  fail(5);
  EXPECT_EQ(breaker.state(), State::kClosed) << "5 of 11";
  fail();
  EXPECT_EQ(breaker.state(), State::kOpen) << "6 of 12";
}

TEST_F(BreakerTest, OnlyTheLastHalfMinuteCounts) {
  fail(4);
  clock.pass_ms(30'000);
  fail();
  EXPECT_EQ(breaker.state(), State::kClosed);
  clock.pass_ms(29'999);
  fail(4);
  EXPECT_EQ(breaker.state(), State::kOpen);
}

TEST_F(BreakerTest, ManyOldSuccessesDoNotHideWhatFailsNow) {
  succeed(100'000);
  fail(512);
  EXPECT_EQ(breaker.state(), State::kOpen) << "it remembers 1024 outcomes";
}

TEST_F(BreakerTest, OneAtATimeTriesAgain) {
  fail(5);
  clock.pass_ms(14'999);
  EXPECT_EQ(breaker.wait_ms(), 1);
  clock.pass_ms(1);
  EXPECT_EQ(breaker.state(), State::kHalfOpen);
  EXPECT_FALSE(breaker.wait_ms());
  const auto probe = breaker.enter();
  ASSERT_TRUE(probe && probe->probe);
  EXPECT_EQ(breaker.wait_ms(), 0);
  EXPECT_FALSE(breaker.enter());
  breaker.left(*probe);
  const auto next = breaker.enter();
  ASSERT_TRUE(next) << "a probe that says nothing makes room for another";
  breaker.succeeded(*next);
  EXPECT_EQ(breaker.state(), State::kClosed);
  fail(4);
  EXPECT_EQ(breaker.state(), State::kOpen) << "4 of 5: what came before is forgotten, the probe is not";
}

TEST_F(BreakerTest, EachFailedProbeDoublesTheWaitUpToTwoMinutes) {
  fail(5);
  for (const std::int64_t wait : {15'000, 30'000, 60'000, 120'000, 120'000}) {
    EXPECT_EQ(breaker.wait_ms(), wait);
    clock.pass_ms(wait);
    fail();
  }
  clock.pass_ms(120'000);
  succeed();
  fail(4);
  EXPECT_EQ(breaker.wait_ms(), 15'000) << "a success begins anew";
}

TEST_F(BreakerTest, WaitsDifferByATenth) {
  random = 0;
  fail(5);
  EXPECT_EQ(breaker.wait_ms(), 13'500);
  clock.pass_ms(13'500);
  random = 0.999;
  fail();
  EXPECT_NEAR(static_cast<double>(*breaker.wait_ms()), 33'000, 10);
}

TEST_F(BreakerTest, WhatTheProviderAsksForIsAFloor) {
  fail(4);
  breaker.failed(*breaker.enter(), 60'000, true);
  EXPECT_EQ(breaker.wait_ms(), 60'000);
  clock.pass_ms(60'000);
  breaker.failed(*breaker.enter(), 5'000, true);
  EXPECT_EQ(breaker.wait_ms(), 30'000) << "never shorter than its own";
  clock.pass_ms(30'000);
  breaker.failed(*breaker.enter(), 1'000'000'000'000, true);
  EXPECT_EQ(breaker.wait_ms(), 86'400'000) << "never more than a day";
}

TEST_F(BreakerTest, WhatBeganBeforeItTrippedSaysNothingAfterwards) {
  const auto slow = *breaker.enter();
  const auto other = *breaker.enter();
  const auto third = *breaker.enter();
  fail(5);
  breaker.succeeded(slow);
  EXPECT_EQ(breaker.state(), State::kOpen);
  breaker.failed(other, {}, true);
  EXPECT_EQ(breaker.wait_ms(), 15'000);
  breaker.failed(third, 40'000, true);
  EXPECT_EQ(breaker.wait_ms(), 40'000) << "but that the provider wants longer is news";
  clock.pass_ms(40'000);
  succeed();
  breaker.failed(third, {}, true);
  fail(3);
  EXPECT_EQ(breaker.state(), State::kClosed) << "3 of 4";
}

TEST_F(BreakerTest, ASecondFailureOfARequestDoesNotCountButAProbesDoes) {
  for (int i = 0; i < 20; ++i) breaker.failed(*breaker.enter(), {}, false);
  EXPECT_EQ(breaker.state(), State::kClosed);
  fail(5);
  clock.pass_ms(15'000);
  breaker.failed(*breaker.enter(), {}, false);
  EXPECT_EQ(breaker.wait_ms(), 30'000);
}

TEST_F(BreakerTest, TheFirstContentOfAProbeClosesIt) {
  fail(5);
  clock.pass_ms(15'000);
  auto probe = *breaker.enter();
  breaker.answers(probe);
  EXPECT_EQ(breaker.state(), State::kClosed);
  EXPECT_TRUE(breaker.enter());
  breaker.failed(probe, {}, true);
  EXPECT_EQ(breaker.state(), State::kClosed) << "what it does then is one outcome among others";
  fail(4);
  EXPECT_EQ(breaker.state(), State::kOpen);
}

TEST_F(BreakerTest, ARandomNumberIsEachTimeAnother) {
  const Random one = make_random();
  const double first = one();
  EXPECT_NE(first, one());
  EXPECT_NE(make_random()(), first);
  for (int i = 0; i < 1000; ++i) {
    const double x = one();
    ASSERT_TRUE(x >= 0 && x < 1);
  }
}

}  // namespace
}  // namespace shoal::provider
