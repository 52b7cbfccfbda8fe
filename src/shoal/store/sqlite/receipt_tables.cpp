#include "shoal/store/sqlite/receipt_tables.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include <fmt/format.h>

#include "shoal/ledger/usage.h"
#include "shoal/store/sqlite/columns.h"
#include "shoal/store/sqlite/schema.h"

namespace shoal::store::sqlite {
namespace {

constexpr std::int64_t kMaxUnixMs = 253'402'300'799'999;  // the last of the year 9999
constexpr std::int64_t kMaxMicro = static_cast<std::int64_t>(ledger::kMaxAmount.value() / 1'000'000);

// What cannot be counted: such numbers are a fault of whoever wrote them, and would spoil every sum.
bool is_count(std::int64_t count) {
  return count >= 0 && count <= ledger::kMaxCount;
}
bool is_amount(audit::Pico amount) {
  return amount >= 0 && amount <= ledger::kMaxAmount.value();
}
bool is_time(std::int64_t unix_ms) {
  return unix_ms >= 0 && unix_ms <= kMaxUnixMs;
}
bool can_be_counted(const audit::Intent& intent) {
  return !intent.attempt.empty() && !intent.request.empty() && is_time(intent.unix_ms) &&
         is_amount(intent.reserved_pico);
}
bool are_counts(const audit::TokenCounts& tokens) {
  return is_count(tokens.input) && is_count(tokens.cache_read) && is_count(tokens.cache_write_5m) &&
         is_count(tokens.cache_write_1h) && is_count(tokens.output) && is_count(tokens.reasoning);
}
bool can_be_counted(const audit::Outcome& outcome) {
  return is_time(outcome.unix_ms) && is_amount(outcome.cost_pico) && are_counts(outcome.tokens);
}
bool can_be_counted(const audit::Receipt& receipt) {
  return !receipt.request.empty() && is_time(receipt.unix_ms) && is_count(receipt.prompt_tokens) &&
         is_count(receipt.completion_tokens) && is_count(receipt.local_ms) && receipt.billed_micro >= 0 &&
         receipt.billed_micro <= kMaxMicro && receipt.baseline_micro >= -1 && receipt.baseline_micro <= kMaxMicro &&
         (!receipt.baseline || are_counts(receipt.baseline->tokens));
}

constexpr std::string_view kOutOfBounds = "it has a number that nothing can have, or no id";

Costs costs_of(const audit::Receipt& receipt) {
  Costs costs;
  costs.requests = 1;
  switch (receipt.decision) {
    case audit::Decision::kLocal:
      costs.local = 1;
      break;
    case audit::Decision::kRemote:
      costs.remote = 1;
      break;
    case audit::Decision::kEscalated:
      costs.escalated = 1;
      break;
    case audit::Decision::kFailedOver:
      costs.failed_over = 1;
      break;
    case audit::Decision::kRefused:
      costs.refused = 1;
      break;
  }
  costs.prompt_tokens = receipt.prompt_tokens;
  costs.completion_tokens = receipt.completion_tokens;
  costs.local_ms = receipt.local_ms;
  if (receipt.baseline_micro >= 0) {
    costs.with_baseline = 1;
    costs.with_baseline_local_ms = receipt.local_ms;
    costs.baseline.value = receipt.baseline_micro;
  }
  return costs;
}

AttemptState state_after(audit::OutcomeKind kind) {
  switch (kind) {
    case audit::OutcomeKind::kSettled:
      return AttemptState::kSettled;
    case audit::OutcomeKind::kNotSent:
      return AttemptState::kNotSent;
    case audit::OutcomeKind::kUnknown:
      return AttemptState::kUnknown;
  }
  return AttemptState::kUnknown;
}

ledger::Pico cost_after(const audit::Outcome& outcome, ledger::Pico reserved) {
  switch (outcome.kind) {
    case audit::OutcomeKind::kSettled:
      return ledger::Pico(outcome.cost_pico);
    case audit::OutcomeKind::kNotSent:
      return {};
    case audit::OutcomeKind::kUnknown:
      return reserved;
  }
  return reserved;
}

}  // namespace

Result<std::unique_ptr<ReceiptTables>> ReceiptTables::open(const std::filesystem::path& path, std::int64_t cache_kib) {
  auto database = SHOAL_TRY(Database::open(path, {.cache_kib = cache_kib, .application_id = kReceiptsApplication}));
  SHOAL_TRY(migrate(database, receipts_versions()));
  std::unique_ptr<ReceiptTables> tables(new ReceiptTables(std::move(database)));
  SHOAL_TRY(tables->prepare());
  return tables;
}

Result<void> ReceiptTables::prepare() {
  SHOAL_TRY(sums_.prepare(database_));
  SHOAL_TRY(attempts_.prepare(database_));
  insert_receipt_ = SHOAL_TRY(database_.prepare(
      "INSERT INTO receipt (sequence, request, unix_ms, principal, route, model, decision, egress, billed_micro, "
      "baseline_micro, prompt_tokens, completion_tokens, local_ms, durability, status, confidence, detail, "
      "without_micro) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"));
  compare_ = SHOAL_TRY(
      database_.prepare("UPDATE receipt SET compared_provider = ?, compared_model = ?, input = ?, cache_read = ?, "
                        "cache_write_5m = ?, cache_write_1h = ?, output = ?, reasoning = ? WHERE sequence = ?"));
  receipt_of_ = SHOAL_TRY(
      database_.prepare("SELECT unix_ms, model, decision, egress, without_micro FROM receipt WHERE request = ?"));
  insert_judged_ = SHOAL_TRY(database_.prepare("INSERT INTO judged VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  insert_label_ = SHOAL_TRY(database_.prepare("INSERT INTO label VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  withdraw_label_ = SHOAL_TRY(database_.prepare("DELETE FROM label WHERE request = ? AND kind = ? AND source = ?"));
  insert_aside_ = SHOAL_TRY(database_.prepare("INSERT INTO aside (sequence, type, payload, why) VALUES (?, ?, ?, ?)"));
  used_statement_ = SHOAL_TRY(
      database_.prepare("INSERT INTO last_used VALUES (?, ?) ON CONFLICT DO UPDATE SET unix_ms = excluded.unix_ms "
                        "WHERE unix_ms < excluded.unix_ms"));
  write_feed_ = SHOAL_TRY(database_.prepare("UPDATE feed SET journal = ?, before = ?, last = ?"));
  Statement read = SHOAL_TRY(database_.prepare("SELECT journal, before, last FROM feed"));
  Rows rows(read);
  if (!SHOAL_TRY(rows.next()) || rows.integer(1) < 0 || rows.integer(2) < rows.integer(1)) {
    return Error(ErrorCode::kStoreDamaged, fmt::format("{} does not say what it has", database_.path().string()));
  }
  feed_ = {.journal = std::string(rows.text(0)), .before = rows.integer(1), .last = rows.integer(2)};
  return {};
}

Result<void> ReceiptTables::flush() {
  SHOAL_TRY(sums_.flush());
  for (const auto& [principal, unix_ms] : used_) SHOAL_TRY(run(used_statement_, principal, unix_ms));
  return {};
}

Result<void> ReceiptTables::write_feed(const Feed& feed) {
  return run(write_feed_, feed.journal, feed.before, feed.last);
}

Result<void> ReceiptTables::use_journal(std::string_view journal_id, std::uint64_t first_sequence) {
  Feed feed = feed_;
  if (feed.journal != journal_id) {
    feed.journal = journal_id;
    feed.before = feed.last;
  }
  const std::int64_t gone = feed.before + static_cast<std::int64_t>(first_sequence) - 1;
  const std::int64_t first_lost = feed.last + 1;
  feed.last = std::max(feed.last, gone);
  const auto change = [&]() -> Result<void> {
    if (feed.last >= first_lost) {
      Statement lose = SHOAL_TRY(database_.prepare("INSERT INTO lost VALUES (?, ?)"));
      SHOAL_TRY(run(lose, first_lost, feed.last));
    }
    return write_feed(feed);
  };
  SHOAL_TRY(transact(change));
  feed_ = std::move(feed);
  return {};
}

Result<void> ReceiptTables::apply(std::span<const audit::Record> records) {
  if (records.empty() || records.back().sequence <= last_sequence()) return {};
  Feed feed = feed_;
  SHOAL_TRY(transact([&] { return apply_all(records, feed); }));
  feed_ = std::move(feed);
  return {};
}

Result<void> ReceiptTables::apply_all(std::span<const audit::Record> records, Feed& feed) {
  for (const audit::Record& record : records) {
    const std::int64_t sequence = feed.before + static_cast<std::int64_t>(record.sequence);
    if (sequence <= feed.last) continue;
    if (sequence != feed.last + 1) {
      return Error(ErrorCode::kInternal, fmt::format("record {} was to follow record {}: some are missing",
                                                     record.sequence, feed.last - feed.before));
    }
    SHOAL_TRY(apply_one(sequence, record));
    feed.last = sequence;
  }
  return write_feed(feed);
}

Result<void> ReceiptTables::apply_one(std::int64_t sequence, const audit::Record& record) {
  switch (static_cast<audit::RecordType>(record.type)) {
    case audit::RecordType::kIntent:
      return apply_intent(sequence, record);
    case audit::RecordType::kOutcome:
      return apply_outcome(sequence, record);
    case audit::RecordType::kReceipt:
      return apply_receipt(sequence, record);
    case audit::RecordType::kLabel:
      return apply_label(sequence, record);
  }
  return set_aside(sequence, record, "this version does not know its type");
}

Result<void> ReceiptTables::set_aside(std::int64_t sequence, const audit::Record& record, std::string_view why) {
  const std::span payload(reinterpret_cast<const unsigned char*>(record.payload.data()), record.payload.size());
  return run(insert_aside_, sequence, record.type, payload, why);
}

Result<void> ReceiptTables::apply_intent(std::int64_t sequence, const audit::Record& record) {
  const auto intent = audit::parse_intent(record.payload);
  if (!intent.ok()) return set_aside(sequence, record, intent.error().message());
  if (!can_be_counted(*intent)) return set_aside(sequence, record, kOutOfBounds);
  const std::vector<AttemptRow> others = SHOAL_TRY(attempts_.read(intent->request));
  const bool is_there = std::ranges::find(others, intent->attempt, &AttemptRow::id) != others.end();
  const Bill bill = SHOAL_TRY(bill_of_new(intent->request, others.empty()));
  if (is_there || !SHOAL_TRY(attempts_.insert(sequence, *intent, bill))) {
    return set_aside(sequence, record, "there is an attempt of that id");
  }
  note_use(intent->principal, intent->unix_ms);
  return {};
}

// Where an attempt that begins is counted.
Result<Bill> ReceiptTables::bill_of_new(const std::string& request, bool alone) {
  Bill bill{.alone = alone};
  Rows rows(receipt_of_, request);
  if (SHOAL_TRY(rows.next())) {
    audit::Receipt receipt;
    receipt.unix_ms = rows.integer(0);
    receipt.model = rows.text(1);
    receipt.decision = SHOAL_TRY(parse_decision(rows.text(2)));
    receipt.egress = rows.text(3);
    bill.answered = answered_by(receipt);
    bill.answered->compared = rows.integer(4) >= 0;
  }
  return bill;
}

Result<void> ReceiptTables::apply_outcome(std::int64_t sequence, const audit::Record& record) {
  const auto outcome = audit::parse_outcome(record.payload);
  if (!outcome.ok()) return set_aside(sequence, record, outcome.error().message());
  if (!can_be_counted(*outcome)) return set_aside(sequence, record, kOutOfBounds);
  const auto found = SHOAL_TRY(attempts_.unsettled(outcome->attempt));
  if (!found) return set_aside(sequence, record, "no attempt of that id waits for an outcome");
  const std::vector<AttemptRow> before = SHOAL_TRY(attempts_.read(found->request));
  std::vector<AttemptRow> now = before;
  const auto row = std::ranges::find(now, found->sequence, &AttemptRow::sequence);
  if (row == now.end()) {
    return Error(ErrorCode::kStoreDamaged,
                 fmt::format("an index of {} has what its table has not", database_.path().string()));
  }
  if (row->ended_sequence && outcome->kind == audit::OutcomeKind::kUnknown) {
    return set_aside(sequence, record, "the attempt has an outcome that knows as much");
  }
  row->state = state_after(outcome->kind);
  row->ended_sequence = sequence;
  row->tokens = outcome->tokens;
  row->bill.cost = cost_after(*outcome, row->reserved);
  SHOAL_TRY(attempts_.end(row->sequence, sequence, *outcome));
  return attempts_.update(before, std::move(now), sums_);
}

Result<void> ReceiptTables::apply_receipt(std::int64_t sequence, const audit::Record& record) {
  const auto receipt = audit::parse_receipt(record.payload);
  if (!receipt.ok()) return set_aside(sequence, record, receipt.error().message());
  if (!can_be_counted(*receipt)) return set_aside(sequence, record, kOutOfBounds);
  SHOAL_TRY(run(insert_receipt_, sequence, receipt->request, receipt->unix_ms, receipt->principal, receipt->route,
                receipt->model, audit::name_of(receipt->decision), receipt->egress, receipt->billed_micro,
                receipt->baseline_micro, receipt->prompt_tokens, receipt->completion_tokens, receipt->local_ms,
                receipt->durability, receipt->status, receipt->confidence, receipt->detail, receipt->baseline_micro));
  if (database_.changes() == 0) return set_aside(sequence, record, "its request has a receipt");
  if (const auto& baseline = receipt->baseline) {
    const audit::TokenCounts& tokens = baseline->tokens;
    SHOAL_TRY(run(compare_, baseline->provider, baseline->model, tokens.input, tokens.cache_read, tokens.cache_write_5m,
                  tokens.cache_write_1h, tokens.output, tokens.reasoning, sequence));
  }
  if (const auto& judged = receipt->judged) {
    SHOAL_TRY(run(insert_judged_, sequence, receipt->route, audit::name_of(judged->action), judged->threshold,
                  judged->propensity, judged->drawn ? 1 : 0, judged->late ? 1 : 0, audit::name_of(judged->stratum),
                  judged->certificate, judged->model));
  }
  Answered answered = answered_by(*receipt);
  answered.compared = receipt->baseline_micro >= 0;
  sums_.add(place_of(*receipt, answered), costs_of(*receipt));
  const std::vector<AttemptRow> before = SHOAL_TRY(attempts_.read(receipt->request));
  std::vector<AttemptRow> now = before;
  for (AttemptRow& row : now) row.bill.answered = answered;
  SHOAL_TRY(attempts_.update(before, std::move(now), sums_));
  note_use(receipt->principal, receipt->unix_ms);
  return {};
}

Result<void> ReceiptTables::apply_label(std::int64_t sequence, const audit::Record& record) {
  const auto label = audit::parse_label(record.payload);
  if (!label.ok()) return set_aside(sequence, record, label.error().message());
  if (label->request.empty() || !is_time(label->unix_ms)) return set_aside(sequence, record, kOutOfBounds);
  SHOAL_TRY(run(withdraw_label_, label->request, audit::name_of(label->kind), label->source));
  return run(insert_label_, sequence, label->request, label->unix_ms, audit::name_of(label->kind), label->right ? 1 : 0,
             label->source, label->how, label->note, label->principal);
}

void ReceiptTables::note_use(const std::string& principal, std::int64_t unix_ms) {
  if (principal.empty()) return;
  std::int64_t& last = used_[principal];
  last = std::max(last, unix_ms);
}

Result<std::vector<std::string>> ReceiptTables::requests_with_open_attempts() {
  Statement open = SHOAL_TRY(
      database_.prepare("SELECT DISTINCT request FROM attempt WHERE state IN ('open', 'unknown') AND state = 'open'"));
  std::vector<std::string> requests;
  Rows rows(open);
  while (SHOAL_TRY(rows.next())) requests.emplace_back(rows.text(0));
  return requests;
}

Result<std::uint64_t> ReceiptTables::give_up_open(const std::string& request, std::int64_t now_ms) {
  std::uint64_t given_up = 0;
  const std::vector<AttemptRow> before = SHOAL_TRY(attempts_.read(request));
  std::vector<AttemptRow> now = before;
  for (AttemptRow& row : now) {
    if (row.state != AttemptState::kOpen) continue;
    row.state = AttemptState::kUnknown;
    row.bill.cost = row.reserved;
    SHOAL_TRY(attempts_.give_up(row.sequence, now_ms));
    ++given_up;
  }
  SHOAL_TRY(attempts_.update(before, std::move(now), sums_));
  return given_up;
}

Result<std::uint64_t> ReceiptTables::resolve_unknown(std::int64_t now_ms) {
  std::uint64_t given_up = 0;
  const auto change = [&]() -> Result<void> {
    const std::vector<std::string> requests = SHOAL_TRY(requests_with_open_attempts());
    for (const std::string& request : requests) {
      given_up += SHOAL_TRY(give_up_open(request, now_ms));
    }
    return {};
  };
  SHOAL_TRY(transact(change));
  return given_up;
}

// Rows are numbered as their records came, which is the order of time but where a clock was set: from the oldest on, up
// to the first that is young enough. First by receipts, then what has none.
Result<std::vector<std::string>> ReceiptTables::old_requests(std::int64_t before_ms, std::uint64_t max_requests) {
  constexpr std::string_view kByReceipt =
      "SELECT request, unix_ms >= ?1, "
      "EXISTS (SELECT 1 FROM attempt a WHERE a.request = r.request AND a.state = 'open') "
      "FROM receipt r ORDER BY sequence";
  constexpr std::string_view kByAttempt =
      "SELECT request, unix_ms >= ?1, EXISTS (SELECT 1 FROM receipt r WHERE r.request = a.request) OR "
      "EXISTS (SELECT 1 FROM attempt b WHERE b.request = a.request AND (b.state = 'open' OR b.unix_ms >= ?1)) "
      "FROM attempt a ORDER BY sequence";
  std::vector<std::string> requests;
  for (const std::string_view sql : {kByReceipt, kByAttempt}) {
    Statement oldest = SHOAL_TRY(database_.prepare(sql));
    Rows rows(oldest, before_ms);
    while (requests.size() < max_requests && SHOAL_TRY(rows.next())) {
      const bool young = rows.integer(1) != 0;
      const bool stays = rows.integer(2) != 0;
      if (young) break;
      if (!stays) requests.emplace_back(rows.text(0));
    }
  }
  return requests;
}

Result<std::uint64_t> ReceiptTables::prune(std::int64_t before_ms, std::uint64_t max_requests) {
  std::uint64_t pruned = 0;
  const auto change = [&]() -> Result<void> {
    std::vector<std::string> requests = SHOAL_TRY(old_requests(before_ms, max_requests));
    std::ranges::sort(requests);
    const auto twice = std::ranges::unique(requests);
    requests.erase(twice.begin(), twice.end());
    Statement receipts = SHOAL_TRY(database_.prepare("DELETE FROM receipt WHERE request = ?"));
    Statement attempts = SHOAL_TRY(database_.prepare("DELETE FROM attempt WHERE request = ?"));
    Statement labels = SHOAL_TRY(database_.prepare("DELETE FROM label WHERE request = ?"));
    for (const std::string& request : requests) {
      SHOAL_TRY(run(receipts, request));
      SHOAL_TRY(run(attempts, request));
      SHOAL_TRY(run(labels, request));
    }
    pruned = requests.size();
    return {};
  };
  SHOAL_TRY(transact(change));
  return pruned;
}

Result<StoreStats> ReceiptTables::stats() {
  StoreStats stats;
  stats.last_sequence = last_sequence();
  stats.set_aside = static_cast<std::uint64_t>(SHOAL_TRY(database_.number("SELECT count(*) FROM aside")));
  stats.lost =
      static_cast<std::uint64_t>(SHOAL_TRY(database_.number("SELECT coalesce(sum(last - first + 1), 0) FROM lost")));
  return stats;
}

}  // namespace shoal::store::sqlite
