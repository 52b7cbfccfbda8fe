#include "shoal/store/sqlite/queries.h"

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "shoal/base/text.h"
#include "shoal/ledger/calendar.h"
#include "shoal/store/sqlite/columns.h"

namespace shoal::store::sqlite {
namespace {

constexpr std::size_t kMaxReceipts = 1000;

constexpr std::string_view kAttemptColumns =
    "sequence, id, request, unix_ms, principal, provider, model, purpose, body_sha256, body_bytes, reserved_milli, "
    "reserved_pico, price, route, state, ended_sequence, ended_ms, input, cache_read, cache_write_5m, cache_write_1h, "
    "output, reasoning, said_milli, said_pico, status, failure, upstream_id, cost_milli, cost_pico, committed_micro";

constexpr std::string_view kReceiptColumns =
    "sequence, request, unix_ms, principal, route, model, decision, egress, billed_micro, baseline_micro, "
    "prompt_tokens, completion_tokens, local_ms, durability, status, confidence, without_micro, compared_provider, "
    "compared_model, input, cache_read, cache_write_5m, cache_write_1h, output, reasoning";
constexpr int kAfterReceipt = 25;  // the column that follows

audit::Intent read_intent(const Rows& rows) {
  return {.attempt = std::string(rows.text(1)),
          .request = std::string(rows.text(2)),
          .unix_ms = rows.integer(3),
          .principal = std::string(rows.text(4)),
          .provider = std::string(rows.text(5)),
          .model = std::string(rows.text(6)),
          .purpose = std::string(rows.text(7)),
          .body_sha256 = std::string(rows.text(8)),
          .body_bytes = rows.integer(9),
          .reserved_pico = join(rows.integer(10), rows.integer(11)).value(),
          .price = std::string(rows.text(12)),
          .route = std::string(rows.text(13))};
}

audit::OutcomeKind kind_of(AttemptState state) {
  switch (state) {
    case AttemptState::kSettled:
      return audit::OutcomeKind::kSettled;
    case AttemptState::kNotSent:
      return audit::OutcomeKind::kNotSent;
    case AttemptState::kOpen:
    case AttemptState::kUnknown:
      break;
  }
  return audit::OutcomeKind::kUnknown;
}

Result<Attempt> read_attempt(const Rows& rows) {
  Attempt attempt;
  attempt.sequence = static_cast<std::uint64_t>(rows.integer(0));
  attempt.intent = read_intent(rows);
  attempt.state = SHOAL_TRY(parse_state(rows.text(14)));
  attempt.ended_ms = rows.integer(16);
  if (!rows.null(15)) {
    attempt.outcome = audit::Outcome{.attempt = attempt.intent.attempt,
                                     .unix_ms = attempt.ended_ms,
                                     .kind = kind_of(attempt.state),
                                     .tokens = {.input = rows.integer(17),
                                                .cache_read = rows.integer(18),
                                                .cache_write_5m = rows.integer(19),
                                                .cache_write_1h = rows.integer(20),
                                                .output = rows.integer(21),
                                                .reasoning = rows.integer(22)},
                                     .cost_pico = join(rows.integer(23), rows.integer(24)).value(),
                                     .status = static_cast<std::int32_t>(rows.integer(25)),
                                     .failure = std::string(rows.text(26)),
                                     .upstream_id = std::string(rows.text(27))};
  }
  attempt.cost = join(rows.integer(28), rows.integer(29));
  attempt.committed.value = rows.integer(30);
  return attempt;
}

// All but the detail.
Result<audit::Receipt> read_receipt(const Rows& rows) {
  audit::Receipt receipt;
  receipt.request = rows.text(1);
  receipt.unix_ms = rows.integer(2);
  receipt.principal = rows.text(3);
  receipt.route = rows.text(4);
  receipt.model = rows.text(5);
  receipt.decision = SHOAL_TRY(parse_decision(rows.text(6)));
  receipt.egress = rows.text(7);
  receipt.billed_micro = rows.integer(8);
  receipt.baseline_micro = rows.integer(9);
  receipt.prompt_tokens = rows.integer(10);
  receipt.completion_tokens = rows.integer(11);
  receipt.local_ms = rows.integer(12);
  receipt.durability = rows.text(13);
  receipt.status = static_cast<std::int32_t>(rows.integer(14));
  if (!rows.null(15)) receipt.confidence = rows.real(15);
  if (!rows.null(17)) {
    receipt.baseline = audit::Baseline{.provider = std::string(rows.text(17)),
                                       .model = std::string(rows.text(18)),
                                       .tokens = {.input = rows.integer(19),
                                                  .cache_read = rows.integer(20),
                                                  .cache_write_5m = rows.integer(21),
                                                  .cache_write_1h = rows.integer(22),
                                                  .output = rows.integer(23),
                                                  .reasoning = rows.integer(24)}};
  }
  return receipt;
}

// From column `at` on.
Result<audit::Judged> read_judged(const Rows& rows, int at) {
  audit::Judged judged;
  judged.action = SHOAL_TRY(parse_action(rows.text(at)));
  judged.threshold = rows.real(at + 1);
  judged.propensity = rows.real(at + 2);
  judged.drawn = rows.integer(at + 3) != 0;
  judged.late = rows.integer(at + 4) != 0;
  judged.stratum = SHOAL_TRY(parse_stratum(rows.text(at + 5)));
  judged.certificate = rows.text(at + 6);
  judged.model = rows.text(at + 7);
  return judged;
}
constexpr std::string_view kJudgedColumns =
    "action, threshold, propensity, drawn, late, stratum, certificate, judged.model";

constexpr std::string_view kLabelColumns =
    "label.sequence, label.request, label.unix_ms, kind, is_right, source, how, note, label.principal";

Result<LabelRow> read_label(const Rows& rows) {
  return LabelRow{.sequence = static_cast<std::uint64_t>(rows.integer(0)),
                  .label = {.request = std::string(rows.text(1)),
                            .unix_ms = rows.integer(2),
                            .kind = SHOAL_TRY(parse_label_kind(rows.text(3))),
                            .right = rows.integer(4) != 0,
                            .source = std::string(rows.text(5)),
                            .how = std::string(rows.text(6)),
                            .note = std::string(rows.text(7)),
                            .principal = std::string(rows.text(8))}};
}

std::optional<ledger::Micro> read_baseline(const Rows& rows) {
  const std::int64_t micro = rows.integer(16);
  return micro < 0 ? std::nullopt : std::optional(ledger::Micro{micro});
}

std::string name_in(const Place& place, CostsBy by) {
  switch (by) {
    case CostsBy::kRoute:
      return std::string(place.route);
    case CostsBy::kKey:
      return std::string(place.principal);
    case CostsBy::kModel:
      return place.provider.empty() ? std::string(place.model) : fmt::format("{}/{}", place.provider, place.model);
    case CostsBy::kProvider:
      return std::string(place.provider);
    case CostsBy::kDay:
      return ledger::date_text(place.day);
  }
  return {};
}

Error too_large() {
  return {ErrorCode::kInternal, "the sum of all these days is too large for 64 bits"};
}

}  // namespace

Result<std::vector<OpenIntent>> read_open_intents(Database& database) {
  Statement statement =
      SHOAL_TRY(database.prepare(fmt::format("SELECT {} FROM attempt JOIN bill USING (sequence) "
                                             "WHERE state IN ('open', 'unknown') AND state = 'open' ORDER BY sequence",
                                             kAttemptColumns)));
  std::vector<OpenIntent> intents;
  Rows rows(statement);
  while (SHOAL_TRY(rows.next())) {
    intents.push_back({.sequence = static_cast<std::uint64_t>(rows.integer(0)), .intent = read_intent(rows)});
  }
  return intents;
}

Result<Request> read_request(Database& database, std::string_view request) {
  Request found;
  Statement receipts =
      SHOAL_TRY(database.prepare(fmt::format("SELECT {}, detail FROM receipt WHERE request = ?", kReceiptColumns)));
  {
    Rows rows(receipts, request);
    if (SHOAL_TRY(rows.next())) {
      found.sequence = static_cast<std::uint64_t>(rows.integer(0));
      found.receipt = SHOAL_TRY(read_receipt(rows));
      found.receipt->detail = rows.text(kAfterReceipt);
      found.baseline = read_baseline(rows);
    }
  }
  if (found.receipt) {
    Statement judged =
        SHOAL_TRY(database.prepare(fmt::format("SELECT {} FROM judged WHERE sequence = ?", kJudgedColumns)));
    Rows rows(judged, found.sequence);
    if (SHOAL_TRY(rows.next())) found.receipt->judged = SHOAL_TRY(read_judged(rows, 0));
    Statement labels = SHOAL_TRY(
        database.prepare(fmt::format("SELECT {} FROM label WHERE request = ? ORDER BY sequence", kLabelColumns)));
    Rows said(labels, request);
    while (SHOAL_TRY(said.next())) found.labels.push_back(SHOAL_TRY(read_label(said)));
  }
  Statement attempts = SHOAL_TRY(database.prepare(fmt::format(
      "SELECT {} FROM attempt JOIN bill USING (sequence) WHERE request = ? ORDER BY sequence", kAttemptColumns)));
  Rows rows(attempts, request);
  while (SHOAL_TRY(rows.next())) {
    found.attempts.push_back(SHOAL_TRY(read_attempt(rows)));
    found.cost += found.attempts.back().cost;
    found.committed.value += found.attempts.back().committed.value;
  }
  if (!found.receipt && found.attempts.empty()) {
    return Error(ErrorCode::kNotFound,
                 fmt::format("no request has the id \"{}\"", base::escape_control(request.substr(0, 64))));
  }
  return found;
}

Result<std::vector<ReceiptRow>> read_receipts(Database& database, const ReceiptFilter& filter) {
  std::string sql = fmt::format(
      "SELECT {}, (SELECT coalesce(sum(committed_micro), 0) FROM attempt JOIN bill USING (sequence) "
      "WHERE attempt.request = receipt.request) FROM receipt WHERE sequence < ?1",
      kReceiptColumns);
  // Text that is not asked for is bound too, and compared with nothing.
  if (filter.principal) sql += " AND principal = ?2";
  if (filter.route) sql += " AND route = ?3";
  if (filter.model) sql += " AND model = ?4";
  sql += " ORDER BY sequence DESC LIMIT ?5";
  Statement statement = SHOAL_TRY(database.prepare(sql));
  constexpr std::int64_t kEnd = std::numeric_limits<std::int64_t>::max();
  const std::int64_t before =
      filter.before == 0 ? kEnd : static_cast<std::int64_t>(std::min<std::uint64_t>(filter.before, kEnd));
  Rows rows(statement, before, filter.principal, filter.route, filter.model, std::min(filter.limit, kMaxReceipts));
  std::vector<ReceiptRow> found;
  while (SHOAL_TRY(rows.next())) {
    ReceiptRow row;
    row.sequence = static_cast<std::uint64_t>(rows.integer(0));
    row.receipt = SHOAL_TRY(read_receipt(rows));
    row.committed.value = rows.integer(kAfterReceipt);
    row.baseline = read_baseline(rows);
    found.push_back(std::move(row));
  }
  return found;
}

Result<std::vector<JudgedAnswer>> read_judged(Database& database, const JudgedFilter& filter) {
  constexpr std::string_view kOf =
      "FROM judged JOIN receipt ON receipt.sequence = judged.sequence {} WHERE judged.route = ?1 AND receipt.unix_ms "
      ">= ?2 AND "
      "receipt.unix_ms < ?3 ORDER BY judged.sequence";
  std::vector<JudgedAnswer> found;
  std::map<std::string, std::size_t, std::less<>> places;
  Statement judged = SHOAL_TRY(database.prepare(
      fmt::format("SELECT judged.sequence, receipt.request, confidence, {} {}", kJudgedColumns, fmt::format(kOf, ""))));
  {
    Rows rows(judged, filter.route, filter.from_ms, filter.to_ms);
    while (SHOAL_TRY(rows.next())) {
      JudgedAnswer& one = found.emplace_back();
      one.sequence = static_cast<std::uint64_t>(rows.integer(0));
      one.request = rows.text(1);
      if (!rows.null(2)) one.confidence = rows.real(2);
      one.judged = SHOAL_TRY(read_judged(rows, 3));
      places.emplace(one.request, found.size() - 1);
    }
  }
  Statement labels =
      SHOAL_TRY(database.prepare(fmt::format("SELECT {} {}, label.sequence", kLabelColumns,
                                             fmt::format(kOf, "JOIN label ON label.request = receipt.request"))));
  Rows rows(labels, filter.route, filter.from_ms, filter.to_ms);
  while (SHOAL_TRY(rows.next())) {
    LabelRow label = SHOAL_TRY(read_label(rows));
    const auto place = places.find(label.label.request);
    if (place != places.end()) found[place->second].labels.push_back(std::move(label));
  }
  return found;
}

Result<CostReport> read_costs(DaySums& sums, CostsBy by, std::int64_t from, std::int64_t to) {
  std::map<std::string, Costs> by_name;
  CostReport report;
  const auto add = [&](const Place& place, const Costs& costs) -> Result<void> {
    if (!add_to(by_name[name_in(place, by)], costs) || !add_to(report.total, costs)) return too_large();
    return {};
  };
  SHOAL_TRY(sums.visit(from, to, add));
  for (auto& [name, costs] : by_name) report.rows.push_back({.name = name, .costs = costs});
  return report;
}

Result<std::vector<Committed>> read_committed(DaySums& sums, std::int64_t day_start, std::int64_t month_start) {
  const ledger::Span day = ledger::day_of(day_start);
  const ledger::Span month = ledger::month_of(month_start);
  std::map<ledger::BucketKey, std::int64_t> amounts;
  const auto add = [&](ledger::Period period, const Place& place, std::int64_t micro) {
    const auto to = [&](ledger::Owner owner, std::string_view name) {
      std::int64_t& amount = amounts[{.period = period, .owner = owner, .name = std::string(name)}];
      return !__builtin_add_overflow(amount, micro, &amount);
    };
    bool fits = to(ledger::Owner::kTotal, "");
    if (!place.principal.empty()) fits = to(ledger::Owner::kKey, place.principal) && fits;
    if (!place.provider.empty()) fits = to(ledger::Owner::kProvider, place.provider) && fits;
    return fits;
  };
  const std::int64_t from = std::min(day.start, month.start);
  const std::int64_t to = std::max(day.end, month.end);
  SHOAL_TRY(sums.visit_taken(from, to, [&](const Place& place, const Costs& costs) -> Result<void> {
    if (costs.committed.value == 0) return {};
    if (day.holds(place.taken) && !add(ledger::Period::kDay, place, costs.committed.value)) return too_large();
    if (month.holds(place.taken) && !add(ledger::Period::kMonth, place, costs.committed.value)) return too_large();
    return {};
  }));
  std::vector<Committed> committed;
  for (const auto& [bucket, micro] : amounts) committed.push_back({.bucket = bucket, .amount = {micro}});
  return committed;
}

}  // namespace shoal::store::sqlite
