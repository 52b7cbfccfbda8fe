// Random histories beside a model that is as simple as can be, beside the Book that the money came from, and beside a
// store that gets the same records in other batches.
#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "shoal/ledger/book.h"
#include "shoal/ledger/calendar.h"

#include "contract.h"
#include "history.h"

namespace shoal::store {
namespace {

using audit::Decision;
using audit::OutcomeKind;
using ledger::Pico;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kWalks = 6;
#else
constexpr int kWalks = 30;
#endif
constexpr int kSteps = 300;

// Keeps everything, and computes every answer from all of it.
struct Model {
  struct Try {
    audit::Intent intent;
    AttemptState state = AttemptState::kOpen;
    int ended = 0;  // when, counted; 0: not, or given up
    Pico cost{};
    audit::TokenCounts tokens{};
  };
  std::vector<Try> tries;
  std::map<std::string, audit::Receipt> receipts;
  int time = 0;

  void outcome(const audit::Outcome& outcome) {
    ++time;
    for (Try& one : tries) {
      if (one.intent.attempt != outcome.attempt) continue;
      const bool waits = one.state == AttemptState::kOpen || one.state == AttemptState::kUnknown;
      const bool knows_more = one.ended == 0 || outcome.kind != OutcomeKind::kUnknown;
      if (!waits || !knows_more) return;
      one.ended = time;
      one.tokens = outcome.tokens;
      if (outcome.kind == OutcomeKind::kSettled) {
        one.state = AttemptState::kSettled;
        one.cost = Pico(outcome.cost_pico);
      } else if (outcome.kind == OutcomeKind::kNotSent) {
        one.state = AttemptState::kNotSent;
        one.cost = Pico();
      } else {
        one.state = AttemptState::kUnknown;
        one.cost = Pico(one.intent.reserved_pico);
      }
    }
  }
  void give_up() {
    for (Try& one : tries) {
      if (one.state != AttemptState::kOpen) continue;
      one.state = AttemptState::kUnknown;
      one.cost = Pico(one.intent.reserved_pico);
    }
  }

  // What each adds to its request rounded up.
  [[nodiscard]] std::vector<std::int64_t> committed() const {
    std::vector<std::size_t> order(tries.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::ranges::stable_sort(order, {}, [&](std::size_t i) { return tries[i].ended == 0 ? 1 << 30 : tries[i].ended; });
    std::map<std::string, Pico> sums;
    std::vector<std::int64_t> adds(tries.size());
    for (const std::size_t i : order) {
      if (tries[i].state == AttemptState::kOpen) continue;
      Pico& sum = sums[tries[i].intent.request];
      const std::int64_t before = ledger::round_up_to_micro(sum).value;
      sum += tries[i].cost;
      adds[i] = ledger::round_up_to_micro(sum).value - before;
    }
    return adds;
  }

  [[nodiscard]] std::map<std::string, Costs> costs(CostsBy by) const {
    std::map<std::string, Costs> all;
    const auto name = [&](std::int64_t unix_ms, const std::string& route, const std::string& key,
                          const std::string& model, const std::string& provider) {
      if (by == CostsBy::kRoute) return route;
      if (by == CostsBy::kKey) return key;
      if (by == CostsBy::kProvider) return provider;
      return by == CostsBy::kModel ? model : ledger::date_text(unix_ms / 1000);
    };
    const auto provider_of = [](const audit::Receipt& one) {
      const bool here = one.decision == Decision::kLocal || one.decision == Decision::kFailedOver;
      return std::string(!here && one.model.starts_with("openai/") && one.egress == "openai" ? "openai" : "");
    };
    for (const auto& [id, one] : receipts) {
      Costs& costs = all[name(one.unix_ms, one.route, one.principal, one.model, provider_of(one))];
      ++costs.requests;
      costs.local += one.decision == Decision::kLocal ? 1 : 0;
      costs.remote += one.decision == Decision::kRemote ? 1 : 0;
      costs.escalated += one.decision == Decision::kEscalated ? 1 : 0;
      costs.failed_over += one.decision == Decision::kFailedOver ? 1 : 0;
      costs.refused += one.decision == Decision::kRefused ? 1 : 0;
      costs.prompt_tokens += one.prompt_tokens;
      costs.completion_tokens += one.completion_tokens;
      costs.local_ms += one.local_ms;
      costs.with_baseline += one.baseline_micro >= 0 ? 1 : 0;
      costs.with_baseline_local_ms += one.baseline_micro >= 0 ? one.local_ms : 0;
      costs.baseline.value += std::max<std::int64_t>(one.baseline_micro, 0);
    }
    const std::vector<std::int64_t> adds = committed();
    for (std::size_t i = 0; i < tries.size(); ++i) {
      const Try& one = tries[i];
      if (one.state == AttemptState::kOpen || one.state == AttemptState::kNotSent) continue;
      const auto receipt = receipts.find(one.intent.request);
      const bool answered = receipt != receipts.end();
      const std::int64_t day_ms = answered ? receipt->second.unix_ms : one.intent.unix_ms;
      const audit::Intent& intent = one.intent;
      if (answered && receipt->second.baseline_micro >= 0 && adds[i] != 0) {
        all[name(day_ms, intent.route, intent.principal, receipt->second.model, provider_of(receipt->second))]
            .with_baseline_committed.value += adds[i];
      }
      Costs& costs =
          all[name(day_ms, intent.route, intent.principal, intent.provider + "/" + intent.model, intent.provider)];
      ++costs.attempts;
      costs.tokens.input += one.tokens.input;
      costs.tokens.cache_read += one.tokens.cache_read;
      costs.tokens.cache_write_5m += one.tokens.cache_write_5m;
      costs.tokens.cache_write_1h += one.tokens.cache_write_1h;
      costs.tokens.output += one.tokens.output;
      costs.tokens.reasoning += one.tokens.reasoning;
      costs.cost += one.cost;
      costs.committed.value += adds[i];
      if (one.state != AttemptState::kUnknown) continue;
      ++costs.unknown;
      costs.unknown_cost += one.cost;
    }
    return all;
  }

  [[nodiscard]] std::map<ledger::BucketKey, std::int64_t> buckets() const {
    std::map<ledger::BucketKey, std::int64_t> all;
    const std::vector<std::int64_t> adds = committed();
    for (std::size_t i = 0; i < tries.size(); ++i) {
      const audit::Intent& intent = tries[i].intent;
      for (const ledger::Period period : {ledger::Period::kDay, ledger::Period::kMonth}) {
        const ledger::Span span = period == ledger::Period::kDay ? ledger::day_of(kDay) : ledger::month_of(kMonth);
        if (!span.holds(intent.unix_ms / 1000) || adds[i] == 0) continue;
        all[{.period = period, .owner = ledger::Owner::kTotal}] += adds[i];
        if (!intent.principal.empty()) {
          all[{.period = period, .owner = ledger::Owner::kKey, .name = intent.principal}] += adds[i];
        }
        all[{.period = period, .owner = ledger::Owner::kProvider, .name = intent.provider}] += adds[i];
      }
    }
    return all;
  }
};

// A history that goes on by chance, and its model.
class Walk {
 public:
  explicit Walk(unsigned seed) : random_(seed) {}

  void step() {
    const int kind = number(0, 9);
    if (kind < 4 || model.tries.empty()) {
      begin_attempt();
    } else if (kind < 8) {
      end_attempt();
    } else {
      end_request();
    }
  }
  int number(int from, int to) { return std::uniform_int_distribution<int>(from, to)(random_); }

  Model model;
  History history;
  bool like_a_book = false;  // each attempt ends once, and none is unknown

 private:
  std::string name(std::initializer_list<const char*> names) {
    return names.begin()[number(0, static_cast<int>(names.size()) - 1)];
  }
  // Around midnight, before the first of the month too. A Book's clock only goes on.
  std::int64_t time() {
    if (like_a_book) return (kDay - 43'200) * 1000 + ++ticks_ * 400'000;
    const std::int64_t days = number(0, 9) == 0 ? -25 : number(-1, 1);
    return kDay * 1000 + days * kDayMs + number(0, 86'399'999);
  }
  // Small amounts round, large ones do not fit into 64 bits.
  audit::Pico amount() {
    const int size = number(0, 9);
    if (size == 0) return 0;
    if (size == 1 && !like_a_book) return ledger::kMaxAmount.value() - number(0, 1'000'000);
    return audit::Pico{number(1, 3'000'000)} * (size == 2 ? 1'000'003 : 1);
  }
  std::string request() { return "r" + std::to_string(number(0, 20) + requests_ * 8); }

  void begin_attempt() {
    if (number(0, 2) == 0) ++requests_;
    audit::Intent next = intent("a" + std::to_string(model.tries.size()), request(), 0, time());
    next.reserved_pico = amount();
    next.principal = name({"alice", "bob", ""});
    next.provider = name({"openai", "anthropic"});
    next.model = name({"small", "large"});
    next.route = name({"chat", "code"});
    history.add(next);
    model.tries.push_back({.intent = next});
  }
  void end_attempt() {
    const auto which = static_cast<std::size_t>(number(0, static_cast<int>(model.tries.size()) - 1));
    if (like_a_book && model.tries[which].state != AttemptState::kOpen) return;
    const auto kind = static_cast<OutcomeKind>(number(0, like_a_book ? 1 : 2));
    audit::Outcome end = outcome("a" + std::to_string(which), 0, kind);
    end.cost_pico = amount();
    end.tokens.output = number(0, 1000);
    end.tokens.cache_read = number(0, 1000);
    history.add(end);
    model.outcome(end);
  }
  void end_request() {
    audit::Receipt end = receipt(request(), static_cast<Decision>(number(0, 4)), time());
    end.principal = name({"alice", "bob", ""});
    end.model = name({"openai/small", "openai/large", "local"});
    end.route = name({"chat", "code"});
    end.baseline_micro = number(-1, 100);
    if (number(0, 3) != 0) end.baseline = baseline(number(0, 1000), number(0, 1000));
    history.add(end);
    model.receipts.emplace(end.request, end);
  }

  std::mt19937 random_;
  int requests_ = 0;
  int ticks_ = 0;
};

class StoreWalk : public OnStore {
 protected:
  StoreWalk() { must(store().use_journal("journal-1", 1)); }

  void expect_equal(const Model& model) {
    for (const CostsBy by : {CostsBy::kRoute, CostsBy::kKey, CostsBy::kModel, CostsBy::kProvider, CostsBy::kDay}) {
      const CostReport report = must(store().costs(by, 0, kDay * 2));
      const auto expected = model.costs(by);
      Costs total;
      ASSERT_EQ(report.rows.size(), expected.size());
      for (const CostRow& row : report.rows) {
        ASSERT_TRUE(expected.contains(row.name)) << row.name;
        EXPECT_EQ(row.costs, expected.at(row.name)) << row.name;
        total.cost += row.costs.cost;
        total.requests += row.costs.requests;
      }
      EXPECT_EQ(report.total.cost, total.cost);
      EXPECT_EQ(report.total.requests, total.requests);
    }
    std::map<ledger::BucketKey, std::int64_t> buckets;
    for (const Committed& one : must(store().committed(kDay, kMonth))) buckets[one.bucket] = one.amount.value;
    EXPECT_EQ(buckets, model.buckets());
    std::size_t open = 0;
    for (const Model::Try& one : model.tries) open += one.state == AttemptState::kOpen ? 1 : 0;
    EXPECT_EQ(must(store().open_intents()).size(), open);
    const auto adds = model.committed();
    for (std::size_t i = 0; i < model.tries.size(); i += 7) {
      const Request found = must(store().receipt(model.tries[i].intent.request));
      for (const Attempt& attempt : found.attempts) {
        if (attempt.intent.attempt != model.tries[i].intent.attempt) continue;
        EXPECT_EQ(attempt.state, model.tries[i].state);
        EXPECT_EQ(attempt.cost, model.tries[i].cost);
        EXPECT_EQ(attempt.committed.value, adds[i]);
      }
    }
  }
};

TEST_P(StoreWalk, SumsAreThoseOfTheModel) {
  for (unsigned seed = 1; seed <= kWalks; ++seed) {
    SCOPED_TRACE(seed);
    Walk walk(seed);
    must(store().start_over());
    must(store().use_journal("journal-1", 1));
    for (int step = 0; step < kSteps; ++step) {
      walk.step();
      if (walk.number(0, 30) == 0) {
        must(store().apply(walk.history.since(store().last_sequence() + 1)));
        if (walk.number(0, 3) == 0) {
          must(store().resolve_unknown(kNoonMs));
          walk.model.give_up();
        }
        if (walk.number(0, 5) == 0) expect_equal(walk.model);
        if (walk.number(0, 20) == 0) open();
        // What was applied comes again.
        must(store().apply(walk.history.since(store().last_sequence() / 2 + 1)));
      }
    }
    must(store().apply(walk.history.all()));
    expect_equal(walk.model);
    if (HasFailure()) return;
  }
}

TEST_P(StoreWalk, RepricedSumsAreThoseOfTheModel) {
  for (unsigned seed = 100; seed < 100 + kWalks; ++seed) {
    SCOPED_TRACE(seed);
    Walk walk(seed);
    must(store().start_over());
    must(store().use_journal("journal-1", 1));
    for (int step = 0; step < kSteps; ++step) walk.step();
    must(store().apply(walk.history.all()));
    const auto price = [](const PricedUse& use) -> std::optional<Pico> {
      if (use.model == "large" && use.tokens.output % 2 == 0) return std::nullopt;
      return Pico(use.tokens.output * 7'777) + Pico(use.at % 1000);
    };
    must(store().reprice(price, {}));
    for (Model::Try& one : walk.model.tries) {
      if (one.state != AttemptState::kSettled) continue;
      const auto cost = price({.provider = one.intent.provider,
                               .model = one.intent.model,
                               .at = one.intent.unix_ms / 1000,
                               .tokens = one.tokens});
      if (cost) one.cost = *cost;
    }
    for (auto& [id, one] : walk.model.receipts) {
      if (!one.baseline) continue;
      const auto cost = price({.provider = one.baseline->provider,
                               .model = one.baseline->model,
                               .at = one.unix_ms / 1000,
                               .tokens = one.baseline->tokens});
      if (cost) one.baseline_micro = ledger::round_up_to_micro(*cost).value;
    }
    expect_equal(walk.model);
    // What comes after it is counted with what it found.
    for (int step = 0; step < kSteps; ++step) walk.step();
    must(store().apply(walk.history.all()));
    expect_equal(walk.model);
    if (HasFailure()) return;
  }
}

void reserve(ledger::Book& book, const audit::Intent& intent) {
  std::vector<ledger::BucketId> chain;
  for (const ledger::Period period : {ledger::Period::kDay, ledger::Period::kMonth}) {
    chain.push_back(book.bucket({.period = period, .owner = ledger::Owner::kTotal}, {}));
    chain.push_back(book.bucket({.period = period, .owner = ledger::Owner::kProvider, .name = intent.provider}, {}));
    if (intent.principal.empty()) continue;
    chain.push_back(book.bucket({.period = period, .owner = ledger::Owner::kKey, .name = intent.principal}, {}));
  }
  must(book.reserve({.chain = chain,
                     .attempt = intent.attempt,
                     .request = intent.request,
                     .amount = Pico(intent.reserved_pico),
                     .expires = kDay * 2},
                    intent.unix_ms / 1000));
}

// The Book commits as the attempts end; at the next start it is filled from the store.
TEST_P(StoreWalk, CommittedIsWhatTheBookHasCommitted) {
  for (unsigned seed = 200; seed < 200 + kWalks; ++seed) {
    SCOPED_TRACE(seed);
    Walk walk(seed);
    walk.like_a_book = true;
    must(store().start_over());
    must(store().use_journal("journal-1", 1));
    for (int step = 0; step < kSteps; ++step) walk.step();
    must(store().apply(walk.history.all()));
    must(store().resolve_unknown(kNoonMs));

    ledger::Book book;
    for (const audit::Record& record : walk.history.all()) {
      if (record.type == static_cast<std::uint8_t>(audit::RecordType::kIntent)) {
        reserve(book, must(audit::parse_intent(record.payload)));
      } else if (record.type == static_cast<std::uint8_t>(audit::RecordType::kOutcome)) {
        const audit::Outcome outcome = must(audit::parse_outcome(record.payload));
        if (outcome.kind == OutcomeKind::kSettled) {
          book.settle(outcome.attempt, Pico(outcome.cost_pico));
        } else {
          book.release(outcome.attempt);
        }
      }
    }
    for (const Model::Try& one : walk.model.tries) book.settle(one.intent.attempt, Pico(one.intent.reserved_pico));
    std::map<ledger::BucketKey, Pico> expected;
    for (const ledger::BucketState& state : book.snapshot(kDay)) {
      if (state.committed > Pico()) expected[state.key] = state.committed;
    }
    EXPECT_EQ(expected.size(), 10U);
    std::map<ledger::BucketKey, Pico> found;
    for (const Committed& one : must(store().committed(kDay, kMonth))) found[one.bucket] = Pico(one.amount);
    EXPECT_EQ(found, expected);
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(All, StoreWalk, ::testing::ValuesIn(kKinds), name_of_kind);

}  // namespace
}  // namespace shoal::store
