#include "shoal/ledger/book.h"

#include <array>
#include <string>

#include <gtest/gtest.h>

#include "shoal/ledger/calendar.h"

namespace shoal::ledger {
namespace {

Pico usd_of(const char* text) {
  return *parse_usd(text);
}

Pico micros(std::int64_t count) {
  return Pico(Micro{count});
}

std::int64_t date(const char* text) {
  return parse_date(text).value();
}

const std::int64_t kNoon = date("2026-11-22") + 12 * 3'600;

class BookTest : public ::testing::Test {
 protected:
  BucketId month(const char* cap) { return book_.bucket({}, usd_of(cap)); }

  Result<void> reserve(std::span<const BucketId> chain, const std::string& attempt, Pico amount,
                       std::int64_t now = kNoon, const std::string& request = "") {
    return book_.reserve({.chain = chain,
                          .attempt = attempt,
                          .request = request.empty() ? "r-" + attempt : request,
                          .amount = amount,
                          .expires = now + 600},
                         now);
  }
  Result<void> reserve(BucketId bucket, const std::string& attempt, Pico amount, std::int64_t now = kNoon,
                       const std::string& request = "") {
    return reserve(std::span(&bucket, 1), attempt, amount, now, request);
  }

  // "committed held" of a bucket in the period of `now`, in USD.
  std::string state(const BucketKey& key, std::int64_t now = kNoon) {
    const Period period = key.period;
    const std::int64_t start = (period == Period::kDay ? day_of(now) : month_of(now)).start;
    for (const BucketState& bucket : book_.snapshot(now)) {
      if (bucket.key == key && bucket.start == start) return usd(bucket.committed) + " " + usd(bucket.held);
    }
    return "none";
  }

  Book book_;
};

TEST_F(BookTest, SettlingCommitsTheCostAndGivesTheRestBack) {
  const BucketId id = month("5.00");
  ASSERT_TRUE(reserve(id, "a", usd_of("3")).ok());
  EXPECT_EQ(state({}), "0.00 3.00");
  EXPECT_EQ(book_.settle("a", usd_of("1.25")), usd_of("1.25"));
  EXPECT_EQ(book_.over(), 0U);
  EXPECT_EQ(state({}), "1.25 0.00");
  EXPECT_TRUE(reserve(id, "b", usd_of("3.75")).ok());
  EXPECT_FALSE(reserve(id, "c", usd_of("0.000001")).ok());
}

TEST_F(BookTest, SettlingTwiceChangesNothing) {
  ASSERT_TRUE(reserve(month("5.00"), "a", usd_of("3")).ok());
  ASSERT_TRUE(book_.settle("a", usd_of("1")));
  EXPECT_FALSE(book_.settle("a", usd_of("1")));
  EXPECT_FALSE(book_.release("a"));
  EXPECT_FALSE(book_.settle("never reserved", usd_of("1")));
  EXPECT_EQ(state({}), "1.00 0.00");
}

TEST_F(BookTest, WhatWasNotSentIsGivenBackWhole) {
  ASSERT_TRUE(reserve(month("5.00"), "a", usd_of("5")).ok());
  EXPECT_TRUE(book_.release("a"));
  EXPECT_FALSE(book_.release("a"));
  EXPECT_EQ(state({}), "0.00 0.00");
  EXPECT_EQ(book_.holds(), 0U);
  EXPECT_EQ(book_.finish("r-a").billed, Micro{0});
}

TEST_F(BookTest, TheWholeChainIsTakenOrNothing) {
  const BucketKey key_day{.period = Period::kDay, .owner = Owner::kKey, .name = "team"};
  const BucketKey provider{.owner = Owner::kProvider, .name = "openai"};
  const std::array chain{book_.bucket(key_day, usd_of("10")), book_.bucket({}, std::nullopt),
                         book_.bucket(provider, usd_of("2"))};
  ASSERT_TRUE(reserve(chain, "a", usd_of("1.5")).ok());
  const Result<void> refused = reserve(chain, "b", usd_of("1"));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kBudgetExhausted);
  for (const BucketKey& key : {key_day, BucketKey{}, provider}) EXPECT_EQ(state(key), "0.00 1.50");
  EXPECT_TRUE(reserve(std::span(chain).first(2), "c", usd_of("1")).ok());
  EXPECT_EQ(state(provider), "0.00 1.50");
  EXPECT_EQ(state({}), "0.00 2.50");
}

TEST_F(BookTest, AChainHasRoomForEight) {
  std::array<BucketId, kMaxChain> chain;
  for (std::size_t i = 0; i < chain.size(); ++i) {
    chain[i] = book_.bucket({.owner = Owner::kKey, .name = std::to_string(i)}, usd_of("1"));
  }
  ASSERT_TRUE(reserve(chain, "a", usd_of("0.5")).ok());
  ASSERT_TRUE(book_.settle("a", usd_of("0.25")));
  for (std::size_t i = 0; i < chain.size(); ++i) {
    EXPECT_EQ(state({.owner = Owner::kKey, .name = std::to_string(i)}), "0.25 0.00");
  }
}

TEST_F(BookTest, ARefusalNamesTheBucketAndItsNumbers) {
  const BucketKey key{.owner = Owner::kKey, .name = "team\n"};
  const BucketId id = book_.bucket(key, usd_of("5"));
  book_.restore(id, kNoon, Micro{4'950'000});
  ASSERT_TRUE(reserve(id, "a", usd_of("0.01")).ok());
  EXPECT_EQ(reserve(id, "b", usd_of("0.10")).error().message(),
            "the budget of the key \"team\\n\" of 5.00 USD for the month from 2026-11-01 is used up: 4.95 USD are "
            "committed, 0.01 USD are held, and this request needs 0.10 USD; the next begins on 2026-12-01");
  const BucketId day = book_.bucket({.period = Period::kDay, .owner = Owner::kProvider, .name = "x"}, Pico());
  EXPECT_EQ(
      reserve(day, "b", usd_of("1")).error().message(),
      "the budget for the provider \"x\" of 0.00 USD for the day from 2026-11-22 is used up: 0.00 USD are committed, "
      "0.00 USD are held, and this request needs 1.00 USD; the next begins on 2026-11-23");
}

TEST_F(BookTest, AThousandAtOnceGetExactlyWhatThereIs) {
  const BucketId id = month("5.00");
  int passed = 0;
  for (int i = 0; i < 1'000; ++i) passed += reserve(id, std::to_string(i), usd_of("0.10")).ok() ? 1 : 0;
  EXPECT_EQ(passed, 50);
  EXPECT_EQ(state({}), "0.00 5.00");
}

TEST_F(BookTest, ABudgetForSoManyLetsSoManyThrough) {
  const Pico price = Pico(Int128{299'600'001});  // in part a micro-dollar: 300 are billed
  const BucketId id = book_.bucket({}, micros(31'337 * 300));
  int passed = 0;
  for (int i = 0; i < 100'000; ++i) {
    const std::string attempt = std::to_string(i);
    if (!reserve(id, attempt, price).ok()) continue;
    ++passed;
    ASSERT_TRUE(book_.settle(attempt, price));
    ASSERT_EQ(book_.finish("r-" + attempt).billed, Micro{300});
  }
  EXPECT_EQ(passed, 31'337);
  EXPECT_EQ(state({}), usd(micros(31'337 * 300)) + " 0.00");
}

TEST_F(BookTest, ARequestIsRoundedUpOnceOverAllItsAttempts) {
  const BucketId total = month("1.00");
  const BucketKey first{.owner = Owner::kProvider, .name = "first"};
  const BucketKey second{.owner = Owner::kProvider, .name = "second"};
  const std::array to_first{total, book_.bucket(first, std::nullopt)};
  const std::array to_second{total, book_.bucket(second, std::nullopt)};
  const Pico third(Int128{300'000});  // 0.3 micro-dollars
  ASSERT_TRUE(reserve(to_first, "a", third, kNoon, "r").ok());
  ASSERT_TRUE(reserve(to_second, "b", third, kNoon, "r").ok());
  EXPECT_EQ(state({}), "0.00 0.000002");
  EXPECT_EQ(book_.settle("b", third), micros(1));
  EXPECT_EQ(book_.settle("a", third), Pico());
  ASSERT_TRUE(reserve(to_first, "c", third, kNoon, "r").ok());
  EXPECT_EQ(book_.settle("c", third), Pico());
  ASSERT_TRUE(reserve(to_first, "d", third, kNoon, "r").ok());
  EXPECT_EQ(book_.settle("d", third), micros(1));
  const Bill bill = book_.finish("r");
  EXPECT_EQ(bill.exact, Pico(Int128{1'200'000}));
  EXPECT_EQ(bill.billed, Micro{2});
  EXPECT_EQ(bill.open, 0U);
  EXPECT_EQ(state({}), "0.000002 0.00");
  EXPECT_EQ(state(first), "0.000001 0.00");
  EXPECT_EQ(state(second), "0.000001 0.00");
}

TEST_F(BookTest, RoundingNeverGoesOverTheCap) {
  // Two requests have spent 0.3 micro-dollars each and go on; the rest is held by a third.
  const BucketId id = book_.bucket({}, micros(100));
  for (const char* request : {"r", "s"}) {
    ASSERT_TRUE(reserve(id, std::string(request) + "1", Pico(Int128{300'000}), kNoon, request).ok());
    ASSERT_TRUE(book_.settle(std::string(request) + "1", Pico(Int128{300'000})));
  }
  EXPECT_FALSE(reserve(id, "t", micros(99)).ok());
  ASSERT_TRUE(reserve(id, "t", micros(98)).ok());
  EXPECT_EQ(state({}), "0.000002 0.000098");
  EXPECT_EQ(book_.finish("r").billed, Micro{1});
  EXPECT_EQ(book_.finish("s").billed, Micro{1});
  EXPECT_EQ(state({}), "0.000002 0.000098");
}

TEST_F(BookTest, AnExpiredHoldIsCommittedAtItsEstimate) {
  const BucketId id = month("5.00");
  ASSERT_TRUE(reserve(id, "early", usd_of("1"), kNoon).ok());
  ASSERT_TRUE(reserve(id, "late", usd_of("2"), kNoon + 1).ok());
  EXPECT_TRUE(book_.expire(kNoon + 599).empty());
  const std::vector<ExpiredHold> expired = book_.expire(kNoon + 600);
  ASSERT_EQ(expired.size(), 1U);
  EXPECT_EQ(expired[0].attempt, "early");
  EXPECT_EQ(expired[0].request, "r-early");
  EXPECT_EQ(expired[0].amount, usd_of("1"));
  EXPECT_EQ(state({}), "1.00 2.00");
  EXPECT_FALSE(book_.settle("early", usd_of("0.5")));
  EXPECT_EQ(book_.finish("r-early").billed, Micro{1'000'000});
  EXPECT_EQ(book_.expire(kNoon + 10'000).size(), 1U);
  EXPECT_EQ(state({}), "3.00 0.00");
  ASSERT_TRUE(reserve(id, "next", usd_of("2"), kNoon).ok());
  EXPECT_EQ(book_.expire(kNoon + 10'000).size(), 1U);
}

TEST_F(BookTest, APeriodEndsAtMidnightUtcAndAHoldStaysInIts) {
  const BucketKey key{.period = Period::kDay};
  const BucketId day = book_.bucket(key, usd_of("1"));
  const std::int64_t midnight = date("2026-11-23");
  ASSERT_TRUE(reserve(day, "a", usd_of("0.6"), midnight - 1).ok());
  EXPECT_FALSE(reserve(day, "b", usd_of("0.6"), midnight - 1).ok());
  ASSERT_TRUE(reserve(day, "b", usd_of("0.6"), midnight).ok());
  EXPECT_EQ(state(key, midnight - 1), "0.00 0.60");
  EXPECT_EQ(state(key, midnight), "0.00 0.60");
  EXPECT_EQ(book_.snapshot(midnight).size(), 2U);
  ASSERT_TRUE(book_.settle("a", usd_of("0.5")));
  ASSERT_TRUE(book_.settle("b", usd_of("0.4")));
  EXPECT_EQ(state(key, midnight - 1), "0.50 0.00");
  EXPECT_EQ(state(key, midnight), "0.40 0.00");
  EXPECT_EQ(book_.snapshot(midnight).size(), 1U);
}

TEST_F(BookTest, AMonthBeginsOnItsFirst) {
  const BucketId id = month("1");
  ASSERT_TRUE(reserve(id, "a", usd_of("1"), date("2026-11-01")).ok());
  EXPECT_FALSE(reserve(id, "b", usd_of("1"), date("2026-12-01") - 1).ok());
  EXPECT_TRUE(reserve(id, "b", usd_of("1"), date("2026-12-01")).ok());
  // Years without a request change nothing.
  EXPECT_TRUE(reserve(id, "c", usd_of("1"), date("2031-02-28")).ok());
  EXPECT_EQ(book_.holds(), 3U);
  for (const char* attempt : {"a", "b", "c"}) EXPECT_TRUE(book_.settle(attempt, usd_of("1"))) << attempt;
  EXPECT_EQ(state({}, date("2031-02-01")), "1.00 0.00");
}

TEST_F(BookTest, AClockThatIsSetBackGetsNoNewBudget) {
  const BucketKey key{.period = Period::kDay};
  const BucketId day = book_.bucket(key, usd_of("1"));
  auto spend = [&, count = 0](std::int64_t now) mutable {
    const std::string attempt = std::to_string(++count);
    if (!reserve(day, attempt, usd_of("1"), now).ok()) return false;
    return book_.settle(attempt, usd_of("1")).has_value();
  };
  EXPECT_TRUE(spend(kNoon));
  EXPECT_FALSE(spend(kNoon - 86'400)) << "a day that is before all that is known";
  EXPECT_TRUE(spend(date("2030-01-01"))) << "a clock gone wrong";
  EXPECT_FALSE(spend(kNoon)) << "set right again";
  EXPECT_FALSE(spend(date("2030-01-01")));
  EXPECT_TRUE(spend(kNoon + 86'400)) << "the wrong day is no obstacle to the next";
  EXPECT_FALSE(spend(kNoon));
  EXPECT_FALSE(spend(kNoon + 86'400));
}

TEST_F(BookTest, AWrongClockDoesNotPushTheDayBeforeOut) {
  const BucketId day = book_.bucket({.period = Period::kDay}, usd_of("1"));
  const auto spend = [&](const char* attempt, const char* amount, std::int64_t now) {
    return reserve(day, attempt, usd_of(amount), now).ok() && book_.settle(attempt, usd_of(amount));
  };
  EXPECT_TRUE(spend("a", "1", kNoon));
  EXPECT_TRUE(spend("b", "0.1", date("2030-01-01")));
  EXPECT_TRUE(spend("c", "0.1", kNoon + 86'400));
  EXPECT_FALSE(spend("d", "0.1", kNoon)) << "all of this day was spent";
  EXPECT_TRUE(spend("e", "0.9", kNoon + 86'400));
}

TEST_F(BookTest, ACapBelowWhatIsCommittedRefusesAll) {
  const BucketId id = month("5.00");
  ASSERT_TRUE(reserve(id, "a", usd_of("3")).ok());
  ASSERT_TRUE(book_.settle("a", usd_of("3")));
  EXPECT_EQ(book_.bucket({}, usd_of("2")), id);
  EXPECT_FALSE(reserve(id, "b", Pico(Int128{1})).ok());
  EXPECT_FALSE(reserve(id, "b", Pico()).ok());
  EXPECT_EQ(state({}), "3.00 0.00");
  book_.bucket({}, usd_of("3"));
  EXPECT_TRUE(reserve(id, "b", Pico()).ok());
  EXPECT_FALSE(reserve(id, "c", Pico(Int128{1})).ok());
  book_.bucket({}, std::nullopt);
  EXPECT_TRUE(reserve(id, "c", kMaxAmount).ok());
}

TEST_F(BookTest, ACostOverTheReservationIsCommittedAndCounted) {
  const BucketId id = month("1.00");
  ASSERT_TRUE(reserve(id, "a", usd_of("1")).ok());
  EXPECT_EQ(book_.settle("a", usd_of("1.5")), usd_of("1.5"));
  EXPECT_EQ(book_.over(), 1U);
  EXPECT_EQ(state({}), "1.50 0.00");
  EXPECT_FALSE(reserve(id, "b", Pico()).ok());
}

TEST_F(BookTest, AnAttemptHasOneReservation) {
  const BucketId id = month("5.00");
  ASSERT_TRUE(reserve(id, "a", usd_of("1")).ok());
  EXPECT_EQ(reserve(id, "a", usd_of("1")).error().code(), ErrorCode::kAlreadyExists);
  EXPECT_EQ(state({}), "0.00 1.00");
}

TEST_F(BookTest, AFinishedRequestIsForgottenWithItsLastAttempt) {
  const BucketId id = month("5.00");
  ASSERT_TRUE(reserve(id, "a", usd_of("1"), kNoon, "r").ok());
  ASSERT_TRUE(reserve(id, "b", usd_of("1"), kNoon, "r").ok());
  ASSERT_TRUE(book_.settle("a", usd_of("0.25")));
  Bill bill = book_.finish("r");
  EXPECT_EQ(bill.billed, Micro{250'000});
  EXPECT_EQ(bill.open, 1U);
  ASSERT_TRUE(book_.settle("b", usd_of("0.5")));
  bill = book_.finish("r");
  EXPECT_EQ(bill.exact, Pico());
  EXPECT_EQ(bill.open, 0U);
  EXPECT_EQ(state({}), "0.75 0.00");
  EXPECT_EQ(book_.finish("never seen").billed, Micro{0});
}

TEST_F(BookTest, WithoutBudgetsCostsAreStillSummed) {
  ASSERT_TRUE(reserve(std::span<const BucketId>(), "a", usd_of("1"), kNoon, "r").ok());
  ASSERT_TRUE(book_.settle("a", Pico(Int128{1})));
  EXPECT_EQ(book_.finish("r").billed, Micro{1});
}

TEST_F(BookTest, GoesOnWhereTheJournalEnds) {
  const BucketKey day_key{.period = Period::kDay};
  const std::array chain{month("5.00"), book_.bucket(day_key, usd_of("2"))};
  const std::int64_t yesterday = kNoon - 86'400;
  book_.restore(chain[0], kNoon, Micro{3'000'001});
  book_.restore(chain[1], kNoon, Micro{1'000'000});
  // Its request had spent 0.3 micro-dollars, which are among those committed.
  const Reservation open{.chain = chain, .attempt = "a", .request = "r", .amount = usd_of("1"), .expires = kNoon + 5};
  book_.restore_hold(open, yesterday, Pico(Int128{300'000}));
  // Days that lie between it and today do not push today out.
  book_.restore_hold({.chain = chain, .attempt = "b", .request = "s", .amount = usd_of("1"), .expires = kNoon + 600},
                     yesterday - 86'400, Pico());
  EXPECT_EQ(state({}), "3.000001 2.00");
  EXPECT_EQ(state(day_key), "1.00 0.00");
  EXPECT_EQ(state(day_key, yesterday), "0.00 1.00");
  EXPECT_FALSE(reserve(chain, "c", usd_of("1")).ok()) << "the month is taken";
  ASSERT_TRUE(book_.release("b"));
  EXPECT_TRUE(reserve(chain, "c", usd_of("0.9")).ok());
  const std::vector<ExpiredHold> expired = book_.expire(kNoon + 5);
  ASSERT_EQ(expired.size(), 1U);
  EXPECT_EQ(expired[0].attempt, "a");
  EXPECT_EQ(state({}), "4.000001 0.90") << "0.3 micro-dollars and 1 USD, rounded up once";
  EXPECT_EQ(book_.finish("r").exact, Pico()) << "nobody is there to finish it";
}

TEST_F(BookTest, ACorrectionCountsAtOnce) {
  const BucketId id = month("1.00");
  ASSERT_TRUE(reserve(id, "a", usd_of("0.25")).ok());
  ASSERT_TRUE(reserve(id, "b", usd_of("0.25")).ok());
  ASSERT_TRUE(book_.settle("a", usd_of("0.25")));
  book_.correct({}, kNoon, Micro{500'000});
  EXPECT_EQ(state({}), "0.75 0.25") << "what is under way stays";
  EXPECT_FALSE(reserve(id, "c", usd_of("0.01")).ok()) << "the cap holds";
  book_.correct({}, kNoon, Micro{-700'000});
  EXPECT_EQ(state({}), "0.05 0.25");
  book_.correct({}, kNoon, Micro{-700'000});
  EXPECT_EQ(state({}), "0.00 0.25") << "never less than nothing";
  const BucketKey yesterday{.period = Period::kDay, .owner = Owner::kKey, .name = "k"};
  book_.correct(yesterday, kNoon - 86'400, Micro{3});
  EXPECT_EQ(state(yesterday, kNoon - 86'400), "0.000003 0.00");
  EXPECT_EQ(state(yesterday), "0.00 0.00");
}

TEST_F(BookTest, AnErrorShowsWhoseBudgetItIs) {
  const BucketKey key{.owner = Owner::kKey, .name = "k5k2"};
  const BucketId id = book_.bucket(key, usd_of("0"), "alice");
  const auto refused = reserve(id, "a", usd_of("1"));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message().find("k5k2"), std::string::npos);
  EXPECT_NE(refused.error().message().find("the key \"alice\""), std::string::npos);
}

TEST_F(BookTest, AFullBookGoesOnAfterARestart) {
  const BucketId id = month("1.00");
  book_.restore_hold({.chain = std::span(&id, 1), .attempt = "a", .request = "r", .amount = usd_of("2"), .expires = 0},
                     kNoon, Pico());
  EXPECT_EQ(state({}), "0.00 2.00") << "the cap was lowered in between";
  EXPECT_FALSE(reserve(id, "b", Pico()).ok());
  EXPECT_EQ(book_.expire(kNoon).size(), 1U);
  EXPECT_EQ(state({}), "2.00 0.00");
}

}  // namespace
}  // namespace shoal::ledger
