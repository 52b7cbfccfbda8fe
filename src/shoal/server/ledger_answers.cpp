#include "shoal/server/ledger_answers.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "shoal/ledger/calendar.h"
#include "shoal/net/head.h"
#include "shoal/server/ledger_json.h"
#include "shoal/server/risk_report.h"
#include "shoal/wire/fields.h"
#include "shoal/wire/json.h"
#include "shoal/wire/json_text.h"

namespace shoal::server {
namespace {

constexpr std::int64_t kStoreMs = 10'000;
constexpr std::int64_t kMaxPage = 1000;

// The value of `name` in a query; nothing when it is not there. Errors: kInvalidRequest.
Result<std::optional<std::string>> query_value(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const std::size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    const std::size_t equals = std::min(pair.find('='), pair.size());
    if (pair.substr(0, equals) != name) continue;
    auto value = net::percent_decode(pair.substr(std::min(equals + 1, pair.size())));
    if (!value.ok()) return Error(ErrorCode::kInvalidRequest, value.error().message()).with_param(std::string(name));
    return std::optional(std::move(value).value());
  }
  return std::optional<std::string>();
}

// Errors: kInvalidRequest for what is no such number.
Result<std::int64_t> query_number(std::string_view query, std::string_view name, std::int64_t without,
                                  std::int64_t least, std::int64_t most) {
  const auto text = SHOAL_TRY(query_value(query, name));
  if (!text) return without;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error == std::errc() && end == text->data() + text->size() && value >= least && value <= most) return value;
  return Error(ErrorCode::kInvalidRequest, fmt::format("{} must be a whole number from {} to {}, not \"{}\"", name,
                                                       least, most, wire::shortened(*text)))
      .with_param(std::string(name));
}

// Midnight of the day that the query names. Errors: kInvalidRequest.
Result<std::int64_t> query_day(std::string_view query, std::string_view name, std::int64_t without) {
  const auto text = SHOAL_TRY(query_value(query, name));
  if (!text) return without;
  if (const auto day = ledger::parse_date(*text)) return *day;
  return Error(ErrorCode::kInvalidRequest,
               fmt::format("{} must be a day like 2026-11-22, not \"{}\"", name, wire::shortened(*text)))
      .with_param(std::string(name));
}

Result<store::CostsBy> costs_by(std::string_view query) {
  constexpr std::array kNames = {std::pair("route", store::CostsBy::kRoute), std::pair("key", store::CostsBy::kKey),
                                 std::pair("model", store::CostsBy::kModel),
                                 std::pair("provider", store::CostsBy::kProvider),
                                 std::pair("day", store::CostsBy::kDay)};
  const auto text = SHOAL_TRY(query_value(query, "by"));
  for (const auto& [name, by] : kNames) {
    if (!text || *text == name) return by;
  }
  return Error(ErrorCode::kInvalidRequest,
               fmt::format("by must be route, key, model, provider or day, not \"{}\"", wire::shortened(*text)))
      .with_param("by");
}

// Keys by the names that their owners know.
Result<store::CostReport> costs_of(store::Store& store, store::CostsBy by, std::int64_t from, std::int64_t to) {
  store::CostReport report = SHOAL_TRY(store.costs(by, from, to));
  if (by != store::CostsBy::kKey) return report;
  const std::vector<store::Key> keys = SHOAL_TRY(store.list_keys());
  for (store::CostRow& row : report.rows) {
    row.key = row.name;
    const auto key = std::ranges::find(keys, row.key, &store::Key::principal);
    if (key != keys.end()) row.name = key->name;
  }
  std::ranges::stable_sort(report.rows, {}, &store::CostRow::name);
  return report;
}

Result<std::optional<ledger::Pico>> cap_of(wire::Fields& in, std::string_view field) {
  const auto text = in.text(field);
  if (!text) return std::optional<ledger::Pico>();
  auto amount = ledger::parse_usd(*text);
  if (!amount.ok()) {
    return Error(ErrorCode::kInvalidRequest, fmt::format("{}: {}", field, amount.error().message()))
        .with_param(std::string(field));
  }
  return std::optional(*amount);
}

constexpr wire::FieldSpec text_field(std::string_view name, std::string_view what) {
  wire::FieldSpec spec;
  spec.name = name;
  spec.type = wire::FieldType::kString;
  spec.what = what;
  return spec;
}
// Errors: kNotFound, also for somebody else's.
Result<store::Request> find_receipt(const LedgerAsk& ask, const std::string& id) {
  const base::Deadline deadline = base::Deadline::after_ms(ask.clock, kStoreMs);
  SHOAL_TRY(ask.feeder.flush(deadline, ask.yield));
  auto found = ask.feeder.query([id](store::Store& store) { return store.receipt(id); }, deadline, ask.yield);
  const auto owner = [](const store::Request& request) -> const std::string& {
    return request.receipt ? request.receipt->principal : request.attempts.front().intent.principal;
  };
  // Somebody else's is not there, as one that never was.
  const bool missing = found.ok() ? !ask.principal.empty() && owner(*found) != ask.principal
                                  : found.error().code() == ErrorCode::kNotFound;
  if (!missing) return found;
  return Error(ErrorCode::kNotFound,
               fmt::format("there is no receipt \"{}\"; the header x-shoal-decision-id of an answer has its id",
                           wire::shortened(id)));
}

constexpr double kRiskConfidence = 0.95;

// Summed up on the store's thread, so that the server goes on meanwhile.
Result<RiskReport> risk_of(store::Store& store, const store::JudgedFilter& filter, double confidence) {
  return risk_report(SHOAL_TRY(store.judged(filter)), confidence);
}

constexpr std::size_t kMaxSource = 64;
constexpr std::size_t kMaxNote = 500;

Error too_long(std::string_view field, std::size_t least, std::size_t most, std::size_t bytes) {
  return Error(ErrorCode::kInvalidRequest,
               fmt::format("{} must have {} to {} bytes, not {}", field, least, most, bytes))
      .with_param(std::string(field));
}

std::array<wire::FieldSpec, 4> make_feedback_fields() {
  std::array fields = {text_field("decision_id", "The x-shoal-decision-id of the answer."),
                       text_field("right", "Whether the answer was right."),
                       text_field("source",
                                  "Who says so, such as \"nurse\"; of 1 to 64 bytes. What a source says "
                                  "last takes the place of what it said before."),
                       text_field("note", "Why; of at most 500 bytes.")};
  fields[1].type = wire::FieldType::kBoolean;
  for (std::size_t i = 0; i < 3; ++i) fields[i].required = true;
  return fields;
}

constexpr std::array kKeyFields = {text_field("name", "whose it is"), text_field("daily_usd", "cap of a day"),
                                   text_field("monthly_usd", "cap of a month")};

}  // namespace

Result<std::string> receipts_answer(const LedgerAsk& ask, std::string_view query) {
  store::ReceiptFilter filter;
  filter.limit = static_cast<std::size_t>(SHOAL_TRY(query_number(query, "limit", 50, 1, kMaxPage)));
  filter.before = static_cast<std::uint64_t>(
      SHOAL_TRY(query_number(query, "before", 0, 0, std::numeric_limits<std::int64_t>::max())));
  filter.route = SHOAL_TRY(query_value(query, "route"));
  filter.model = SHOAL_TRY(query_value(query, "model"));
  if (!ask.principal.empty()) filter.principal = ask.principal;
  const base::Deadline deadline = base::Deadline::after_ms(ask.clock, kStoreMs);
  SHOAL_TRY(ask.feeder.flush(deadline, ask.yield));
  const std::vector<store::ReceiptRow> rows = SHOAL_TRY(
      ask.feeder.query([filter](store::Store& store) { return store.receipts(filter); }, deadline, ask.yield));
  return receipts_json(rows, filter.limit);
}

Result<std::string> receipt_answer(const LedgerAsk& ask, const std::string& id) {
  const store::Request request = SHOAL_TRY(find_receipt(ask, id));
  return receipt_json(request);
}

Result<std::string> risk_answer(const LedgerAsk& ask, const std::string& route, std::string_view query,
                                std::string_view drift) {
  constexpr std::int64_t kDayS = 86'400;
  const std::int64_t from = SHOAL_TRY(query_day(query, "from", 0));
  const std::int64_t to = SHOAL_TRY(query_day(query, "until", ledger::day_of(ask.clock.unix_seconds()).start)) + kDayS;
  const base::Deadline deadline = base::Deadline::after_ms(ask.clock, kStoreMs);
  SHOAL_TRY(ask.feeder.flush(deadline, ask.yield));
  const store::JudgedFilter filter{.route = route, .from_ms = from * 1000, .to_ms = to * 1000};
  const RiskReport report = SHOAL_TRY(ask.feeder.query(
      [filter](store::Store& store) { return risk_of(store, filter, kRiskConfidence); }, deadline, ask.yield));
  return risk_json(report, route, from, to, kRiskConfidence, drift);
}

std::span<const wire::FieldSpec> feedback_fields() {
  static const auto kFields = make_feedback_fields();
  return kFields;
}

Result<audit::Label> parse_feedback(std::string_view body) {
  const wire::JsonDocument document = SHOAL_TRY(wire::JsonDocument::parse(body));
  wire::Fields in(*SHOAL_TRY(document.request_object()), "", feedback_fields());
  audit::Label label;
  label.request = in.text("decision_id").value_or("");
  label.right = in.boolean("right").value_or(false);
  label.source = in.text("source").value_or("");
  label.note = in.text("note").value_or("");
  SHOAL_TRY(in.finish());
  if (label.source.empty() || label.source.size() > kMaxSource)
    return too_long("source", 1, kMaxSource, label.source.size());
  if (label.note.size() > kMaxNote) return too_long("note", 0, kMaxNote, label.note.size());
  return label;
}

Result<bool> was_said(const LedgerAsk& ask, const audit::Label& label) {
  const store::Request request = SHOAL_TRY(find_receipt(ask, label.request));
  return std::ranges::any_of(request.labels, [&label](const store::LabelRow& row) {
    return row.label.kind == label.kind && row.label.source == label.source && row.label.right == label.right &&
           row.label.note == label.note;
  });
}

Result<std::string> costs_answer(const LedgerAsk& ask, std::string_view query, ledger::Pico local_per_hour) {
  constexpr std::int64_t kDayS = 86'400;
  const std::int64_t now = ask.clock.unix_seconds();
  const store::CostsBy by = SHOAL_TRY(costs_by(query));
  const std::int64_t from = SHOAL_TRY(query_day(query, "from", ledger::month_of(now).start));
  const std::int64_t to = SHOAL_TRY(query_day(query, "until", ledger::day_of(now).start)) + kDayS;
  if (from >= to) {
    return Error(ErrorCode::kInvalidRequest, fmt::format("from is {}, after until, which is {}",
                                                         ledger::date_text(from), ledger::date_text(to - kDayS)))
        .with_param("from");
  }
  const base::Deadline deadline = base::Deadline::after_ms(ask.clock, kStoreMs);
  SHOAL_TRY(ask.feeder.flush(deadline, ask.yield));
  const store::CostReport report = SHOAL_TRY(ask.feeder.query(
      [by, from, to](store::Store& store) { return costs_of(store, by, from, to); }, deadline, ask.yield));
  return costs_json(report, from, to, local_per_hour);
}

Result<std::string> keys_answer(const LedgerAsk& ask) {
  const base::Deadline deadline = base::Deadline::after_ms(ask.clock, kStoreMs);
  SHOAL_TRY(ask.feeder.flush(deadline, ask.yield));
  const std::vector<store::Key> keys =
      SHOAL_TRY(ask.feeder.query([](store::Store& store) { return store.list_keys(); }, deadline, ask.yield));
  return keys_json(keys);
}

Result<store::NewKey> parse_new_key(std::string_view body) {
  const wire::JsonDocument document = SHOAL_TRY(wire::JsonDocument::parse(body));
  wire::Fields in(*SHOAL_TRY(document.request_object()), "", kKeyFields);
  store::NewKey wanted;
  wanted.name = in.text("name").value_or("");
  wanted.day_cap = SHOAL_TRY(cap_of(in, "daily_usd"));
  wanted.month_cap = SHOAL_TRY(cap_of(in, "monthly_usd"));
  SHOAL_TRY(in.finish());
  return wanted;
}

}  // namespace shoal::server
