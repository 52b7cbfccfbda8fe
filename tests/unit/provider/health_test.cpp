// Keys in turn, retries on a budget, and what a failed attempt says of a key, of a model, or of neither.
#include "shoal/provider/health.h"

#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fakes/manual_clock.h"

namespace shoal::provider {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

struct HealthTest : testing::Test {
  HealthTest() { health->set_keys({"sk-one", "sk-two", "sk-three"}); }
  // The key of the next attempt, or the slug of why there is none.
  std::string next(const std::string& model = "m") {
    auto turn = health->admit(model);
    return turn.ok() ? *turn->key() : std::string(turn.error().info().slug);
  }
  Sequel fail(Turn::Failure failure, const std::string& model = "m") {
    return health->admit(model).value().failed(failure);
  }
  static constexpr Turn::Failure kRefused{.failure = FailureClass::kHardDown};
  static constexpr Turn::Failure kDown{};
  static Turn::Failure limited(std::int64_t ms) { return {.rate_limited = true, .retry_after_ms = ms}; }

  fakes::ManualClock clock;
  std::shared_ptr<Health> health =
      std::make_shared<Health>("acme", clock, nullptr, HealthOptions{{}, [] { return 0.5; }});
};

TEST_F(HealthTest, KeysAreUsedInTurn) {
  EXPECT_THAT((std::vector{next(), next(), next(), next()}), ElementsAre("sk-one", "sk-two", "sk-three", "sk-one"));
}

TEST_F(HealthTest, ARefusedKeyIsLeftOutForHalfAnHour) {
  EXPECT_TRUE(fail(kRefused).other_key);
  EXPECT_THAT((std::vector{next(), next(), next()}), ElementsAre("sk-two", "sk-three", "sk-two"));
  EXPECT_EQ(health->keys().accepted(), 2U);
  EXPECT_EQ(next("another model"), "sk-three") << "for every model";
  clock.pass_ms(1'799'999);
  EXPECT_EQ(health->keys().accepted(), 2U);
  clock.pass_ms(1);
  EXPECT_EQ(next(), "sk-one");
}

TEST_F(HealthTest, WhereEveryKeyIsRefusedThereIsNobodyToAsk) {
  EXPECT_TRUE(fail(kRefused).other_key);
  EXPECT_TRUE(fail(kRefused).other_key);
  EXPECT_FALSE(fail(kRefused).other_key);
  EXPECT_EQ(next(), "upstream_refused");
  const auto outage = health->outage("m");
  ASSERT_TRUE(outage);
  EXPECT_EQ(outage->signal, "keys");
  EXPECT_EQ(outage->value, "none of 3 usable for 1800 s");
  EXPECT_THAT(outage->error.message(), Not(HasSubstr("sk-")));
}

TEST_F(HealthTest, AKeyRestsForAsLongAsItIsToldAtThatModel) {
  EXPECT_TRUE(fail(limited(10'000)).other_key);
  EXPECT_THAT((std::vector{next(), next(), next()}), ElementsAre("sk-two", "sk-three", "sk-two"));
  EXPECT_THAT((std::vector{next("n"), next("n")}), ElementsAre("sk-three", "sk-one"));
  EXPECT_EQ(health->keys().accepted(), 3U);
  EXPECT_TRUE(fail(limited(20'000)).other_key);
  EXPECT_FALSE(fail(limited(4'000)).other_key);
  const auto outage = health->outage("m");
  ASSERT_TRUE(outage);
  EXPECT_EQ(outage->error.code(), ErrorCode::kRateLimited);
  EXPECT_EQ(outage->error.retry_after_ms(), 4'000) << "the soonest";
  EXPECT_EQ(outage->value, "none of 3 usable for 4 s");
  clock.pass_ms(4'000);
  EXPECT_EQ(next(), "sk-three");
}

// 403 may mean the prompt, or the model: a firewall says it, and so does an account that lacks a model.
TEST_F(HealthTest, AForbiddenKeyRestsWhereThereAreOthers) {
  const Turn::Failure forbidden{.failure = FailureClass::kHardDown, .forbidden = true};
  EXPECT_TRUE(fail(forbidden).other_key);
  EXPECT_THAT((std::vector{next(), next(), next()}), ElementsAre("sk-two", "sk-three", "sk-two"));
  EXPECT_THAT((std::vector{next("n"), next("n")}), ElementsAre("sk-three", "sk-one"));
  clock.pass_ms(30'000);
  EXPECT_THAT((std::vector{next(), next(), next()}), ElementsAre("sk-two", "sk-three", "sk-one"));
  health->set_keys({"sk-one"});
  EXPECT_FALSE(fail(forbidden).other_key);
  EXPECT_EQ(next(), "sk-one") << "one client's prompt takes the provider away from nobody";
}

TEST_F(HealthTest, WhatIsWrongWithKeysSaysNothingOfTheModel) {
  health->set_keys({"sk-one"});
  for (int i = 0; i < 10; ++i) {
    fail(limited(1'000));
    clock.pass_ms(1'000);
  }
  EXPECT_EQ(next(), "sk-one");
  EXPECT_EQ(health->targets().front().breaker, Breaker::State::kClosed);
}

TEST_F(HealthTest, ALimitWithoutATimeCountsAgainstTheModel) {
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(fail({.rate_limited = true}).other_key);
  EXPECT_EQ(next(), "provider_down");
  EXPECT_EQ(next("n"), "sk-three") << "but against no other";
}

TEST_F(HealthTest, OnlyWhatIsTheProvidersCountsAgainstIt) {
  for (const FailureClass failure : {FailureClass::kClientFault, FailureClass::kContextLength, FailureClass::kOurs}) {
    for (int i = 0; i < 10; ++i) fail({.failure = failure});
  }
  for (int i = 0; i < 10; ++i) (void)health->admit("m");  // given up, as when the client leaves
  EXPECT_EQ(health->targets().front().breaker, Breaker::State::kClosed);
  for (int i = 0; i < 5; ++i) fail(kDown);
  EXPECT_EQ(health->targets().front().breaker, Breaker::State::kOpen);
}

TEST_F(HealthTest, AnOpenBreakerSaysForHowLong) {
  for (int i = 0; i < 5; ++i) fail(kDown);
  auto outage = health->outage("m");
  ASSERT_TRUE(outage);
  EXPECT_EQ(outage->signal, "breaker");
  EXPECT_EQ(outage->value, "open for 15 s");
  EXPECT_EQ(outage->error.code(), ErrorCode::kProviderDown);
  EXPECT_EQ(outage->error.retry_after_ms(), 15'000);
  clock.pass_ms(15'000);
  EXPECT_FALSE(health->outage("m"));
  auto probe = health->admit("m");
  ASSERT_TRUE(probe.ok());
  outage = health->outage("m");
  ASSERT_TRUE(outage);
  EXPECT_EQ(outage->value, "half-open, being tried");
  EXPECT_EQ(outage->error.retry_after_ms(), 1'000);
  {
    const Turn gone = std::move(probe).value();
  }
  EXPECT_FALSE(health->outage("m")) << "a probe that was given up";
  health->admit("m").value().succeeded();
  EXPECT_EQ(next(), "sk-two");
}

TEST_F(HealthTest, AProbeWithABadKeyIsNoVerdict) {
  for (int i = 0; i < 5; ++i) fail(kDown);
  clock.pass_ms(15'000);
  EXPECT_TRUE(fail(kRefused).other_key);
  EXPECT_FALSE(health->outage("m"));
}

TEST_F(HealthTest, AReloadKeepsWhatIsKnownOfAKey) {
  fail(kRefused);
  health->set_keys({"sk-new", "sk-one"});
  EXPECT_THAT((std::vector{next(), next()}), ElementsAre("sk-new", "sk-new"));
  health->set_keys({});
  auto turn = health->admit("m");
  ASSERT_TRUE(turn.ok());
  EXPECT_EQ(turn->key(), nullptr) << "one that needs no key";
}

TEST_F(HealthTest, AProviderWithoutKeysIsNeverOutOfKeys) {
  health->set_keys({});
  EXPECT_FALSE(fail(kRefused).other_key);
  EXPECT_FALSE(health->outage("m"));
}

TEST_F(HealthTest, TheLogNamesKeysByTheirPlace) {
  auto log = std::make_unique<base::Log>(base::LogFormat::kJson, base::LogLevel::kInfo);
  testing::internal::CaptureStderr();
  auto told = std::make_shared<Health>("acme", clock, log.get(), HealthOptions{});
  told->set_keys({"sk-one", "sk-two", "sk-three"});
  (void)told->admit("m");
  told->admit("m").value().failed(kRefused);
  for (int i = 0; i < 5; ++i) told->admit("m").value().failed(kDown);
  clock.pass_ms(20'000);
  told->admit("m").value().succeeded();
  told.reset();
  log.reset();  // lines that wait for others are written
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_THAT(said, HasSubstr(R"("key":"2 of 3")"));
  EXPECT_THAT(said, HasSubstr("breaker open"));
  EXPECT_THAT(said, HasSubstr("breaker closed"));
  EXPECT_THAT(said, Not(HasSubstr("sk-")));
}

TEST_F(HealthTest, AttemptsAndFailuresAreCounted) {
  fail(kDown);
  fail(kRefused);
  health->admit("m").value().succeeded();
  const TargetCounts counts = health->targets().front().counts;
  EXPECT_EQ(counts.attempts, 3U);
  EXPECT_THAT(counts.failures, ElementsAre(1, 1, 0, 0, 0));
}

TEST_F(HealthTest, NamesThatClientsMakeUpDoNotAddUp) {
  for (int i = 0; i < 5; ++i) fail(kDown, "bad");
  for (int i = 0; i < 10'000; ++i) health->admit("model " + std::to_string(i)).value().succeeded();
  EXPECT_LE(health->targets().size(), 256U);
  EXPECT_EQ(next("bad"), "provider_down") << "an open breaker is not forgotten";
}

TEST_F(HealthTest, AnOutageOutlivesTheProviderThatTookIt) {
  Turn turn = health->admit("m").value();
  health.reset();
  turn.failed(kRefused);
}

TEST_F(HealthTest, WaitsAreRandomUpToADoublingBound) {
  EXPECT_EQ(health->backoff_ms(1), 125);
  EXPECT_EQ(health->backoff_ms(2), 250);
  EXPECT_EQ(health->backoff_ms(4), 1'000);
  EXPECT_EQ(health->backoff_ms(5), 2'000);
  EXPECT_EQ(health->backoff_ms(100), 2'000);
}

// --- retries

struct RetryBudgetTest : testing::Test {
  fakes::ManualClock clock;
  RetryBudget budget{clock};
  int withdraw_all() {
    int count = 0;
    while (budget.withdraw()) ++count;
    return count;
  }
};

TEST_F(RetryBudgetTest, TenComeWithTimeAndAFifthOfTheRequestsOfTenSeconds) {
  EXPECT_EQ(withdraw_all(), 10);
  for (int i = 0; i < 100; ++i) budget.request();
  EXPECT_EQ(withdraw_all(), 20);
  clock.pass_ms(9'000);
  EXPECT_EQ(withdraw_all(), 0);
  clock.pass_ms(1'000);
  EXPECT_EQ(withdraw_all(), 10) << "what was paid in ten seconds ago is gone, and so is what was taken";
}

TEST_F(RetryBudgetTest, AProviderThatIsDownSeesAtMostAQuarterMore) {
  // 100 requests a second, each of which would be retried.
  int attempts = 0;
  for (int i = 0; i < 1'000; ++i) {
    budget.request();
    ++attempts;
    while (budget.withdraw()) ++attempts;
    clock.pass_ms(10);
  }
  EXPECT_LE(attempts, 1'250);
  EXPECT_GE(attempts, 1'200);
}

}  // namespace
}  // namespace shoal::provider
