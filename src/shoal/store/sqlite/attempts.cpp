#include "shoal/store/sqlite/attempts.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <utility>

#include "shoal/store/sqlite/columns.h"

namespace shoal::store::sqlite {
namespace {

constexpr std::string_view kRead =
    "SELECT sequence, id, unix_ms, principal, route, provider, model, state, ended_sequence, input, cache_read, "
    "cache_write_5m, cache_write_1h, output, reasoning, reserved_milli, reserved_pico, cost_milli, cost_pico, "
    "committed_micro, alone, compared, answered_by FROM attempt JOIN bill USING (sequence) WHERE request = ? "
    "ORDER BY sequence";

constexpr std::string_view kInsert =
    "INSERT INTO attempt (sequence, id, request, unix_ms, principal, route, provider, model, state, reserved_milli, "
    "reserved_pico, price, purpose, body_bytes, body_sha256) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'open', ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT DO NOTHING";

constexpr std::string_view kEnd =
    "UPDATE attempt SET state = ?, ended_sequence = ?, ended_ms = ?, input = ?, cache_read = ?, cache_write_5m = ?, "
    "cache_write_1h = ?, output = ?, reasoning = ?, said_milli = ?, said_pico = ?, status = ?, failure = ?, "
    "upstream_id = ? WHERE sequence = ?";

Result<AttemptRow> read_row(const Rows& rows) {
  AttemptRow row;
  row.sequence = rows.integer(0);
  row.id = rows.text(1);
  row.unix_ms = rows.integer(2);
  row.principal = rows.text(3);
  row.route = rows.text(4);
  row.provider = rows.text(5);
  row.model = rows.text(6);
  row.state = SHOAL_TRY(parse_state(rows.text(7)));
  row.ended_sequence = rows.optional_integer(8);
  row.tokens = {.input = rows.integer(9),
                .cache_read = rows.integer(10),
                .cache_write_5m = rows.integer(11),
                .cache_write_1h = rows.integer(12),
                .output = rows.integer(13),
                .reasoning = rows.integer(14)};
  row.reserved = join(rows.integer(15), rows.integer(16));
  row.bill.cost = join(rows.integer(17), rows.integer(18));
  row.bill.committed.value = rows.integer(19);
  row.bill.alone = rows.integer(20) != 0;
  row.bill.compared = rows.integer(21) != 0;
  if (!rows.null(22)) row.bill.answered_by = rows.text(22);
  return row;
}

bool has_ended(const AttemptRow& row) {
  return row.state != AttemptState::kOpen;
}

// What each adds to the sum rounded up, as ledger::Book commits it: in the order in which they ended. One that was
// given up at a start ended after all that the journal has.
void commit_in_order(std::vector<AttemptRow>& rows) {
  static constexpr std::int64_t kLast = std::numeric_limits<std::int64_t>::max();
  std::vector<AttemptRow*> order;
  for (AttemptRow& row : rows) {
    row.bill.committed = {};
    if (has_ended(row)) order.push_back(&row);
  }
  std::ranges::stable_sort(order, {}, [](const AttemptRow* row) { return row->ended_sequence.value_or(kLast); });
  ledger::Pico sum;
  for (AttemptRow* const row : order) {
    const std::int64_t before = ledger::round_up_to_micro(sum).value;
    sum += row->bill.cost;
    row->bill.committed.value = ledger::round_up_to_micro(sum).value - before;
  }
}

}  // namespace

Costs costs_of(AttemptState state, const audit::TokenCounts& tokens, const Bill& bill) {
  Costs costs;
  if (state == AttemptState::kOpen || state == AttemptState::kNotSent) return costs;
  costs.attempts = 1;
  costs.tokens = tokens;
  costs.cost = bill.cost;
  costs.committed = bill.committed;
  if (bill.compared) costs.with_baseline_committed = bill.committed;
  if (state == AttemptState::kUnknown) {
    costs.unknown = 1;
    costs.unknown_cost = bill.cost;
  }
  return costs;
}

Place AttemptRow::place() const {
  return {.day = day_of_ms(unix_ms),
          .route = route,
          .principal = principal,
          .model = bill.answered_by ? *bill.answered_by : model,
          .provider = provider};
}

Costs AttemptRow::costs() const {
  return costs_of(state, tokens, bill);
}

Result<void> Attempts::prepare(Database& database) {
  database_ = &database;
  read_ = SHOAL_TRY(database.prepare(kRead));
  insert_ = SHOAL_TRY(database.prepare(kInsert));
  insert_bill_ = SHOAL_TRY(database.prepare(
      "INSERT INTO bill (cost_milli, cost_pico, committed_micro, alone, compared, answered_by, sequence) "
      "VALUES (?, ?, ?, ?, ?, ?, ?)"));
  update_bill_ = SHOAL_TRY(database.prepare(
      "UPDATE bill SET cost_milli = ?, cost_pico = ?, committed_micro = ?, alone = ?, compared = ?, answered_by = ? "
      "WHERE sequence = ?"));
  end_ = SHOAL_TRY(database.prepare(kEnd));
  give_up_ = SHOAL_TRY(database.prepare("UPDATE attempt SET state = 'unknown', ended_ms = ? WHERE sequence = ?"));
  unsettled_ = SHOAL_TRY(
      database.prepare("SELECT sequence, request FROM attempt WHERE state IN ('open', 'unknown') AND id = ?"));
  return {};
}

Result<std::vector<AttemptRow>> Attempts::read(std::string_view request) {
  std::vector<AttemptRow> found;
  Rows rows(read_, request);
  while (SHOAL_TRY(rows.next())) found.push_back(SHOAL_TRY(read_row(rows)));
  return found;
}

Result<void> Attempts::update(const std::vector<AttemptRow>& before, std::vector<AttemptRow> now, DaySums& sums) {
  assert(before.size() == now.size());
  commit_in_order(now);
  for (std::size_t i = 0; i < now.size(); ++i) {
    now[i].bill.alone = now.size() == 1;
    sums.subtract(before[i].place(), before[i].costs());
    sums.add(now[i].place(), now[i].costs());
    if (now[i].bill != before[i].bill) SHOAL_TRY(write(now[i].sequence, now[i].bill, update_bill_));
  }
  return {};
}

Result<bool> Attempts::insert(std::int64_t sequence, const audit::Intent& intent, const Bill& bill) {
  const SplitPico reserved = split(ledger::Pico(intent.reserved_pico));
  SHOAL_TRY(run(insert_, sequence, intent.attempt, intent.request, intent.unix_ms, intent.principal, intent.route,
                intent.provider, intent.model, reserved.milli, reserved.pico, intent.price, intent.purpose,
                intent.body_bytes, intent.body_sha256));
  if (database_->changes() == 0) return false;
  SHOAL_TRY(write(sequence, bill, insert_bill_));
  return true;
}

Result<void> Attempts::end(std::int64_t sequence, std::int64_t ended_sequence, const audit::Outcome& outcome) {
  const SplitPico said = split(ledger::Pico(outcome.cost_pico));
  const audit::TokenCounts& tokens = outcome.tokens;
  return run(end_, audit::name_of(outcome.kind), ended_sequence, outcome.unix_ms, tokens.input, tokens.cache_read,
             tokens.cache_write_5m, tokens.cache_write_1h, tokens.output, tokens.reasoning, said.milli, said.pico,
             outcome.status, outcome.failure, outcome.upstream_id, sequence);
}

Result<void> Attempts::give_up(std::int64_t sequence, std::int64_t now_ms) {
  return run(give_up_, now_ms, sequence);
}

Result<std::optional<Attempts::Found>> Attempts::unsettled(std::string_view id) {
  Rows rows(unsettled_, id);
  if (!SHOAL_TRY(rows.next())) return std::optional<Found>();
  return std::optional(Found{.sequence = rows.integer(0), .request = std::string(rows.text(1))});
}

Result<void> Attempts::write(std::int64_t sequence, const Bill& bill, Statement& statement) {
  const SplitPico cost = split(bill.cost);
  return run(statement, cost.milli, cost.pico, bill.committed.value, bill.alone, bill.compared, bill.answered_by,
             sequence);
}

}  // namespace shoal::store::sqlite
