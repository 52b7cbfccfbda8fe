#include "shoal/statistics/e_process.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "shoal/statistics/random.h"

namespace shoal::statistics {
namespace {

double share(int count, int of) {
  return static_cast<double>(count) / of;
}

TEST(RiskAlarm, IsTheLikelihoodRatio) {
  RiskAlarm alarm({.tolerated = 0.05, .harmful = 0.10, .delta = 0.05, .horizon = 0});
  alarm.add(true);
  alarm.add(false);
  EXPECT_NEAR(alarm.log_evidence(), std::log(0.10 / 0.05) + std::log(0.90 / 0.95), 1e-12);
  EXPECT_EQ(alarm.audits(), 2U);
  EXPECT_EQ(alarm.wrong(), 1U);
}

// The bars: from 5 to 10 % it alarms after at most 150 labels in the median, and it alarms falsely in at most 5 % of
// the runs of 3,000 labels.
TEST(RiskAlarm, FindsARiseSoonAndSeldomCriesWolf) {
  constexpr int kRuns = 2'000;
  constexpr std::size_t kLabels = 3'000;
  std::vector<std::size_t> found;
  int false_alarms = 0;
  for (int run = 0; run < kRuns; ++run) {
    Random random(mixed(static_cast<std::uint64_t>(run)));
    RiskAlarm risen({});
    while (risen.audits() < kLabels && !risen.add(random.chance(0.10))) continue;
    found.push_back(risen.audits());
    RiskAlarm calm({});
    while (calm.audits() < kLabels && !calm.add(random.chance(0.05))) continue;
    false_alarms += calm.alarmed() ? 1 : 0;
  }
  std::ranges::nth_element(found, found.begin() + kRuns / 2);
  RecordProperty("median", static_cast<int>(found[kRuns / 2]));
  RecordProperty("false_alarms", false_alarms);
  EXPECT_LE(found[kRuns / 2], 150U);
  EXPECT_LE(share(false_alarms, kRuns), 0.05);
}

// A test for one look, taken every 50 labels, alarms falsely far more often: why this is not one.
TEST(RiskAlarm, IsNeededWherePeopleLookOften) {
  constexpr int kRuns = 1'000;
  int alarms = 0;
  for (int run = 0; run < kRuns; ++run) {
    Random random(mixed(static_cast<std::uint64_t>(run) + 77));
    double wrong = 0;
    bool alarmed = false;
    for (int n = 1; n <= 3'000; ++n) {
      wrong += random.chance(0.05) ? 1 : 0;
      alarmed = alarmed || (n % 50 == 0 && (wrong - 0.05 * n) / std::sqrt(0.05 * 0.95 * n) > 1.645);
    }
    alarms += alarmed ? 1 : 0;
  }
  EXPECT_GE(share(alarms, kRuns), 0.20);
}

// After a long calm the evidence of the whole time is far below 1, and has a long way up; that which forgets has not.
TEST(RiskAlarm, ForgetsACalm) {
  constexpr int kRuns = 500;
  constexpr std::size_t kCalm = 2'000;
  std::vector<std::size_t> whole_time;
  std::vector<std::size_t> forgetting;
  int false_alarms = 0;
  for (int run = 0; run < kRuns; ++run) {
    Random random(mixed(static_cast<std::uint64_t>(run) + 5));
    RiskAlarm sum({});
    RiskAlarm forgets({.tolerated = 0.05, .harmful = 0.10, .delta = 0.05, .horizon = 3'000});
    for (std::size_t i = 0; i < kCalm; ++i) {
      const bool wrong = random.chance(0.05);
      sum.add(wrong);
      false_alarms += forgets.alarmed() ? 0 : static_cast<int>(forgets.add(wrong));
    }
    while (!sum.alarmed() || !forgets.alarmed()) {
      const bool wrong = random.chance(0.10);
      if (!sum.alarmed()) sum.add(wrong);
      if (!forgets.alarmed()) forgets.add(wrong);
    }
    whole_time.push_back(sum.audits() - std::min(sum.audits(), kCalm));
    forgetting.push_back(forgets.audits() - std::min(forgets.audits(), kCalm));
  }
  std::ranges::sort(whole_time);
  std::ranges::sort(forgetting);
  RecordProperty("whole_time", static_cast<int>(whole_time[kRuns / 2]));
  RecordProperty("forgetting", static_cast<int>(forgetting[kRuns / 2]));
  EXPECT_LE(share(false_alarms, kRuns), 0.05);
  EXPECT_LT(2 * forgetting[kRuns / 2], whole_time[kRuns / 2]);
}

// Near the threshold more is audited, and more is wrong. Unweighted, that alone would look like a rise.
TEST(RiskAlarm, HoldsWithPropensitiesThatDiffer) {
  constexpr int kRuns = 1'000;
  int weighted = 0;
  int unweighted = 0;
  for (int run = 0; run < kRuns; ++run) {
    Random random(mixed(static_cast<std::uint64_t>(run) + 9));
    RiskAlarm fair({});
    RiskAlarm naive({});
    for (int i = 0; i < 20'000; ++i) {
      const bool near = random.chance(0.2);
      const double q = near ? 0.3 : 0.05;
      const bool wrong = random.chance(near ? 0.15 : 0.025);  // 5 % of all
      if (!random.chance(q)) continue;
      fair.add(wrong, 0.05 / q);
      naive.add(wrong);
    }
    weighted += fair.alarmed() ? 1 : 0;
    unweighted += naive.alarmed() ? 1 : 0;
  }
  EXPECT_LE(share(weighted, kRuns), 0.05);
  EXPECT_GE(share(unweighted, kRuns), 0.9);
}

TEST(ShiftAlarm, FindsAShiftToEitherSideAndSeldomCriesWolf) {
  const std::vector<double> expected(10, 0.1);
  int false_alarms = 0;
  std::vector<int> found;
  for (std::uint64_t run = 0; run < 200; ++run) {
    Random random(mixed(run + 11));
    ShiftAlarm calm({.expected = expected, .tilt = 0.5, .delta = 0.05, .horizon = 10'000});
    for (int i = 0; i < 10'000; ++i) calm.add(random.index(10));
    false_alarms += calm.alarmed() ? 1 : 0;
    for (const bool down : {true, false}) {
      ShiftAlarm shifted({.expected = expected, .tilt = 0.5, .delta = 0.05, .horizon = 10'000});
      int n = 0;
      // The lower half of the scores comes in 65 % of the requests, not in 50.
      for (; n < 10'000 && !shifted.alarmed(); ++n) {
        const std::size_t half = random.index(5);
        shifted.add(random.chance(0.65) == down ? half : 5 + half);
      }
      EXPECT_EQ(shifted.direction(), down ? -1 : 1);
      found.push_back(n);
    }
  }
  std::ranges::sort(found);
  EXPECT_LE(false_alarms, 10);
  EXPECT_LT(found[found.size() / 2], 400);
}

TEST(ShiftAlarm, WatchesTheRateOfEscalations) {
  Random random(4);
  ShiftAlarm alarm({.expected = {0.8, 0.2}, .tilt = 0.3, .delta = 0.01, .horizon = 10'000});
  int n = 0;
  while (n < 10'000 && !alarm.add(random.chance(0.35) ? 1 : 0)) ++n;
  EXPECT_EQ(alarm.direction(), 1);
  EXPECT_LT(n, 500);
}

// The bar: of 10,000 comparisons of a thing with itself, looked at after every pair, at most 5 % name a winner.
TEST(PreferenceTest, SeldomNamesAWinnerWhereThereIsNone) {
  constexpr int kRuns = 10'000;
  int winners = 0;
  int first = 0;
  for (int run = 0; run < kRuns; ++run) {
    Random random(mixed(static_cast<std::uint64_t>(run) + 21));
    PreferenceTest test(0.05);
    for (int i = 0; i < 500 && test.winner() == Preferred::kNeither; ++i) test.add(random.chance(0.5));
    winners += test.winner() != Preferred::kNeither ? 1 : 0;
    first += test.winner() == Preferred::kFirst ? 1 : 0;
  }
  RecordProperty("winners", winners);
  EXPECT_LE(share(winners, kRuns), 0.05);
  EXPECT_GT(winners, 100) << "a test that never names one is not a test";
  EXPECT_NEAR(share(first, winners), 0.5, 0.15);
}

TEST(PreferenceTest, NamesTheBetterOne) {
  int right = 0;
  std::vector<std::size_t> needed;
  for (std::uint64_t run = 0; run < 300; ++run) {
    Random random(mixed(run + 31));
    PreferenceTest test(0.05);
    while (test.first_wins() + test.second_wins() < 1'000 && test.winner() == Preferred::kNeither) {
      test.add(random.chance(0.35));
    }
    right += test.winner() == Preferred::kSecond ? 1 : 0;
    needed.push_back(test.first_wins() + test.second_wins());
  }
  std::ranges::sort(needed);
  EXPECT_GE(right, 290);
  EXPECT_LE(needed[needed.size() / 2], 120U);
}

TEST(PreferenceTest, HasAnIntervalThatHoldsAtEveryLook) {
  EXPECT_EQ(PreferenceTest().interval(), (Interval{0, 1}));
  constexpr int kRuns = 1'000;
  int missed = 0;
  for (int run = 0; run < kRuns; ++run) {
    Random random(mixed(static_cast<std::uint64_t>(run) + 41));
    PreferenceTest test(0.05);
    bool out = false;
    for (int i = 0; i < 100; ++i) {
      test.add(random.chance(0.6));
      if (i % 5 == 4) out = out || !test.interval().has(0.6);
    }
    missed += out ? 1 : 0;
  }
  EXPECT_LE(share(missed, kRuns), 0.05);
  PreferenceTest test(0.05);
  for (int i = 0; i < 100; ++i) test.add(i % 4 != 0);
  const Interval interval = test.interval();
  EXPECT_LT(interval.high - interval.low, 0.35);
  EXPECT_TRUE(interval.has(0.75));
  EXPECT_FALSE(interval.has(0.5));
  EXPECT_EQ(test.winner(), Preferred::kFirst);
}

}  // namespace
}  // namespace shoal::statistics
