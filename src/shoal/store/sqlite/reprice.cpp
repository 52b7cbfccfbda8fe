#include "shoal/store/sqlite/reprice.h"

#include <cassert>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "shoal/store/sqlite/columns.h"

namespace shoal::store::sqlite {
namespace {

constexpr std::int64_t kBatch = 5'000;  // attempts; about 10 ms

constexpr std::string_view kSettledColumns =
    "SELECT sequence, state = 'settled', unix_ms, principal, route, provider, model, input, cache_read, "
    "cache_write_5m, cache_write_1h, output, reasoning, cost_milli, cost_pico, committed_micro, alone, compared, "
    "answered_by, request FROM attempt JOIN bill USING (sequence) WHERE sequence > ? ORDER BY sequence LIMIT ?";

// What a batch finds, to be written when it was read.
struct Changes {
  struct One {
    std::int64_t sequence;
    ledger::Pico cost;
    ledger::Micro committed;
  };
  std::vector<One> alone;
  // Those with several attempts: what each adds depends on the others.
  std::set<std::string, std::less<>> requests;
};

class Repricer {
 public:
  Repricer(ReceiptTables& tables, const Store::Price& price) : tables_(tables), price_(price) {}

  // False: there was no attempt after `after_`.
  Result<bool> batch();
  Result<void> prepare();
  [[nodiscard]] const RepriceProgress& progress() const { return progress_; }

 private:
  Result<bool> look(Changes& changes);
  void look_at(const Rows& rows, Changes& changes);
  Result<void> write(const Changes& changes);
  Result<void> change_request(const std::string& request);
  // Nothing: there is no price.
  [[nodiscard]] std::optional<ledger::Pico> price_of(std::string_view provider, std::string_view model, std::int64_t at,
                                                     const audit::TokenCounts& tokens) const;

  ReceiptTables& tables_;
  const Store::Price& price_;
  RepriceProgress progress_;
  std::int64_t after_ = 0;
  Statement look_;
  Statement write_;
};

Result<void> Repricer::prepare() {
  Database& database = tables_.database();
  progress_.of = static_cast<std::uint64_t>(SHOAL_TRY(database.number("SELECT count(*) FROM bill")));
  look_ = SHOAL_TRY(database.prepare(kSettledColumns));
  write_ = SHOAL_TRY(
      database.prepare("UPDATE bill SET cost_milli = ?, cost_pico = ?, committed_micro = ? WHERE sequence = ?"));
  return {};
}

Result<bool> Repricer::batch() {
  Changes changes;
  bool more = false;
  const RepriceProgress before = progress_;
  const std::int64_t after = after_;
  auto written = tables_.transact([&]() -> Result<void> {
    more = SHOAL_TRY(look(changes));
    return write(changes);
  });
  if (!written.ok()) {
    progress_ = before;
    after_ = after;
    return std::move(written).error();
  }
  return more;
}

Result<bool> Repricer::look(Changes& changes) {
  bool any = false;
  Rows rows(look_, after_, kBatch);
  while (SHOAL_TRY(rows.next())) {
    any = true;
    after_ = rows.integer(0);
    ++progress_.looked_at;
    if (rows.integer(1) != 0) look_at(rows, changes);
  }
  return any;
}

std::optional<ledger::Pico> Repricer::price_of(std::string_view provider, std::string_view model, std::int64_t at,
                                               const audit::TokenCounts& tokens) const {
  const auto cost = price_({.provider = provider, .model = model, .at = at, .tokens = tokens});
  assert(!cost || (*cost >= ledger::Pico() && *cost <= ledger::kMaxAmount));
  return cost;
}

void Repricer::look_at(const Rows& rows, Changes& changes) {
  const std::int64_t unix_ms = rows.integer(2);
  const std::string_view provider = rows.text(5);
  const std::string_view model = rows.text(6);
  const audit::TokenCounts tokens = {.input = rows.integer(7),
                                     .cache_read = rows.integer(8),
                                     .cache_write_5m = rows.integer(9),
                                     .cache_write_1h = rows.integer(10),
                                     .output = rows.integer(11),
                                     .reasoning = rows.integer(12)};
  const ledger::Pico old = join(rows.integer(13), rows.integer(14));
  const auto cost = price_of(provider, model, unix_ms / 1000, tokens);
  if (!cost) ++progress_.unpriced;
  if (!cost || *cost == old) return;
  ++progress_.changed;
  const bool alone = rows.integer(16) != 0;
  if (!alone) {
    changes.requests.emplace(rows.text(19));
    return;
  }
  const ledger::Micro committed = ledger::round_up_to_micro(*cost);
  changes.alone.push_back({.sequence = rows.integer(0), .cost = *cost, .committed = committed});

  Bill bill{.cost = old, .committed = {rows.integer(15)}, .compared = rows.integer(17) != 0};
  const Place place{.day = day_of_ms(unix_ms),
                    .route = rows.text(4),
                    .principal = rows.text(3),
                    .model = rows.null(18) ? model : rows.text(18),
                    .provider = provider};
  tables_.day_sums().subtract(place, costs_of(AttemptState::kSettled, tokens, bill));
  bill.cost = *cost;
  bill.committed = committed;
  tables_.day_sums().add(place, costs_of(AttemptState::kSettled, tokens, bill));
}

Result<void> Repricer::write(const Changes& changes) {
  for (const Changes::One& one : changes.alone) {
    const SplitPico cost = split(one.cost);
    SHOAL_TRY(run(write_, cost.milli, cost.pico, one.committed.value, one.sequence));
  }
  for (const std::string& request : changes.requests) SHOAL_TRY(change_request(request));
  return {};
}

Result<void> Repricer::change_request(const std::string& request) {
  const std::vector<AttemptRow> before = SHOAL_TRY(tables_.attempts().read(request));
  std::vector<AttemptRow> now = before;
  for (AttemptRow& row : now) {
    if (row.state != AttemptState::kSettled) continue;
    if (const auto cost = price_of(row.provider, row.model, row.unix_ms / 1000, row.tokens)) row.bill.cost = *cost;
  }
  return tables_.attempts().update(before, std::move(now), tables_.day_sums());
}

}  // namespace

Result<RepriceProgress> reprice(ReceiptTables& tables, const Store::Price& price, const Store::Progress& progress) {
  Repricer repricer(tables, price);
  SHOAL_TRY(repricer.prepare());
  while (SHOAL_TRY(repricer.batch())) {
    if (progress && !progress(repricer.progress())) break;
  }
  return repricer.progress();
}

}  // namespace shoal::store::sqlite
