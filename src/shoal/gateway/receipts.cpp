#include "shoal/gateway/receipts.h"

#include <string>

#include "shoal/base/text.h"
#include "shoal/ledger/usage.h"

namespace shoal::gateway {
namespace {

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

// {"client_request":"...","cached_tokens":0,"reasons":[...]}
std::string detail_of(const types::Receipt& receipt, const AnswerRequest& request) {
  std::string out = R"({"client_request":)";
  out.append(base::json_string(request.id)).append(R"(,"cached_tokens":)");
  out.append(std::to_string(receipt.usage.cached_tokens)).append(R"(,"reasons":[)");
  for (const types::Reason& reason : receipt.reasons) {
    if (out.back() != '[') out += ',';
    out.append(R"({"signal":)").append(base::json_string(reason.signal));
    out.append(R"(,"value":)").append(base::json_string(reason.value));
    out.append(R"(,"rule":)").append(base::json_string(reason.rule));
    out.append(R"(,"effect":)").append(base::json_string(reason.effect)).append("}");
  }
  out += "]}";
  return out;
}

}  // namespace

void add_comparison(types::Receipt& receipt, const OutsideConfig& config, const routing::Route& route,
                    std::int64_t now) {
  constexpr std::int64_t kUsPerHour = 3'600'000'000;
  const auto us = static_cast<std::int64_t>(receipt.timings.prefill_us + receipt.timings.decode_us);
  receipt.local_micro =
      ledger::round_up_to_micro(ledger::Pico((config.local_per_hour * us).value() / kUsPerHour)).value;

  const routing::RemoteTarget* const against = config.baseline        ? &*config.baseline
                                               : route.remote.empty() ? nullptr
                                                                      : &route.remote.front();
  if (against == nullptr) return;
  const ledger::PriceRow* const row = config.prices.row(against->provider, against->model, now);
  if (row == nullptr) return;
  types::Usage usage = receipt.usage;
  // What was kept here would not have been kept there.
  if (receipt.local()) usage.cached_tokens = 0;
  const auto counts = ledger::disjoint(usage);
  if (!counts.ok()) return;
  if (const auto cost = ledger::cost(*row, *counts); cost.ok()) {
    receipt.baseline_micro = ledger::round_up_to_micro(*cost).value;
  }
}

void keep_receipt(Outside& outside, const types::Receipt& receipt, const AnswerRequest& request,
                  const base::Clock& clock, int status) {
  if (outside.journal == nullptr) return;
  audit::Receipt record;
  record.request = receipt.decision_id;
  record.unix_ms = clock.unix_ms();
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
  std::string line;
  line.reserve(1024);
  audit::print(record, line);
  outside.journal->append(static_cast<std::uint8_t>(audit::RecordType::kReceipt), line, audit::Urgency::kQuiet)
      .ignore("the answer stands; what the journal lost is told by its own error");
}

}  // namespace shoal::gateway
