#include "shoal/server/ledger_json.h"

#include <fmt/format.h>

#include "shoal/base/text.h"
#include "shoal/ledger/calendar.h"
#include "shoal/wire/json_writer.h"

namespace shoal::server {
namespace {

using wire::JsonWriter;

std::string time_text(std::int64_t unix_ms) {
  const std::int64_t seconds = unix_ms / 1000;
  const std::int64_t of_day = seconds - ledger::day_of(seconds).start;
  return fmt::format("{}T{:02}:{:02}:{:02}.{:03}Z", ledger::date_text(seconds), of_day / 3600, of_day / 60 % 60,
                     of_day % 60, unix_ms % 1000);
}

void add_micro(JsonWriter& json, std::string_view name, std::int64_t micro) {
  const std::int64_t amount = micro < 0 ? -micro : micro;
  json.key(name).string(fmt::format("{}{}.{:06}", micro < 0 ? "-" : "", amount / 1'000'000, amount % 1'000'000));
}

void add_without(JsonWriter& json, const std::optional<ledger::Micro>& baseline) {
  if (baseline) {
    add_micro(json, "without_usd", baseline->value);
  } else {
    json.key("without_usd").raw("null");
  }
}

void add_tokens(JsonWriter& json, const audit::TokenCounts& tokens) {
  json.key("tokens").object();
  json.key("input").integer(tokens.input).key("cache_read").integer(tokens.cache_read);
  json.key("cache_write_5m").integer(tokens.cache_write_5m).key("cache_write_1h").integer(tokens.cache_write_1h);
  json.key("output").integer(tokens.output).key("reasoning").integer(tokens.reasoning);
  json.end_object();
}

// The members of a receipt that every list shows.
void add_receipt(JsonWriter& json, const audit::Receipt& receipt) {
  json.key("id").string(receipt.request).key("time").string(time_text(receipt.unix_ms));
  json.key("status").integer(receipt.status).key("key").string(receipt.principal);
  json.key("via").string(receipt.route).key("route").string(audit::name_of(receipt.decision));
  json.key("model").string(receipt.model).key("egress").string(receipt.egress.empty() ? "none" : receipt.egress);
  json.key("prompt_tokens").integer(receipt.prompt_tokens);
  json.key("completion_tokens").integer(receipt.completion_tokens);
  json.key("local_ms").integer(receipt.local_ms);
  add_micro(json, "cost_usd", receipt.billed_micro);
  if (receipt.baseline_micro < 0) {
    json.key("baseline_usd").raw("null");
  } else {
    add_micro(json, "baseline_usd", receipt.baseline_micro);
  }
  json.key("durability").string(receipt.durability).key("confidence");
  json.raw(receipt.confidence ? fmt::format("{}", *receipt.confidence) : "null");
}

void add_attempt(JsonWriter& json, const store::Attempt& attempt) {
  const audit::Intent& intent = attempt.intent;
  json.object().key("id").string(intent.attempt).key("time").string(time_text(intent.unix_ms));
  json.key("provider").string(intent.provider).key("model").string(intent.model);
  json.key("purpose").string(intent.purpose).key("price").string(intent.price);
  json.key("body_bytes").integer(intent.body_bytes).key("body_sha256").string(intent.body_sha256);
  json.key("reserved_usd").string(ledger::usd(ledger::Pico(intent.reserved_pico)));
  json.key("state").string(store::name_of(attempt.state)).key("cost_usd").string(ledger::usd(attempt.cost));
  if (attempt.outcome) {
    const audit::Outcome& outcome = *attempt.outcome;
    json.key("ended").string(time_text(outcome.unix_ms)).key("status").integer(outcome.status);
    json.key("failure").string(outcome.failure).key("upstream_id").string(outcome.upstream_id);
    add_tokens(json, outcome.tokens);
  }
  json.end_object();
}

void add_judged(JsonWriter& json, const std::optional<audit::Judged>& judged) {
  json.key("judged");
  if (!judged) {
    json.raw("null");
    return;
  }
  json.object().key("action").string(audit::name_of(judged->action));
  json.key("threshold").raw(fmt::format("{}", judged->threshold));
  json.key("propensity").raw(fmt::format("{}", judged->propensity));
  json.key("drawn").boolean(judged->drawn).key("late_miss").boolean(judged->late);
  json.key("stratum").string(audit::name_of(judged->stratum));
  json.key("certificate").string(judged->certificate).key("model").string(judged->model).end_object();
}

void add_label(JsonWriter& json, const audit::Label& label) {
  json.object().key("kind").string(audit::name_of(label.kind)).key("right").boolean(label.right);
  json.key("source").string(label.source).key("how").string(label.how).key("note").string(label.note);
  json.key("time").string(time_text(label.unix_ms)).end_object();
}

void add_costs(JsonWriter& json, const store::Costs& costs, ledger::Pico local_per_hour) {
  constexpr std::int64_t kMsPerHour = 3'600'000;
  json.key("requests").integer(costs.requests).key("local").integer(costs.local);
  json.key("remote").integer(costs.remote).key("escalated").integer(costs.escalated);
  json.key("failed_over").integer(costs.failed_over).key("refused").integer(costs.refused);
  json.key("prompt_tokens").integer(costs.prompt_tokens);
  json.key("completion_tokens").integer(costs.completion_tokens);
  json.key("attempts").integer(costs.attempts);
  add_tokens(json, costs.tokens);
  add_micro(json, "cost_usd", costs.committed.value);
  json.key("cost_exact_usd").string(ledger::usd(costs.cost));
  json.key("local_ms").integer(costs.local_ms);
  const auto here = [local_per_hour](std::int64_t ms) {
    return ledger::round_up_to_micro(ledger::Pico((local_per_hour * ms).value() / kMsPerHour));
  };
  add_micro(json, "local_usd", here(costs.local_ms).value);
  json.key("unknown_attempts").integer(costs.unknown).key("unknown_usd").string(ledger::usd(costs.unknown_cost));
  json.key("with_baseline").integer(costs.with_baseline);
  add_micro(json, "baseline_usd", costs.baseline.value);
  add_micro(json, "saved_usd", costs.saved(here(costs.with_baseline_local_ms)).value);
}

void add_key(JsonWriter& json, const store::Key& key) {
  const auto add_cap = [&json](std::string_view name, const std::optional<ledger::Pico>& cap) {
    json.key(name);
    cap ? json.string(ledger::usd(*cap)) : json.raw("null");
  };
  const auto add_time = [&json](std::string_view name, std::optional<std::int64_t> ms) {
    json.key(name);
    ms ? json.string(time_text(*ms)) : json.raw("null");
  };
  json.key("name").string(key.name).key("id").string(key.principal);
  add_cap("daily_usd", key.day_cap);
  add_cap("monthly_usd", key.month_cap);
  add_time("created", key.created_ms);
  add_time("revoked", key.revoked_ms);
  add_time("last_used", key.last_used_ms);
}

}  // namespace

std::string receipt_json(const store::Request& request) {
  std::string out;
  JsonWriter json(out);
  json.object();
  if (request.receipt) {
    add_receipt(json, *request.receipt);
  } else {
    json.key("id").string(request.attempts.empty() ? "" : request.attempts.front().intent.request);
    json.key("status").raw("null");
  }
  add_micro(json, "committed_usd", request.committed.value);
  add_without(json, request.baseline);
  json.key("exact_usd").string(ledger::usd(request.cost));
  json.key("detail").raw(request.receipt && !request.receipt->detail.empty() ? request.receipt->detail : "null");
  add_judged(json, request.receipt ? request.receipt->judged : std::nullopt);
  json.key("labels").array();
  for (const store::LabelRow& row : request.labels) add_label(json, row.label);
  json.end_array().key("attempts").array();
  for (const store::Attempt& attempt : request.attempts) add_attempt(json, attempt);
  json.end_array().end_object();
  return out;
}

std::string receipts_json(std::span<const store::ReceiptRow> rows, std::size_t limit) {
  std::string out;
  JsonWriter json(out);
  json.object().key("receipts").array();
  for (const store::ReceiptRow& row : rows) {
    json.object();
    add_receipt(json, row.receipt);
    add_micro(json, "committed_usd", row.committed.value);
    add_without(json, row.baseline);
    json.end_object();
  }
  json.end_array().key("before");
  rows.size() < limit ? json.raw("null") : json.integer(static_cast<std::int64_t>(rows.back().sequence));
  json.end_object();
  return out;
}

std::string costs_json(const store::CostReport& report, std::int64_t from, std::int64_t to,
                       ledger::Pico local_per_hour) {
  std::string out;
  JsonWriter json(out);
  json.object().key("from").string(ledger::date_text(from)).key("until").string(ledger::date_text(to - 1));
  json.key("local_usd_per_hour").string(ledger::usd(local_per_hour)).key("rows").array();
  for (const store::CostRow& row : report.rows) {
    json.object().key("name").string(row.name);
    if (!row.key.empty()) json.key("id").string(row.key);
    add_costs(json, row.costs, local_per_hour);
    json.end_object();
  }
  json.end_array().key("total").object();
  add_costs(json, report.total, local_per_hour);
  json.end_object().end_object();
  return out;
}

std::string keys_json(std::span<const store::Key> keys) {
  std::string out;
  JsonWriter json(out);
  json.object().key("keys").array();
  for (const store::Key& key : keys) {
    json.object();
    add_key(json, key);
    json.end_object();
  }
  json.end_array().end_object();
  return out;
}

std::string created_key_json(const CreatedKey& created) {
  std::string out;
  JsonWriter json(out);
  json.object();
  add_key(json, created.key);
  json.key("key").string(created.secret).end_object();
  return out;
}

std::string reprice_json(const store::RepriceProgress& done) {
  return fmt::format(R"({{"attempts":{},"changed":{},"unpriced":{},"baselines":{}}})", done.looked_at, done.changed,
                     done.unpriced, done.baselines);
}

}  // namespace shoal::server
