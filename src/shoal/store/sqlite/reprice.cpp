#include "shoal/store/sqlite/reprice.h"

#include <cassert>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "shoal/store/sqlite/columns.h"

namespace shoal::store::sqlite {
namespace {

constexpr std::int64_t kBatch = 5'000;  // rows; about 10 ms

// What a batch finds, to be written when it was read.
struct Changes {
  std::vector<AttemptRow> alone;  // as they are now
  // Those with several attempts: what each adds depends on the others.
  std::set<std::string, std::less<>> requests;
};

// A receipt that is compared with something, and its price of before.
struct Compared {
  std::int64_t sequence = 0;
  audit::Receipt receipt;
  std::int64_t micro = -1;  // -1: not known
};

class Repricer {
 public:
  Repricer(ReceiptTables& tables, const Store::Price& price) : tables_(tables), price_(price) {}

  Result<void> prepare();
  // What attempts cost. False: there was none after `after_`.
  Result<bool> attempts() {
    return batch([this] { return reprice_attempts(); });
  }
  // What requests would have cost without Shoal. False: there was none.
  Result<bool> baselines() {
    return batch([this] { return reprice_baselines(); });
  }
  // From the first row again.
  void rewind() { after_ = 0; }
  [[nodiscard]] const RepriceProgress& progress() const { return progress_; }

 private:
  // In a transaction.
  template <class Step>
  Result<bool> batch(Step step);
  Result<bool> reprice_attempts();
  void look_at(AttemptRow row, std::string_view request, Changes& changes);
  Result<void> change_request(const std::string& request);
  Result<bool> reprice_baselines();
  Result<void> change_baseline(const Compared& one, std::int64_t micro);
  // Nothing: there is no price.
  [[nodiscard]] std::optional<ledger::Pico> price_of(std::string_view provider, std::string_view model,
                                                     std::int64_t unix_ms, const audit::TokenCounts& tokens) const;

  ReceiptTables& tables_;
  const Store::Price& price_;
  RepriceProgress progress_;
  std::int64_t after_ = 0;
  Statement attempts_;
  Statement write_bill_;
  Statement receipts_;
  Statement write_receipt_;
};

Result<void> Repricer::prepare() {
  Database& database = tables_.database();
  progress_.of = static_cast<std::uint64_t>(SHOAL_TRY(database.number("SELECT count(*) FROM bill")));
  attempts_ = SHOAL_TRY(database.prepare(fmt::format(
      "SELECT {}, request FROM attempt JOIN bill USING (sequence) WHERE sequence > ? ORDER BY sequence LIMIT ?",
      Attempts::kColumns)));
  write_bill_ = SHOAL_TRY(
      database.prepare("UPDATE bill SET cost_milli = ?, cost_pico = ?, committed_micro = ? WHERE sequence = ?"));
  receipts_ = SHOAL_TRY(
      database.prepare("SELECT sequence, request, unix_ms, principal, route, model, decision, egress, local_ms, "
                       "without_micro, compared_provider, compared_model, input, cache_read, cache_write_5m, "
                       "cache_write_1h, output, reasoning FROM receipt "
                       "WHERE sequence > ? AND compared_provider IS NOT NULL ORDER BY sequence LIMIT ?"));
  write_receipt_ = SHOAL_TRY(database.prepare("UPDATE receipt SET without_micro = ? WHERE sequence = ?"));
  return {};
}

template <class Step>
Result<bool> Repricer::batch(Step step) {
  bool more = false;
  const RepriceProgress before = progress_;
  const std::int64_t after = after_;
  auto written = tables_.transact([&]() -> Result<void> {
    more = SHOAL_TRY(step());
    return {};
  });
  if (!written.ok()) {
    progress_ = before;
    after_ = after;
    return std::move(written).error();
  }
  return more;
}

Result<bool> Repricer::reprice_attempts() {
  constexpr int kRequest = 25;  // the column behind Attempts::kColumns
  Changes changes;
  bool any = false;
  {
    Rows rows(attempts_, after_, kBatch);
    while (SHOAL_TRY(rows.next())) {
      any = true;
      ++progress_.looked_at;
      AttemptRow row = SHOAL_TRY(Attempts::read_row(rows));
      after_ = row.sequence;
      if (row.state == AttemptState::kSettled) look_at(std::move(row), rows.text(kRequest), changes);
    }
  }
  for (const AttemptRow& row : changes.alone) {
    const SplitPico cost = split(row.bill.cost);
    SHOAL_TRY(run(write_bill_, cost.milli, cost.pico, row.bill.committed.value, row.sequence));
  }
  for (const std::string& request : changes.requests) SHOAL_TRY(change_request(request));
  return any;
}

std::optional<ledger::Pico> Repricer::price_of(std::string_view provider, std::string_view model, std::int64_t unix_ms,
                                               const audit::TokenCounts& tokens) const {
  const auto cost = price_({.provider = provider, .model = model, .at = unix_ms / 1000, .tokens = tokens});
  assert(!cost || (*cost >= ledger::Pico() && *cost <= ledger::kMaxAmount));
  return cost;
}

void Repricer::look_at(AttemptRow row, std::string_view request, Changes& changes) {
  const auto cost = price_of(row.provider, row.model, row.unix_ms, row.tokens);
  if (!cost) ++progress_.unpriced;
  if (!cost || *cost == row.bill.cost) return;
  ++progress_.changed;
  if (!row.bill.alone) {
    changes.requests.emplace(request);
    return;
  }
  row.take_from(tables_.day_sums());
  row.bill.cost = *cost;
  row.bill.committed = ledger::round_up_to_micro(*cost);
  row.add_to(tables_.day_sums());
  changes.alone.push_back(std::move(row));
}

Result<void> Repricer::change_request(const std::string& request) {
  const std::vector<AttemptRow> before = SHOAL_TRY(tables_.attempts().read(request));
  std::vector<AttemptRow> now = before;
  for (AttemptRow& row : now) {
    if (row.state != AttemptState::kSettled) continue;
    if (const auto cost = price_of(row.provider, row.model, row.unix_ms, row.tokens)) row.bill.cost = *cost;
  }
  return tables_.attempts().update(before, std::move(now), tables_.day_sums());
}

Result<Compared> read_compared(const Rows& rows) {
  Compared one{.sequence = rows.integer(0), .receipt = {}, .micro = rows.integer(9)};
  one.receipt.request = rows.text(1);
  one.receipt.unix_ms = rows.integer(2);
  one.receipt.principal = rows.text(3);
  one.receipt.route = rows.text(4);
  one.receipt.model = rows.text(5);
  one.receipt.decision = SHOAL_TRY(parse_decision(rows.text(6)));
  one.receipt.egress = rows.text(7);
  one.receipt.local_ms = rows.integer(8);
  return one;
}

Result<bool> Repricer::reprice_baselines() {
  std::vector<std::pair<Compared, std::int64_t>> changes;
  bool any = false;
  {
    Rows rows(receipts_, after_, kBatch);
    while (SHOAL_TRY(rows.next())) {
      any = true;
      after_ = rows.integer(0);
      const audit::TokenCounts tokens = {.input = rows.integer(12),
                                         .cache_read = rows.integer(13),
                                         .cache_write_5m = rows.integer(14),
                                         .cache_write_1h = rows.integer(15),
                                         .output = rows.integer(16),
                                         .reasoning = rows.integer(17)};
      const auto cost = price_of(rows.text(10), rows.text(11), rows.integer(2), tokens);
      if (!cost) continue;
      const std::int64_t micro = ledger::round_up_to_micro(*cost).value;
      if (micro != rows.integer(9)) changes.emplace_back(SHOAL_TRY(read_compared(rows)), micro);
    }
  }
  for (const auto& [one, micro] : changes) SHOAL_TRY(change_baseline(one, micro));
  progress_.baselines += changes.size();
  return any;
}

Result<void> Repricer::change_baseline(const Compared& one, std::int64_t micro) {
  SHOAL_TRY(run(write_receipt_, micro, one.sequence));
  const Answered answered = answered_by(one.receipt);
  const Place place = place_of(one.receipt, answered);
  const auto costs = [&](std::int64_t baseline) {
    Costs out;
    out.with_baseline = 1;
    out.baseline.value = baseline;
    out.with_baseline_local_ms = one.receipt.local_ms;
    return out;
  };
  tables_.day_sums().add(place, costs(micro));
  if (one.micro >= 0) {
    tables_.day_sums().subtract(place, costs(one.micro));
    return {};
  }
  // Its price was not known: its attempts are compared from now on.
  const std::vector<AttemptRow> before = SHOAL_TRY(tables_.attempts().read(one.receipt.request));
  std::vector<AttemptRow> now = before;
  for (AttemptRow& row : now) {
    if (row.bill.answered) row.bill.answered->compared = true;
  }
  return tables_.attempts().update(before, std::move(now), tables_.day_sums());
}

}  // namespace

Result<RepriceProgress> reprice(ReceiptTables& tables, const Store::Price& price, const Store::Progress& progress) {
  Repricer repricer(tables, price);
  SHOAL_TRY(repricer.prepare());
  const auto goes_on = [&] { return !progress || progress(repricer.progress()); };
  while (SHOAL_TRY(repricer.attempts())) {
    if (!goes_on()) return repricer.progress();
  }
  repricer.rewind();
  while (SHOAL_TRY(repricer.baselines())) {
    if (!goes_on()) break;
  }
  return repricer.progress();
}

}  // namespace shoal::store::sqlite
