#include "shoal/store/sqlite/attempts.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "shoal/store/sqlite/columns.h"

namespace shoal::store::sqlite {
namespace {

constexpr std::string_view kInsert =
    "INSERT INTO attempt (sequence, id, request, unix_ms, principal, route, provider, model, state, reserved_milli, "
    "reserved_pico, price, purpose, body_bytes, body_sha256) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'open', ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT DO NOTHING";

constexpr std::string_view kEnd =
    "UPDATE attempt SET state = ?, ended_sequence = ?, ended_ms = ?, input = ?, cache_read = ?, cache_write_5m = ?, "
    "cache_write_1h = ?, output = ?, reasoning = ?, said_milli = ?, said_pico = ?, status = ?, failure = ?, "
    "upstream_id = ? WHERE sequence = ?";

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

Answered answered_by(const audit::Receipt& receipt) {
  Answered out{.day = day_of_ms(receipt.unix_ms), .model = receipt.model, .compared = false};
  const std::size_t slash = receipt.model.find('/');
  const bool here = receipt.decision == audit::Decision::kLocal || receipt.decision == audit::Decision::kFailedOver;
  if (here || slash == std::string::npos) return out;
  const std::string_view provider = std::string_view(receipt.model).substr(0, slash);
  for (std::string_view rest = receipt.egress; !rest.empty();) {
    const std::size_t end = std::min(rest.find(','), rest.size());
    if (rest.substr(0, end) == provider) {
      out.provider = provider;
      out.model = receipt.model.substr(slash + 1);
      break;
    }
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return out;
}

Place AttemptRow::place() const {
  const std::int64_t taken = day_of_ms(unix_ms);
  return {.day = bill.answered ? bill.answered->day : taken,
          .taken = taken,
          .route = route,
          .principal = principal,
          .model = model,
          .provider = provider};
}

Costs AttemptRow::costs() const {
  Costs costs;
  if (state == AttemptState::kOpen || state == AttemptState::kNotSent) return costs;
  costs.attempts = 1;
  costs.tokens = tokens;
  costs.cost = bill.cost;
  costs.committed = bill.committed;
  if (state == AttemptState::kUnknown) {
    costs.unknown = 1;
    costs.unknown_cost = bill.cost;
  }
  return costs;
}

Place AttemptRow::place_compared() const {
  return {.day = bill.answered->day,
          .taken = bill.answered->day,
          .route = route,
          .principal = principal,
          .model = bill.answered->model,
          .provider = bill.answered->provider};
}

Costs AttemptRow::costs_compared() const {
  Costs costs;
  costs.with_baseline_committed = bill.committed;
  return costs;
}

void AttemptRow::add_to(DaySums& sums) const {
  sums.add(place(), costs());
  if (bill.answered && bill.answered->compared) sums.add(place_compared(), costs_compared());
}

void AttemptRow::take_from(DaySums& sums) const {
  sums.subtract(place(), costs());
  if (bill.answered && bill.answered->compared) sums.subtract(place_compared(), costs_compared());
}

const std::string_view Attempts::kColumns =
    "sequence, id, unix_ms, principal, route, provider, model, state, ended_sequence, input, cache_read, "
    "cache_write_5m, cache_write_1h, output, reasoning, reserved_milli, reserved_pico, cost_milli, cost_pico, "
    "committed_micro, alone, answered_day, answered_model, answered_provider, compared";

Result<AttemptRow> Attempts::read_row(const Rows& rows) {
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
  if (!rows.null(21)) {
    row.bill.answered = Answered{.day = rows.integer(21),
                                 .model = std::string(rows.text(22)),
                                 .provider = std::string(rows.text(23)),
                                 .compared = rows.integer(24) != 0};
  }
  return row;
}

Result<void> Attempts::prepare(Database& database) {
  database_ = &database;
  read_ = SHOAL_TRY(database.prepare(
      fmt::format("SELECT {} FROM attempt JOIN bill USING (sequence) WHERE request = ? ORDER BY sequence", kColumns)));
  insert_ = SHOAL_TRY(database.prepare(kInsert));
  insert_bill_ = SHOAL_TRY(
      database.prepare("INSERT INTO bill (cost_milli, cost_pico, committed_micro, alone, answered_day, answered_model, "
                       "answered_provider, compared, sequence) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  update_bill_ = SHOAL_TRY(database.prepare(
      "UPDATE bill SET cost_milli = ?, cost_pico = ?, committed_micro = ?, alone = ?, answered_day = ?, "
      "answered_model = ?, answered_provider = ?, compared = ? WHERE sequence = ?"));
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
    before[i].take_from(sums);
    now[i].add_to(sums);
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
  if (!bill.answered) {
    return run(statement, cost.milli, cost.pico, bill.committed.value, bill.alone, std::nullopt, std::nullopt,
               std::nullopt, false, sequence);
  }
  const Answered& answered = *bill.answered;
  return run(statement, cost.milli, cost.pico, bill.committed.value, bill.alone, answered.day, answered.model,
             answered.provider, answered.compared, sequence);
}

}  // namespace shoal::store::sqlite
