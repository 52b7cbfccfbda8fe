// What every Store must do: sums of money, by the day and by whom it was paid to, and new prices for old attempts.
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "shoal/ledger/prices.h"
#include "shoal/ledger/usage.h"

#include "contract.h"
#include "history.h"

namespace shoal::store {
namespace {

using audit::Decision;
using audit::OutcomeKind;
using ledger::Micro;
using ledger::Owner;
using ledger::Period;
using ledger::Pico;

class StoreCosts : public StoreContract {};

TEST_P(StoreCosts, ARequestIsRoundedUpOnceInTheOrderInWhichItsAttemptsEnded) {
  audit::Intent one = intent("a1", "r1", 1'000'000);
  audit::Intent two = intent("a2", "r1", 1'000'000);
  audit::Intent three = intent("a3", "r1", 1'000'000);
  two.provider = "anthropic";
  three.provider = "mistral";
  history_.add(one);
  history_.add(two);
  history_.add(three);
  history_.add(outcome("a3", 400'000));
  history_.add(outcome("a1", 400'000));
  history_.add(outcome("a2", 400'000));
  apply();
  // 0.4, 0.8 and 1.2: one micro-dollar with the first that ended, one with the last.
  EXPECT_EQ(committed(Period::kDay, Owner::kProvider, "mistral"), 1);
  EXPECT_EQ(committed(Period::kDay, Owner::kProvider, "openai"), -1);
  EXPECT_EQ(committed(Period::kDay, Owner::kProvider, "anthropic"), 1);
  EXPECT_EQ(committed(Period::kDay, Owner::kTotal), 2);
  const Request found = request("r1");
  EXPECT_EQ(found.committed, Micro{2});
  EXPECT_EQ(found.attempts[0].committed, Micro{0});
  EXPECT_EQ(found.attempts[1].committed, Micro{1});
  EXPECT_EQ(found.attempts[2].committed, Micro{1});
}

TEST_P(StoreCosts, MoneyBelongsToThePeriodOfItsIntent) {
  const std::int64_t midnight_ms = kDay * 1000;
  const std::int64_t month_ms = kMonth * 1000;
  history_.add(intent("a1", "r1", 9, midnight_ms - 1));
  history_.add(intent("a2", "r2", 9, midnight_ms));
  history_.add(intent("a3", "r3", 9, month_ms - 1));
  history_.add(intent("a4", "r4", 9, midnight_ms + kDayMs));
  history_.add(outcome("a1", 1'000'000, OutcomeKind::kSettled, midnight_ms + 5));
  history_.add(outcome("a2", 2'000'000, OutcomeKind::kSettled, midnight_ms + 5));
  history_.add(outcome("a3", 4'000'000, OutcomeKind::kSettled, midnight_ms + 5));
  history_.add(outcome("a4", 8'000'000, OutcomeKind::kSettled, midnight_ms + 5));
  apply();
  EXPECT_EQ(committed(Period::kDay, Owner::kTotal), 2);
  EXPECT_EQ(committed(Period::kMonth, Owner::kTotal), 11);
  EXPECT_EQ(total(kDay - 1, kDay + 1).cost, Pico(2'000'000));
  EXPECT_EQ(total(kDay + 1, kDay * 2).cost, Pico(8'000'000));
  const auto days = rows(CostsBy::kDay);
  ASSERT_EQ(days.size(), 4U);
  EXPECT_EQ(days[0].name, "2026-10-31");
  EXPECT_EQ(days[0].costs.cost, Pico(4'000'000));
  EXPECT_EQ(days[3].name, "2026-11-23");
}

// It came before midnight, asked one provider before and one after it, and ended on the next day.
TEST_P(StoreCosts, AllOfARequestIsCountedOnTheDayOnWhichItCame) {
  const std::int64_t midnight_ms = kDay * 1000;
  history_.add(intent("a1", "r1", 9'000'000, midnight_ms - 2));
  history_.add(outcome("a1", 1'000'000, OutcomeKind::kSettled, midnight_ms + 1));
  history_.add(intent("a2", "r1", 9'000'000, midnight_ms + 2));
  apply();
  EXPECT_EQ(total(kDay, kDay + 1).committed, Micro{0});
  history_.add(outcome("a2", 30'000'000, OutcomeKind::kSettled, midnight_ms + 3));
  apply();
  EXPECT_EQ(total(kDay, kDay + 1).committed, Micro{30}) << "before its receipt comes nobody knows better";
  history_.add(receipt("r1", Decision::kRemote, midnight_ms - 3));
  apply();
  EXPECT_EQ(total(kDay, kDay * 2), Costs()) << "no false saving";
  const Costs before = total(kDay - kDayMs / 1000, kDay);
  EXPECT_EQ(before, total());
  EXPECT_EQ(before.requests, 1);
  EXPECT_EQ(before.attempts, 2);
  EXPECT_EQ(before.committed, Micro{31});
  EXPECT_EQ(before.saved({}), Micro{50 - 31});
  // Budgets are another thing: they were taken on two days.
  EXPECT_EQ(committed(Period::kDay, Owner::kTotal), 30);
  EXPECT_EQ(committed(Period::kMonth, Owner::kTotal), 31);
  const auto price = [](const PricedUse&) { return std::optional(Pico(2'000'000)); };
  must(store().reprice(price, {}));
  EXPECT_EQ(committed(Period::kDay, Owner::kTotal), 2);
  EXPECT_EQ(total(kDay - kDayMs / 1000, kDay).committed, Micro{4});
}

TEST_P(StoreCosts, AnonymousRequestsBelongToNoKey) {
  audit::Intent anonymous = intent("a1", "r1", 9);
  anonymous.principal.clear();
  history_.add(anonymous);
  history_.add(outcome("a1", 1'000'000));
  apply();
  const auto all = must(store().committed(kDay, kMonth));
  EXPECT_EQ(all.size(), 4U);
  for (const Committed& one : all) EXPECT_NE(one.bucket.owner, Owner::kKey);
  EXPECT_EQ(rows(CostsBy::kKey)[0].name, "");
}

TEST_P(StoreCosts, SumsAreExactBeyond64Bits) {
  // 18 of the dearest there can be are more pico-dollars than 64 bits hold, and none is lost.
  const auto most = static_cast<std::int64_t>(ledger::kMaxAmount.value() / 1'000'000);
  audit::Pico sum = 0;
  for (int i = 0; i < 40; ++i) {
    const std::string id = std::to_string(i);
    history_.add(intent("a" + id, "r" + id, 1));
    audit::Outcome one = outcome("a" + id, 0);
    one.cost_pico = ledger::kMaxAmount.value() - i;
    sum += one.cost_pico;
    history_.add(one);
  }
  apply();
  EXPECT_GT(sum, static_cast<audit::Pico>(std::numeric_limits<std::int64_t>::max()) * 1000);
  EXPECT_EQ(total().cost, Pico(sum));
  EXPECT_EQ(total().committed.value, 40 * most);
  EXPECT_EQ(committed(Period::kMonth, Owner::kKey, "alice"), 40 * most);
}

// The goldens of LiteLLM's issues 9812 and 11789: docs in the ledger's tests; here they come through the store.
TEST_P(StoreCosts, MoneyGoldens) {
  struct Golden {
    ledger::PriceText price;
    audit::TokenCounts tokens;
    std::int64_t micro;
    std::int64_t pico;
  };
  const Golden goldens[] = {
      {{.provider = "anthropic",
        .model = "a",
        .from = "2026-01-01",
        .input_usd = "3",
        .cache_write_5m_usd = "3.75",
        .output_usd = "15"},
       {.input = 3, .cache_write_5m = 12'304, .output = 550},
       54'399,
       54'399'000'000},
      {{.provider = "anthropic",
        .model = "b",
        .from = "2026-01-01",
        .input_usd = "0.8",
        .cache_read_usd = "0.08",
        .output_usd = "4"},
       {.input = 4, .cache_read = 2'455, .output = 23},
       292,
       291'600'000},
      {{.provider = "openai", .model = "c", .from = "2026-01-01", .input_usd = "0.08", .output_usd = "1"},
       {.input = 1, .output = 209, .reasoning = 768},
       978,
       977'080'000},
  };
  int number = 0;
  for (const Golden& golden : goldens) {
    const std::string id = std::to_string(++number);
    const ledger::PriceRow row = must(ledger::make_price_row(golden.price));
    const audit::TokenCounts& t = golden.tokens;
    const Pico cost =
        must(ledger::cost(row, {t.input, t.cache_read, t.cache_write_5m, t.cache_write_1h, t.output, t.reasoning}));
    history_.add(intent("a" + id, "r" + id, 1'000'000'000'000));
    audit::Outcome settled = outcome("a" + id, 0);
    settled.tokens = t;
    settled.cost_pico = cost.value();
    history_.add(settled);
    apply();
    EXPECT_EQ(request("r" + id).cost, Pico(golden.pico)) << number;
    EXPECT_EQ(request("r" + id).committed, Micro{golden.micro}) << number;
  }
  EXPECT_EQ(total().committed.value, 54'399 + 292 + 978);
  EXPECT_EQ(total().tokens.reasoning, 768);
  EXPECT_EQ(total().tokens.cache_read, 2'455);
}

TEST_P(StoreCosts, CostsBySayWhoDidWhat) {
  history_.add(receipt("r1"));
  audit::Receipt refused = receipt("r2", Decision::kRefused);
  refused.baseline_micro = -1;
  refused.principal = "bob";
  history_.add(refused);
  history_.add(intent("a3", "r3", 9'000'000));
  history_.add(outcome("a3", 7'000'000));
  audit::Receipt escalated = receipt("r3", Decision::kEscalated);
  escalated.model = "openai/gpt-4o-mini";
  escalated.route = "hard";
  history_.add(escalated);
  apply();

  const Costs all = total();
  EXPECT_EQ(all.requests, 3);
  EXPECT_EQ(all.local, 1);
  EXPECT_EQ(all.escalated, 1);
  EXPECT_EQ(all.refused, 1);
  EXPECT_EQ(all.remote + all.failed_over, 0);
  EXPECT_EQ(all.prompt_tokens, 3 * 19);
  EXPECT_EQ(all.completion_tokens, 3 * 8);
  EXPECT_EQ(all.attempts, 1);
  EXPECT_EQ(all.tokens, outcome("", 0).tokens);
  EXPECT_EQ(all.cost, Pico(7'000'000));
  EXPECT_EQ(all.committed, Micro{7});
  EXPECT_EQ(all.with_baseline, 2);
  EXPECT_EQ(all.baseline, Micro{100});
  EXPECT_EQ(all.saved(Micro{3}), Micro{90});
  EXPECT_EQ(all.local_ms, 3 * 120);
  EXPECT_EQ(all.with_baseline_local_ms, 2 * 120);

  const auto models = rows(CostsBy::kModel);
  ASSERT_EQ(models.size(), 3U);
  EXPECT_EQ(models[0].name, "gpt-4o-mini");
  EXPECT_EQ(models[0].costs.refused, 1);
  EXPECT_EQ(models[0].costs.cost, Pico());
  EXPECT_EQ(models[1].name, "openai/gpt-4o-mini");
  EXPECT_EQ(models[1].costs.cost, Pico(7'000'000));
  EXPECT_EQ(models[1].costs.saved({}), Micro{43});
  EXPECT_EQ(models[2].name, "smollm2");
  EXPECT_EQ(models[2].costs.local, 1);

  const auto keys = rows(CostsBy::kKey);
  ASSERT_EQ(keys.size(), 2U);
  EXPECT_EQ(keys[0].name, "alice");
  EXPECT_EQ(keys[0].costs.requests, 2);
  EXPECT_EQ(keys[1].name, "bob");
  // What an attempt cost stands with the route that its intent names.
  const auto routes = rows(CostsBy::kRoute);
  ASSERT_EQ(routes.size(), 2U);
  EXPECT_EQ(routes[0].name, "chat");
  EXPECT_EQ(routes[0].costs.cost, Pico(7'000'000));
  EXPECT_EQ(routes[1].name, "hard");
  EXPECT_EQ(routes[1].costs.escalated, 1);
}

TEST_P(StoreCosts, AnAttemptWithoutAReceiptStandsWithTheModelThatWasAsked) {
  history_.add(intent("a1", "r1", 9'000'000));
  history_.add(outcome("a1", 7'000'000));
  apply();
  EXPECT_EQ(rows(CostsBy::kModel)[0].name, "openai/gpt-4o-mini");
  EXPECT_EQ(total().with_baseline_committed, Micro{0});
  audit::Receipt other = receipt("r1", Decision::kRemote);
  other.model = "claude";
  history_.add(other);
  // An attempt that comes after the receipt: the client had gone, and the answer was drained.
  history_.add(intent("a2", "r1", 9'000'000));
  history_.add(outcome("a2", 500'000));
  apply();
  const auto models = rows(CostsBy::kModel);
  ASSERT_EQ(models.size(), 2U);
  EXPECT_EQ(models[0].name, "claude");
  EXPECT_EQ(models[0].costs.requests, 1);
  EXPECT_EQ(models[0].costs.cost, Pico());
  EXPECT_EQ(models[0].costs.with_baseline_committed, Micro{8}) << "it saved that much less";
  EXPECT_EQ(models[1].name, "openai/gpt-4o-mini");
  EXPECT_EQ(models[1].costs.cost, Pico(7'500'000));
  EXPECT_EQ(models[1].costs.committed, Micro{8});
  EXPECT_EQ(models[1].costs.with_baseline, 0);
}

// One provider broke off and is paid, the next one answered: each bill stands with who wrote it.
TEST_P(StoreCosts, MoneyStandsWithWhomItWasPaidTo) {
  audit::Intent one = intent("a1", "r1", 9'000'000);
  one.provider = "acme";
  one.model = "big";
  history_.add(one);
  history_.add(outcome("a1", 7'000'000));
  history_.add(intent("a2", "r1", 9'000'000));
  history_.add(outcome("a2", 2'000'000));
  audit::Receipt answered = receipt("r1", Decision::kRemote);
  answered.model = "openai/gpt-4o-mini";
  answered.egress = "acme,openai";
  history_.add(answered);
  audit::Receipt here = receipt("r2");
  here.model = "hf/qwen";
  history_.add(here);
  audit::Receipt refused = receipt("r3", Decision::kRefused);
  refused.model = "acme/big";
  refused.egress.clear();
  refused.baseline_micro = -1;
  history_.add(refused);
  apply();

  const auto models = rows(CostsBy::kModel);
  ASSERT_EQ(models.size(), 3U);
  EXPECT_EQ(models[0].name, "acme/big");
  EXPECT_EQ(models[0].costs.committed, Micro{7});
  EXPECT_EQ(models[0].costs.with_baseline, 0);
  EXPECT_EQ(models[0].costs.refused, 1);
  EXPECT_EQ(models[1].name, "hf/qwen");
  EXPECT_EQ(models[1].costs.local, 1);
  EXPECT_EQ(models[2].name, "openai/gpt-4o-mini");
  EXPECT_EQ(models[2].costs.requests, 1);
  EXPECT_EQ(models[2].costs.committed, Micro{2});
  EXPECT_EQ(models[2].costs.saved({}), Micro{50 - 9}) << "the request cost both";

  const auto providers = rows(CostsBy::kProvider);
  ASSERT_EQ(providers.size(), 3U);
  EXPECT_EQ(providers[0].name, "");
  EXPECT_EQ(providers[0].costs.requests, 2) << "what was answered here, and what nobody was asked for";
  EXPECT_EQ(providers[0].costs.committed, Micro{0});
  EXPECT_EQ(providers[1].name, "acme");
  EXPECT_EQ(providers[1].costs.requests, 0);
  EXPECT_EQ(providers[1].costs.committed, Micro{7});
  EXPECT_EQ(providers[2].name, "openai");
  EXPECT_EQ(providers[2].costs.requests, 1);
  EXPECT_EQ(providers[2].costs.committed, Micro{2});
}

TEST_P(StoreCosts, RepriceComputesEverySumAnew) {
  history_.add(intent("a1", "r1", 9'000'000));
  history_.add(outcome("a1", 400'000));
  history_.add(intent("a2", "r1", 9'000'000));
  history_.add(outcome("a2", 400'000));
  history_.add(receipt("r1", Decision::kFailedOver));
  history_.add(intent("a3", "r2", 9'000'000));
  history_.add(outcome("a3", 3'000'000));
  audit::Intent strange = intent("a4", "r3", 9'000'000);
  strange.model = "no price";
  history_.add(strange);
  history_.add(outcome("a4", 1'000'000));
  history_.add(intent("a5", "r4", 5'000'000));
  history_.add(outcome("a5", 0, OutcomeKind::kUnknown));
  history_.add(intent("a6", "r5", 5'000'000));
  apply();
  EXPECT_EQ(committed(Period::kDay, Owner::kTotal), 1 + 3 + 1 + 5);

  std::vector<PricedUse> asked;
  const auto price = [&](const PricedUse& use) -> std::optional<Pico> {
    EXPECT_EQ(use.provider, "openai");
    EXPECT_EQ(use.at, kNoonMs / 1000);
    EXPECT_EQ(use.tokens, outcome("", 0).tokens);
    if (use.model == "no price") return std::nullopt;
    return Pico(700'000);
  };
  const RepriceProgress done = must(store().reprice(price, {}));
  EXPECT_EQ(done.looked_at, 6U);
  EXPECT_EQ(done.of, 6U);
  EXPECT_EQ(done.changed, 3U);
  EXPECT_EQ(done.unpriced, 1U);
  const Request first = request("r1");
  EXPECT_EQ(first.cost, Pico(1'400'000));
  EXPECT_EQ(first.committed, Micro{2});
  EXPECT_EQ(first.attempts[0].outcome->cost_pico, 400'000) << "what the journal says stays";
  EXPECT_EQ(request("r2").committed, Micro{1});
  EXPECT_EQ(request("r3").cost, Pico(1'000'000));
  EXPECT_EQ(request("r4").cost, Pico(5'000'000));
  EXPECT_EQ(committed(Period::kDay, Owner::kTotal), 2 + 1 + 1 + 5);
  EXPECT_EQ(total().cost, Pico(1'400'000 + 700'000 + 1'000'000 + 5'000'000));
  EXPECT_EQ(total().with_baseline_committed, Micro{2});
  EXPECT_EQ(must(store().reprice(price, {})).changed, 0U);

  // The new price stays when something else about the request changes.
  history_.add(receipt("r2", Decision::kRemote));
  apply();
  EXPECT_EQ(request("r2").cost, Pico(700'000));
}

TEST_P(StoreCosts, RepriceComputesWhatItWouldHaveCostToo) {
  const auto add = [&](const std::string& id, std::int64_t baseline_micro) {
    history_.add(intent("a" + id, "r" + id, 99'000'000));
    history_.add(outcome("a" + id, 30'000'000));
    audit::Receipt one = receipt("r" + id, Decision::kRemote);
    one.model = "openai/gpt-4o-mini";
    one.baseline_micro = baseline_micro;
    one.baseline = baseline(10, 7);
    history_.add(one);
  };
  add("1", 30);
  add("2", -1);
  audit::Receipt local = receipt("r3");
  local.baseline = baseline(10, 7);
  local.baseline->model = "no price";
  history_.add(local);
  history_.add(receipt("r4"));
  apply();
  EXPECT_EQ(total().baseline, Micro{30 + 50 + 50});
  EXPECT_EQ(total().with_baseline_committed, Micro{30});

  const auto price = [](const PricedUse& use) -> std::optional<Pico> {
    if (use.model == "no price") return std::nullopt;
    if (use.model == "gpt-4o") {
      EXPECT_EQ(use.at, kNoonMs / 1000 + 1);
    }
    return Pico(60'000'001);
  };
  const RepriceProgress done = must(store().reprice(price, {}));
  EXPECT_EQ(done.looked_at, 2U);
  EXPECT_EQ(done.changed, 2U);
  EXPECT_EQ(done.baselines, 2U);
  EXPECT_EQ(total().with_baseline, 4) << "a price that is known now";
  EXPECT_EQ(total().baseline, Micro{61 + 61 + 50 + 50});
  EXPECT_EQ(total().with_baseline_committed, Micro{61 + 61});
  EXPECT_EQ(total().with_baseline_local_ms, 4 * 120);
  const auto models = rows(CostsBy::kModel);
  EXPECT_EQ(models[0].name, "openai/gpt-4o-mini");
  EXPECT_EQ(models[0].costs.saved({}), Micro{0});
  EXPECT_EQ(request("r1").baseline, Micro{61});
  EXPECT_EQ(request("r1").receipt->baseline_micro, 30) << "what the journal says stays";
  EXPECT_EQ(request("r1").receipt->baseline, baseline(10, 7));
  EXPECT_EQ(request("r2").baseline, Micro{61});
  EXPECT_EQ(request("r3").baseline, Micro{50});
  EXPECT_EQ(must(store().receipts({})).back().baseline, Micro{61});
  EXPECT_EQ(must(store().reprice(price, {})).baselines, 0U);

  // What comes later of such a request is compared too.
  history_.add(intent("a9", "r2", 9'000'000));
  history_.add(outcome("a9", 1'999'999));
  apply();
  EXPECT_EQ(total().with_baseline_committed, Micro{61 + 62});
  const auto free = [](const PricedUse&) { return std::optional(Pico()); };
  must(store().reprice(free, {}));
  EXPECT_EQ(total().baseline, Micro{50});
  EXPECT_EQ(total().with_baseline, 4) << "free is known";
  EXPECT_EQ(total().with_baseline_committed, Micro{0});
}

// More than one step of it can take, and requests whose attempts do not come in the same step.
TEST_P(StoreCosts, RepriceOfManyMissesNone) {
  constexpr int kAttempts = 12'000;
  for (int i = 0; i < kAttempts; ++i) {
    const std::string id = "a" + std::to_string(i);
    history_.add(intent(id, "r" + std::to_string((i + 1) / 2), 9'000'000));
    history_.add(outcome(id, 400'000));
  }
  apply();
  std::uint64_t looked_at = 0;
  const auto price = [](const PricedUse&) { return std::optional(Pico(700'000)); };
  const RepriceProgress done = must(store().reprice(price, [&](const RepriceProgress& progress) {
    EXPECT_GT(progress.looked_at, looked_at);
    EXPECT_EQ(progress.of, static_cast<std::uint64_t>(kAttempts));
    looked_at = progress.looked_at;
    return true;
  }));
  EXPECT_EQ(done.looked_at, static_cast<std::uint64_t>(kAttempts));
  EXPECT_EQ(total().cost, Pico(700'000) * kAttempts);
  // Two alone at 0.7, rounded up to 1, and the others in pairs at 1.4, to 2.
  EXPECT_EQ(total().committed, Micro{kAttempts});
  EXPECT_EQ(request("r2500").committed, Micro{2});
  EXPECT_EQ(must(store().reprice(price, {})).changed, 0U);
}

TEST_P(StoreCosts, RepriceEndsWhenItIsTold) {
  history_.add(intent("a1", "r1", 9));
  history_.add(outcome("a1", 1));
  apply();
  int calls = 0;
  const auto price = [](const PricedUse&) { return std::optional(Pico(2)); };
  must(store().reprice(price, [&](const RepriceProgress& progress) {
    EXPECT_EQ(progress.changed, 1U);
    ++calls;
    return false;
  }));
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(total().cost, Pico(2)) << "the batch counts";
}

INSTANTIATE_TEST_SUITE_P(All, StoreCosts, ::testing::ValuesIn(kKinds), name_of_kind);

}  // namespace
}  // namespace shoal::store
