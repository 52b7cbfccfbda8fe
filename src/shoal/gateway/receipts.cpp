#include "shoal/gateway/receipts.h"

#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "shoal/base/text.h"
#include "shoal/ledger/usage.h"

namespace shoal::gateway {
namespace {

constexpr std::size_t kUsualDetailBytes = 256;

audit::Decision decision_of(const types::Receipt& receipt, int status) {
  if (status != 200) return audit::Decision::kRefused;
  switch (receipt.decision) {
    case types::Decision::kLocal:
      return audit::Decision::kLocal;
    case types::Decision::kRemote:
      return audit::Decision::kRemote;
    case types::Decision::kEscalated:
      return audit::Decision::kEscalated;
    case types::Decision::kFailedOver:
      break;
  }
  return audit::Decision::kFailedOver;
}

// {"client_request":"...","cached_tokens":0,"threshold":0.8,"saved_usd":"0.000123","reasons":[...]}; what was saved is
// by the prices of then.
std::string detail_of(const types::Receipt& receipt, const AnswerRequest& request) {
  std::string out;
  out.reserve(kUsualDetailBytes);
  out += R"({"client_request":)";
  base::append_json_string(out, request.id);
  out.append(R"(,"cached_tokens":)").append(std::to_string(receipt.usage.cached_tokens));
  if (receipt.threshold) fmt::format_to(std::back_inserter(out), R"(,"threshold":{})", *receipt.threshold);
  if (receipt.baseline_micro) {
    const std::int64_t saved = *receipt.baseline_micro - receipt.billed_micro - receipt.local_micro;
    out.append(R"(,"saved_usd":")").append(ledger::usd(ledger::Micro{saved})).append("\"");
  }
  out += R"(,"reasons":[)";
  for (const types::Reason& reason : receipt.reasons) {
    if (out.back() != '[') out += ',';
    out += R"({"signal":)";
    base::append_json_string(out, reason.signal);
    out += R"(,"value":)";
    base::append_json_string(out, reason.value);
    out += R"(,"rule":)";
    base::append_json_string(out, reason.rule);
    out += R"(,"effect":)";
    base::append_json_string(out, reason.effect);
    out += '}';
  }
  out += "]}";
  return out;
}

// So many tokens at that model.
struct Compared {
  const routing::RemoteTarget* target;
  ledger::TokenCounts tokens;
};

std::optional<Compared> compared_with(const types::Receipt& receipt, const OutsideConfig& config,
                                      const routing::Route& route) {
  const routing::RemoteTarget* const target = config.baseline        ? &*config.baseline
                                              : route.remote.empty() ? nullptr
                                                                     : &route.remote.front();
  types::Usage usage = receipt.local() ? receipt.estimated.value_or(receipt.usage) : receipt.usage;
  // No prompt has no tokens: the provider did not say what it counted.
  const bool counted = usage.prompt_tokens > 0 || usage.completion_tokens > 0;
  if (target == nullptr || !counted) return std::nullopt;
  // What was kept here would not have been kept there.
  if (receipt.local()) usage.cached_tokens = 0;
  const auto tokens = ledger::disjoint(usage);
  if (!tokens.ok()) return std::nullopt;
  return Compared{.target = target, .tokens = *tokens};
}

}  // namespace

void add_comparison(types::Receipt& receipt, const OutsideConfig& config, const routing::Route& route,
                    std::int64_t now) {
  constexpr std::int64_t kUsPerHour = 3'600'000'000;
  const auto us = static_cast<std::int64_t>(receipt.timings.prefill_us + receipt.timings.decode_us);
  receipt.local_micro =
      ledger::round_up_to_micro(ledger::Pico((config.local_per_hour * us).value() / kUsPerHour)).value;

  const auto compared = compared_with(receipt, config, route);
  if (!compared) return;
  const ledger::PriceRow* const row = config.prices.row(compared->target->provider, compared->target->model, now);
  if (row == nullptr) return;
  if (const auto cost = ledger::cost(*row, compared->tokens); cost.ok()) {
    receipt.baseline_micro = ledger::round_up_to_micro(*cost).value;
  }
}

void keep_receipt(Outside& outside, const types::Receipt& receipt, const AnswerRequest& request,
                  const routing::Route& route, std::optional<audit::Judged> judged, std::int64_t came_ns,
                  const base::Clock& clock, int status) {
  if (outside.journal == nullptr) return;
  audit::Receipt record;
  record.request = receipt.decision_id;
  record.unix_ms = clock.unix_ms() - (clock.monotonic_ns() - came_ns) / 1'000'000;
  record.principal = request.principal.id;
  record.route = receipt.route;
  record.model = receipt.model;
  record.decision = decision_of(receipt, status);
  record.egress = receipt.egress == "none" ? std::string() : receipt.egress;
  record.billed_micro = receipt.billed_micro;
  record.baseline_micro = status == 200 ? receipt.baseline_micro.value_or(-1) : -1;
  record.prompt_tokens = receipt.usage.prompt_tokens;
  record.completion_tokens = receipt.usage.completion_tokens;
  record.local_ms = static_cast<std::int64_t>((receipt.timings.prefill_us + receipt.timings.decode_us) / 1000);
  record.durability = receipt.durability;
  record.status = status;
  record.confidence = receipt.confidence;
  record.detail = detail_of(receipt, request);
  record.judged = std::move(judged);
  if (const auto compared = compared_with(receipt, *outside.config, route); compared && status == 200) {
    const ledger::TokenCounts& t = compared->tokens;
    record.baseline = {.provider = compared->target->provider,
                       .model = compared->target->model,
                       .tokens = {t.input, t.cache_read, t.cache_write_5m, t.cache_write_1h, t.output, t.reasoning}};
  }
  std::string line;
  line.reserve(1024);
  audit::print(record, line);
  outside.journal->append(static_cast<std::uint8_t>(audit::RecordType::kReceipt), line, audit::Urgency::kQuiet)
      .ignore("the answer stands; what the journal lost is told by its own error");
}

}  // namespace shoal::gateway
