// What every Store must do: see contract.h.
#include "contract.h"

#include <string>
#include <vector>

#include "shoal/ledger/calendar.h"
#include "shoal/ledger/usage.h"
#include "shoal/store/key_hash.h"

#include "history.h"

namespace shoal::store {
namespace {

using audit::Decision;
using audit::OutcomeKind;
using ledger::BucketKey;
using ledger::Micro;
using ledger::Owner;
using ledger::Period;
using ledger::Pico;

class StoreContract : public OnStore {
 protected:
  StoreContract() { must(store().use_journal("journal-1", 1)); }

  void apply() { must(store().apply(history_.all())); }
  Request request(const std::string& id) { return must(store().receipt(id)); }
  Costs total(std::int64_t from = 0, std::int64_t to = kDay * 2) {
    return must(store().costs(CostsBy::kDay, from, to)).total;
  }
  std::vector<CostRow> rows(CostsBy by) { return must(store().costs(by, 0, kDay * 2)).rows; }
  // What a bucket of today has committed; -1: it is left out.
  std::int64_t committed(Period period, Owner owner, const std::string& name = "") {
    for (const Committed& one : must(store().committed(kDay, kMonth))) {
      if (one.bucket == BucketKey{.period = period, .owner = owner, .name = name}) return one.amount.value;
    }
    return -1;
  }
  std::vector<std::string> receipt_ids(const ReceiptFilter& filter) {
    std::vector<std::string> ids;
    for (const ReceiptRow& row : must(store().receipts(filter))) ids.push_back(row.receipt.request);
    return ids;
  }

  History history_;
};

using Ids = std::vector<std::string>;

TEST_P(StoreContract, BeginsEmpty) {
  EXPECT_EQ(store().last_sequence(), 0U);
  EXPECT_TRUE(must(store().open_intents()).empty());
  EXPECT_TRUE(must(store().committed(kDay, kMonth)).empty());
  EXPECT_TRUE(must(store().receipts({})).empty());
  EXPECT_EQ(total(), Costs());
  EXPECT_TRUE(must(store().list_keys()).empty());
  EXPECT_EQ(store().receipt("nobody").error().code(), ErrorCode::kNotFound);
}

TEST_P(StoreContract, GivesARequestBackAsTheJournalHasIt) {
  const audit::Intent first = intent("a1", "r1", 9'000'000);
  audit::Outcome lost = outcome("a1", 0, OutcomeKind::kNotSent);
  lost.failure = "unreachable";
  lost.status = 0;
  lost.upstream_id = "";
  const audit::Intent second = intent("a2", "r1", 12'345'678'901'234);
  const audit::Outcome paid = outcome("a2", 291'600'000);
  const audit::Receipt sent = receipt("r1", Decision::kFailedOver);
  history_.add(first);
  history_.add(lost);
  const std::uint64_t second_at = history_.add(second);
  history_.add(paid);
  const std::uint64_t sent_at = history_.add(sent);
  apply();

  const Request found = request("r1");
  EXPECT_EQ(found.receipt, sent);
  EXPECT_EQ(found.sequence, sent_at);
  ASSERT_EQ(found.attempts.size(), 2U);
  EXPECT_EQ(found.attempts[0].intent, first);
  EXPECT_EQ(found.attempts[0].outcome, lost);
  EXPECT_EQ(found.attempts[0].state, AttemptState::kNotSent);
  EXPECT_EQ(found.attempts[1].sequence, second_at);
  EXPECT_EQ(found.attempts[1].intent, second);
  EXPECT_EQ(found.attempts[1].outcome, paid);
  EXPECT_EQ(found.attempts[1].state, AttemptState::kSettled);
  EXPECT_EQ(found.attempts[1].ended_ms, paid.unix_ms);
  EXPECT_EQ(found.cost, Pico(291'600'000));
  EXPECT_EQ(found.committed, Micro{292});
}

TEST_P(StoreContract, GivesAReceiptBackWithoutConfidenceAndDetail) {
  audit::Receipt bare = receipt("r1");
  bare.confidence.reset();
  bare.detail.clear();
  bare.principal.clear();
  history_.add(bare);
  apply();
  EXPECT_EQ(request("r1").receipt, bare);
}

TEST_P(StoreContract, GivesTextBackWhateverItIs) {
  audit::Receipt odd = receipt("r\"1'; DROP TABLE receipt; --");
  odd.route = "caf\u00e9 \u4e2d\u6587 \U0001F41F";
  odd.model = std::string(20'000, 'm');
  odd.detail = R"(["\u0000"])";
  odd.egress = std::string("a\0b", 3);
  history_.add(odd);
  apply();
  EXPECT_EQ(request(odd.request).receipt, odd);
  EXPECT_EQ(receipt_ids({.route = odd.route}), Ids{odd.request});
}

TEST_P(StoreContract, KnowsWhatItHasAfterItWasOpenedAgain) {
  history_.add(intent("a1", "r1", 5'000'000));
  history_.add(outcome("a1", 4'000'001));
  history_.add(receipt("r1", Decision::kRemote));
  apply();
  const Request before = request("r1");
  const Costs costs = total();
  open();
  EXPECT_EQ(store().last_sequence(), 3U);
  EXPECT_EQ(request("r1"), before);
  EXPECT_EQ(total(), costs);
  must(store().use_journal("journal-1", 1));
  EXPECT_EQ(store().last_sequence(), 3U);
}

TEST_P(StoreContract, RecordsThatComeAgainChangeNothing) {
  history_.add(intent("a1", "r1", 5'000'000));
  history_.add(outcome("a1", 4'000'001));
  history_.add(receipt("r1", Decision::kRemote));
  apply();
  const Costs costs = total();
  apply();
  must(store().apply(history_.since(2)));
  EXPECT_EQ(total(), costs);
  history_.add(receipt("r2"));
  apply();
  EXPECT_EQ(store().last_sequence(), 4U);
  EXPECT_EQ(total().requests, 2);
  EXPECT_EQ(total().cost, costs.cost);
}

TEST_P(StoreContract, AGapIsAnErrorAndNothingOfTheBatchIsThere) {
  History later(2);
  later.add(receipt("r2"));
  EXPECT_EQ(store().apply(later.all()).error().code(), ErrorCode::kInternal);

  history_.add(receipt("r1"));
  History gap(3);
  gap.add(receipt("r3"));
  std::vector<audit::Record> records(history_.all().begin(), history_.all().end());
  records.push_back(gap.all()[0]);
  EXPECT_EQ(store().apply(records).error().code(), ErrorCode::kInternal);
  EXPECT_EQ(store().last_sequence(), 0U);
  EXPECT_EQ(total(), Costs());
  EXPECT_FALSE(store().receipt("r1").ok());
  apply();
  EXPECT_EQ(total().requests, 1);
}

TEST_P(StoreContract, WhatItCannotCountIsSetAsideAndTheRestGoesOn) {
  history_.add(9, "of a later version");
  history_.add(1, "{");
  history_.add(intent("a1", "r1", -5));
  history_.add(intent("", "r1", 5));
  history_.add(outcome("nobody", 5));
  audit::Outcome absurd = outcome("a2", 5);
  absurd.tokens.output = ledger::kMaxCount + 1;
  history_.add(intent("a2", "r2", 5));
  history_.add(absurd);
  audit::Receipt wrong = receipt("r3");
  wrong.baseline_micro = -2;
  history_.add(wrong);
  history_.add(receipt("r4"));
  apply();
  EXPECT_EQ(must(store().stats()).set_aside, 7U);
  EXPECT_EQ(must(store().stats()).last_sequence, 9U);
  EXPECT_EQ(receipt_ids({}), Ids{"r4"});
  EXPECT_EQ(must(store().open_intents()).size(), 1U);
}

TEST_P(StoreContract, ASecondRecordOfTheSameIsSetAside) {
  history_.add(intent("a1", "r1", 5'000'000));
  history_.add(intent("a1", "r1", 6'000'000));
  history_.add(intent("a1", "r2", 6'000'000));
  history_.add(outcome("a1", 1'000'000));
  history_.add(outcome("a1", 2'000'000));
  history_.add(intent("a1", "r1", 7'000'000));
  history_.add(receipt("r1", Decision::kRemote));
  history_.add(receipt("r1", Decision::kLocal));
  apply();
  EXPECT_EQ(must(store().stats()).set_aside, 5U);
  EXPECT_EQ(request("r1").cost, Pico(1'000'000));
  EXPECT_EQ(request("r1").receipt->decision, Decision::kRemote);
  EXPECT_EQ(total().requests, 1);
  EXPECT_EQ(total().attempts, 1);
}

TEST_P(StoreContract, OpenIntentsAreThoseWithoutAnOutcome) {
  history_.add(intent("a1", "r1", 5));
  history_.add(intent("a2", "r2", 6));
  history_.add(outcome("a1", 1));
  const audit::Intent third = intent("a3", "r1", 7);
  history_.add(third);
  apply();
  const auto open = must(store().open_intents());
  ASSERT_EQ(open.size(), 2U);
  EXPECT_EQ(open[0].intent.attempt, "a2");
  EXPECT_EQ(open[1], (OpenIntent{.sequence = 4, .intent = third}));
  EXPECT_EQ(request("r2").attempts[0].state, AttemptState::kOpen);
  EXPECT_EQ(request("r2").cost, Pico());
  EXPECT_EQ(committed(Period::kDay, Owner::kTotal), 1);
}

TEST_P(StoreContract, WhatNobodyKnowsCostsWhatWasReserved) {
  history_.add(intent("a1", "r1", 5'000'001));
  history_.add(intent("a2", "r2", 3'000'000));
  history_.add(outcome("a2", 0, OutcomeKind::kNotSent));
  apply();
  EXPECT_EQ(must(store().resolve_unknown(kNoonMs + 5)), 1U);
  EXPECT_EQ(must(store().resolve_unknown(kNoonMs + 6)), 0U);
  EXPECT_TRUE(must(store().open_intents()).empty());
  const Request found = request("r1");
  EXPECT_EQ(found.attempts[0].state, AttemptState::kUnknown);
  EXPECT_EQ(found.attempts[0].ended_ms, kNoonMs + 5);
  EXPECT_FALSE(found.attempts[0].outcome);
  EXPECT_EQ(found.cost, Pico(5'000'001));
  EXPECT_EQ(found.committed, Micro{6});
  EXPECT_EQ(committed(Period::kMonth, Owner::kKey, "alice"), 6);
  EXPECT_EQ(total().unknown, 1);
  EXPECT_EQ(total().unknown_cost, Pico(5'000'001));
  EXPECT_EQ(total().cost, Pico(5'000'001));
}

TEST_P(StoreContract, ALateOutcomeTakesThePlaceOfUnknown) {
  history_.add(intent("a1", "r1", 5'000'001));
  history_.add(intent("a2", "r2", 7'000'000));
  history_.add(outcome("a2", 0, OutcomeKind::kUnknown));
  apply();
  must(store().resolve_unknown(kNoonMs + 5));
  EXPECT_EQ(total().unknown, 2);
  EXPECT_EQ(total().unknown_cost, Pico(12'000'001));
  history_.add(outcome("a1", 2'000'000));
  history_.add(outcome("a2", 1'000'000));
  apply();
  EXPECT_EQ(request("r1").attempts[0].state, AttemptState::kSettled);
  EXPECT_EQ(request("r1").cost, Pico(2'000'000));
  EXPECT_EQ(request("r2").cost, Pico(1'000'000));
  EXPECT_EQ(total().unknown, 0);
  EXPECT_EQ(total().unknown_cost, Pico());
  EXPECT_EQ(committed(Period::kDay, Owner::kTotal), 3);
  // What is known is not forgotten.
  history_.add(outcome("a1", 0, OutcomeKind::kUnknown));
  apply();
  EXPECT_EQ(request("r1").cost, Pico(2'000'000));
  EXPECT_EQ(must(store().stats()).set_aside, 1U);
}

TEST_P(StoreContract, AnUnknownOneThatWasNotSentAfterAllLeavesNothing) {
  history_.add(intent("a1", "r1", 5'000'001));
  apply();
  must(store().resolve_unknown(kNoonMs));
  history_.add(outcome("a1", 0, OutcomeKind::kNotSent));
  apply();
  EXPECT_TRUE(must(store().committed(kDay, kMonth)).empty());
  EXPECT_EQ(total(), Costs());
  EXPECT_TRUE(rows(CostsBy::kRoute).empty());
}

TEST_P(StoreContract, ARequestIsRoundedUpOnceInTheOrderInWhichItsAttemptsEnded) {
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

TEST_P(StoreContract, MoneyBelongsToThePeriodOfItsIntent) {
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

TEST_P(StoreContract, AnonymousRequestsBelongToNoKey) {
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

TEST_P(StoreContract, SumsAreExactBeyond64Bits) {
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
TEST_P(StoreContract, MoneyGoldens) {
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

TEST_P(StoreContract, CostsBySayWhoDidWhat) {
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

TEST_P(StoreContract, AnAttemptWithoutAReceiptStandsWithTheModelThatWasAsked) {
  history_.add(intent("a1", "r1", 9'000'000));
  history_.add(outcome("a1", 7'000'000));
  apply();
  EXPECT_EQ(rows(CostsBy::kModel)[0].name, "gpt-4o-mini");
  EXPECT_EQ(total().with_baseline_committed, Micro{0});
  audit::Receipt other = receipt("r1", Decision::kRemote);
  other.model = "claude";
  history_.add(other);
  // An attempt that comes after the receipt: the client had gone, and the answer was drained.
  history_.add(intent("a2", "r1", 9'000'000));
  history_.add(outcome("a2", 500'000));
  apply();
  const auto models = rows(CostsBy::kModel);
  ASSERT_EQ(models.size(), 1U);
  EXPECT_EQ(models[0].name, "claude");
  EXPECT_EQ(models[0].costs.cost, Pico(7'500'000));
  EXPECT_EQ(models[0].costs.committed, Micro{8});
  EXPECT_EQ(models[0].costs.with_baseline_committed, Micro{8});
}

TEST_P(StoreContract, ReceiptsComeNewestFirstInPages) {
  for (int i = 1; i <= 9; ++i) {
    audit::Receipt one = receipt("r" + std::to_string(i), i % 3 == 0 ? Decision::kRemote : Decision::kLocal);
    one.principal = i % 2 == 0 ? "bob" : "alice";
    one.route = i < 5 ? "chat" : "code";
    history_.add(one);
  }
  apply();
  EXPECT_EQ(receipt_ids({.limit = 3}), (Ids{"r9", "r8", "r7"}));
  const auto page = must(store().receipts({.limit = 3}));
  EXPECT_EQ(receipt_ids({.limit = 3, .before = page.back().sequence}), (Ids{"r6", "r5", "r4"}));
  EXPECT_EQ(receipt_ids({.limit = 0}), Ids{});
  EXPECT_EQ(receipt_ids({.principal = "bob"}), (Ids{"r8", "r6", "r4", "r2"}));
  EXPECT_EQ(receipt_ids({.principal = "bob", .route = "chat"}), (Ids{"r4", "r2"}));
  EXPECT_EQ(receipt_ids({.route = "code", .model = "gpt-4o-mini"}), (Ids{"r9", "r6"}));
  EXPECT_EQ(receipt_ids({.limit = 1, .before = 6, .principal = "alice", .model = "gpt-4o-mini"}), Ids{"r3"});
  EXPECT_EQ(receipt_ids({.principal = "carol"}), Ids{});
}

TEST_P(StoreContract, ARowOfReceiptsHasWhatItCostButNoDetail) {
  history_.add(intent("a1", "r1", 9'000'000));
  history_.add(outcome("a1", 7'000'001));
  history_.add(receipt("r1", Decision::kRemote));
  apply();
  const auto rows = must(store().receipts({}));
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].committed, Micro{8});
  audit::Receipt bare = receipt("r1", Decision::kRemote);
  bare.detail.clear();
  EXPECT_EQ(rows[0].receipt, bare);
  EXPECT_EQ(rows[0].sequence, 3U);
}

TEST_P(StoreContract, RepriceComputesEverySumAnew) {
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

// More than one step of it can take, and requests whose attempts do not come in the same step.
TEST_P(StoreContract, RepriceOfManyMissesNone) {
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

TEST_P(StoreContract, RepriceEndsWhenItIsTold) {
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

TEST_P(StoreContract, PruneForgetsRowsAndKeepsSums) {
  for (int i = 0; i < 10; ++i) {
    const std::string id = std::to_string(i);
    const std::int64_t at = kNoonMs + i * 1000;
    history_.add(intent("a" + id, "r" + id, 2'000'000, at));
    if (i != 2) history_.add(outcome("a" + id, 1'500'000, OutcomeKind::kSettled, at));
    if (i != 3) history_.add(receipt("r" + id, Decision::kRemote, at));
  }
  apply();
  const Costs sums = total();
  const auto committed_before = must(store().committed(kDay, kMonth));
  EXPECT_EQ(must(store().prune(kNoonMs + 6000, 2)), 2U);
  EXPECT_EQ(receipt_ids({.limit = 20}), (Ids{"r9", "r8", "r7", "r6", "r5", "r4", "r2"}));
  EXPECT_FALSE(store().receipt("r0").ok());
  EXPECT_EQ(must(store().prune(kNoonMs + 6000, 100)), 3U) << "r4, r5, and r3 without a receipt";
  EXPECT_EQ(must(store().prune(kNoonMs + 6000, 100)), 0U);
  EXPECT_TRUE(store().receipt("r2").ok()) << "its attempt is open";
  EXPECT_FALSE(store().receipt("r3").ok());
  EXPECT_TRUE(store().receipt("r6").ok());
  EXPECT_EQ(total(), sums);
  EXPECT_EQ(must(store().committed(kDay, kMonth)), committed_before);
  // What stayed is still counted right.
  history_.add(outcome("a2", 1'000'000));
  apply();
  EXPECT_EQ(total().cost, sums.cost + Pico(1'000'000));
  EXPECT_EQ(must(store().prune(kNoonMs + 6000, 100)), 1U);
  const auto price = [](const PricedUse&) { return std::optional(Pico(2'500'000)); };
  EXPECT_EQ(must(store().reprice(price, {})).changed, 4U);
  EXPECT_EQ(total().cost, sums.cost + Pico(1'000'000) + Pico(4 * 1'000'000));
}

TEST_P(StoreContract, AnotherJournalIsCountedFromOneAndWhatWasThereStays) {
  history_.add(intent("a1", "r1", 5'000'000));
  history_.add(outcome("a1", 4'000'000));
  history_.add(receipt("r1", Decision::kRemote));
  apply();
  must(store().use_journal("journal-2", 1));
  EXPECT_EQ(store().last_sequence(), 0U);
  History second;
  second.add(receipt("r2"));
  second.add(intent("a3", "r3", 5'000'000));
  must(store().apply(second.all()));
  EXPECT_EQ(store().last_sequence(), 2U);
  EXPECT_EQ(receipt_ids({}), (Ids{"r2", "r1"}));
  EXPECT_EQ(total().requests, 2);
  open();
  must(store().use_journal("journal-2", 1));
  EXPECT_EQ(store().last_sequence(), 2U);
  EXPECT_EQ(must(store().stats()).lost, 0U);
}

TEST_P(StoreContract, WhatIsGoneFromTheJournalIsNotedAsLost) {
  must(store().use_journal("journal-1", 100));
  EXPECT_EQ(store().last_sequence(), 99U);
  History history(100);
  history.add(receipt("r1"));
  must(store().apply(history.all()));
  must(store().use_journal("journal-1", 50));
  EXPECT_EQ(store().last_sequence(), 100U);
  must(store().use_journal("journal-1", 111));
  EXPECT_EQ(must(store().stats()).lost, 99U + 10U);
}

TEST_P(StoreContract, StartsOverWithNothingButTheKeys) {
  history_.add(receipt("r1"));
  apply();
  const Key key = must(store().create_key({.name = "ci", .hash = {1}}, 5));
  must(store().start_over());
  EXPECT_EQ(store().last_sequence(), 0U);
  EXPECT_EQ(total(), Costs());
  EXPECT_EQ(must(store().list_keys()), std::vector{key});
  must(store().use_journal("journal-1", 1));
  apply();
  EXPECT_EQ(receipt_ids({}), Ids{"r1"});
}

TEST_P(StoreContract, KeysAreMadeFoundAndRevoked) {
  const NewKey made = {.name = "ci", .hash = {1, 2, 3}, .day_cap = Pico(5'000'000'000'001), .month_cap = Pico()};
  const Key key = must(store().create_key(made, 1000));
  EXPECT_FALSE(key.principal.empty());
  EXPECT_EQ(key.name, "ci");
  EXPECT_EQ(key.hash, made.hash);
  EXPECT_EQ(key.day_cap, made.day_cap);
  EXPECT_EQ(key.month_cap, Pico()) << "a cap of nothing is a cap";
  EXPECT_EQ(key.created_ms, 1000);
  EXPECT_FALSE(key.revoked_ms || key.last_used_ms);
  EXPECT_EQ(must(store().key_by_hash(made.hash)), key);
  EXPECT_EQ(store().key_by_hash({9}).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(store().create_key({.name = "ci", .hash = {4}}, 1001).error().code(), ErrorCode::kAlreadyExists);
  EXPECT_EQ(store().create_key({.name = "other", .hash = made.hash}, 1001).error().code(), ErrorCode::kAlreadyExists);
  open();
  EXPECT_EQ(must(store().list_keys()), std::vector{key});

  const Key revoked = must(store().revoke_key("ci", 2000));
  EXPECT_EQ(revoked.revoked_ms, 2000);
  EXPECT_EQ(store().key_by_hash(made.hash).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(store().revoke_key("ci", 2001).error().code(), ErrorCode::kNotFound);
  const Key again = must(store().create_key({.name = "ci", .hash = {5}}, 3000));
  EXPECT_NE(again.principal, key.principal);
  EXPECT_FALSE(again.day_cap || again.month_cap);
  EXPECT_EQ(must(store().list_keys()), (std::vector{revoked, again}));
  // Nobody gets a key that was revoked.
  EXPECT_EQ(store().create_key({.name = "new", .hash = made.hash}, 1).error().code(), ErrorCode::kAlreadyExists);
}

TEST_P(StoreContract, WrongNamesAndCapsOfKeysAreRefused) {
  for (const std::string& name : {std::string(), std::string(65, 'a'), std::string("a\nb"), std::string("\x1b[31m")}) {
    const auto refused = store().create_key({.name = name, .hash = {1}}, 1);
    ASSERT_FALSE(refused.ok()) << name;
    EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidRequest);
    EXPECT_EQ(refused.error().param(), "name");
  }
  EXPECT_EQ(store().create_key({.name = "a", .hash = {1}, .day_cap = Pico(-1)}, 1).error().param(), "day_cap");
  EXPECT_EQ(
      store().create_key({.name = "a", .hash = {1}, .month_cap = ledger::kMaxAmount + Pico(1)}, 1).error().param(),
      "month_cap");
  EXPECT_TRUE(store().create_key({.name = std::string(64, 'a'), .hash = {1}, .day_cap = ledger::kMaxAmount}, 1).ok());
}

TEST_P(StoreContract, AKeyKnowsWhenItWasLastUsed) {
  const Key key = must(store().create_key({.name = "ci", .hash = {1}}, 5));
  audit::Receipt late = receipt("r1", Decision::kLocal, kNoonMs + 500);
  late.principal = key.principal;
  audit::Intent earlier = intent("a2", "r2", 5, kNoonMs + 400);
  earlier.principal = key.principal;
  history_.add(late);
  // Records come in the order in which requests end, in one batch or in two.
  audit::Receipt before = receipt("r4", Decision::kLocal, kNoonMs + 300);
  before.principal = key.principal;
  history_.add(before);
  history_.add(receipt("r3", Decision::kLocal, kNoonMs + 9000));
  apply();
  history_.add(earlier);
  apply();
  EXPECT_EQ(must(store().list_keys())[0].last_used_ms, kNoonMs + 500);
  EXPECT_EQ(must(store().key_by_hash(key.hash)).last_used_ms, kNoonMs + 500);
  EXPECT_EQ(must(store().revoke_key("ci", 1)).last_used_ms, kNoonMs + 500);
}

INSTANTIATE_TEST_SUITE_P(All, StoreContract, ::testing::ValuesIn(kKinds), name_of_kind);

}  // namespace
}  // namespace shoal::store
