// What every Store must do: see contract.h.
#include "contract.h"

#include <string>
#include <vector>

#include "shoal/ledger/usage.h"
#include "shoal/store/key_hash.h"

#include "history.h"

namespace shoal::store {
namespace {

using audit::Decision;
using audit::OutcomeKind;
using ledger::Micro;
using ledger::Owner;
using ledger::Period;
using ledger::Pico;

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

audit::Receipt judged_receipt(const std::string& request, audit::Judged judged, const std::string& route = "chat") {
  audit::Receipt out = receipt(request);
  out.route = route;
  out.judged = std::move(judged);
  return out;
}

audit::Label label(const std::string& request, audit::LabelKind kind, bool right, const std::string& source) {
  return {.request = request,
          .unix_ms = kNoonMs + 2000,
          .kind = kind,
          .right = right,
          .source = source,
          .how = "normalised",
          .note = "so \"it\" is",
          .principal = "alice"};
}

TEST_P(StoreContract, JudgedAnswersComeBackInOrderWithWhatIsSaidOfThem) {
  const audit::Judged kept{.action = audit::Action::kKept,
                           .threshold = 0.1 + 0.2,  // to the last bit
                           .propensity = 0.02,
                           .drawn = true,
                           .late = true,
                           .stratum = audit::Stratum::kLocalOnly,
                           .certificate = "3f0c",
                           .model = "b179 Q4_1"};
  audit::Judged escalated;
  escalated.action = audit::Action::kEscalated;
  history_.add(judged_receipt("r1", kept));
  history_.add(receipt("r2"));  // nobody judged it
  history_.add(judged_receipt("r3", escalated));
  history_.add(judged_receipt("r4", kept, "other"));
  const audit::Label first = label("r1", audit::LabelKind::kFeedback, false, "nurse");
  const audit::Label audited = label("r1", audit::LabelKind::kAudit, true, "openai/gpt-4o");
  audit::Label again = first;
  again.right = true;
  history_.add(first);
  history_.add(label("r3", audit::LabelKind::kEscalation, false, "openai/gpt-4o"));
  const std::uint64_t audited_at = history_.add(audited);
  const std::uint64_t again_at = history_.add(again);
  history_.add(label("nobody", audit::LabelKind::kFeedback, true, "nurse"));
  apply();
  apply();  // the same records change nothing

  const std::vector<JudgedAnswer> found = must(store().judged({.route = "chat"}));
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].request, "r1");
  EXPECT_EQ(found[0].judged, kept);
  EXPECT_EQ(found[0].confidence, 0.75);
  ASSERT_EQ(found[0].labels.size(), 2U) << "what a source said last takes the place of what it said before";
  EXPECT_EQ(found[0].labels[0], (LabelRow{audited_at, audited}));
  EXPECT_EQ(found[0].labels[1], (LabelRow{again_at, again}));
  EXPECT_EQ(found[1].request, "r3");
  EXPECT_EQ(found[1].labels.size(), 1U);
  EXPECT_EQ(must(store().judged({.route = "chat", .from_ms = kNoonMs + 1001})).size(), 0U);
  EXPECT_EQ(must(store().judged({.route = "chat", .to_ms = kNoonMs + 1000})).size(), 0U);
  EXPECT_TRUE(must(store().judged({.route = "none"})).empty());

  const Request asked = request("r1");
  EXPECT_EQ(asked.receipt->judged, kept);
  EXPECT_EQ(asked.labels, found[0].labels);
  EXPECT_FALSE(request("r2").receipt->judged);

  EXPECT_EQ(must(store().prune(kNoonMs + kDayMs, 100)), 4U);
  EXPECT_TRUE(must(store().judged({.route = "chat"})).empty());
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
