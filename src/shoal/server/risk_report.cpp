#include "shoal/server/risk_report.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "shoal/ledger/calendar.h"
#include "shoal/statistics/binomial.h"
#include "shoal/wire/json_writer.h"

namespace shoal::server {
namespace {

using statistics::KeptAnswer;
using statistics::RiskEstimate;
using store::JudgedAnswer;
using wire::JsonWriter;

const audit::Label* label_of(const JudgedAnswer& answer, audit::LabelKind kind) {
  const auto found =
      std::ranges::find_if(answer.labels, [kind](const store::LabelRow& row) { return row.label.kind == kind; });
  return found == answer.labels.end() ? nullptr : &found->label;
}

std::string stratum_of(const audit::Judged& judged) {
  const bool unaudited = judged.stratum == audit::Stratum::kOpen && judged.propensity <= 0;
  return unaudited ? "unaudited" : std::string(audit::name_of(judged.stratum));
}

void add_kept(const JudgedAnswer& answer, RiskStratum& stratum, std::vector<KeptAnswer>& kept) {
  const audit::Judged& judged = answer.judged;
  const audit::Label* const audited = judged.drawn ? label_of(answer, audit::LabelKind::kAudit) : nullptr;
  ++stratum.kept;
  stratum.late += judged.late ? 1 : 0;
  stratum.drawn += judged.drawn ? 1 : 0;
  if (judged.propensity <= 0) return;
  kept.push_back({.propensity = judged.propensity,
                  .audited = audited != nullptr,
                  .wrong = audited != nullptr && !audited->right,
                  .predicted = 1 - answer.confidence.value_or(1)});
}

// An audit that never came says nothing of its answer: taken as lost by chance, it made each of the others less likely.
void estimate(RiskStratum& stratum, std::vector<KeptAnswer>& kept, double confidence) {
  const auto came = static_cast<std::size_t>(std::ranges::count_if(kept, &KeptAnswer::audited));
  if (came == 0) return;
  const double share = static_cast<double>(came) / static_cast<double>(stratum.drawn);
  for (KeptAnswer& one : kept) one.propensity *= share;
  stratum.hajek = statistics::hajek_risk(kept, confidence);
  stratum.doubly_robust = statistics::doubly_robust_risk(kept, confidence);
}

RiskGate& gate_of(std::vector<RiskGate>& gates, const audit::Judged& judged) {
  const auto found = std::ranges::find_if(gates, [&judged](const RiskGate& gate) {
    return gate.certificate == judged.certificate && gate.threshold == judged.threshold;
  });
  if (found != gates.end()) return *found;
  return gates.emplace_back(RiskGate{.certificate = judged.certificate, .threshold = judged.threshold});
}

void add_gate(const JudgedAnswer& answer, std::vector<RiskGate>& gates) {
  RiskGate& gate = gate_of(gates, answer.judged);
  ++gate.kept;
  const audit::Label* const audited = answer.judged.drawn ? label_of(answer, audit::LabelKind::kAudit) : nullptr;
  if (audited == nullptr) return;
  ++gate.audited;
  gate.wrong += audited->right ? 0 : 1;
}

void add_feedback(const JudgedAnswer& answer, RiskReport& report) {
  Said& said = answer.judged.action == audit::Action::kKept ? report.feedback_of_kept : report.feedback_of_others;
  for (const store::LabelRow& row : answer.labels) {
    if (row.label.kind == audit::LabelKind::kFeedback) ++(row.label.right ? said.right : said.wrong);
  }
}

void add_count(JsonWriter& json, std::string_view name, std::size_t count) {
  json.key(name).integer(static_cast<std::int64_t>(count));
}

// To the last digit: whoever computes it again can compare.
void add_real(JsonWriter& json, std::string_view name, double value) {
  json.key(name).raw(fmt::format("{}", value));
}

void add_estimate(JsonWriter& json, std::string_view name, const std::optional<RiskEstimate>& estimate) {
  json.key(name);
  if (!estimate) {
    json.raw("null");
    return;
  }
  json.object();
  add_real(json, "risk", estimate->risk);
  add_real(json, "low", estimate->interval.low);
  add_real(json, "high", estimate->interval.high);
  add_real(json, "effective", estimate->effective);
  json.end_object();
}

void add_said(JsonWriter& json, std::string_view name, const Said& said) {
  json.key(name).object();
  add_count(json, "right", said.right);
  add_count(json, "wrong", said.wrong);
  json.end_object();
}

}  // namespace

RiskReport risk_report(std::span<const JudgedAnswer> answers, double confidence) {
  RiskReport report;
  for (const audit::Action action :
       {audit::Action::kKept, audit::Action::kKeptUnsure, audit::Action::kEscalated, audit::Action::kRefused}) {
    report.actions[action] = 0;
  }
  std::map<std::string, std::pair<RiskStratum, std::vector<KeptAnswer>>> strata;
  for (const JudgedAnswer& answer : answers) {
    ++report.actions[answer.judged.action];
    add_feedback(answer, report);
    if (answer.judged.action == audit::Action::kKept) {
      auto& [stratum, kept] = strata[stratum_of(answer.judged)];
      add_kept(answer, stratum, kept);
      add_gate(answer, report.gates);
    } else if (const audit::Label* const held = label_of(answer, audit::LabelKind::kEscalation)) {
      ++(held->right ? report.escalated.right : report.escalated.wrong);
    }
  }
  for (auto& [name, one] : strata) {
    auto& [stratum, kept] = one;
    stratum.name = name;
    estimate(stratum, kept, confidence);
    report.strata.push_back(std::move(stratum));
  }
  const std::size_t compared = report.escalated.right + report.escalated.wrong;
  if (compared > 0)
    report.escalated_interval = statistics::clopper_pearson(report.escalated.wrong, compared, confidence);
  return report;
}

std::string risk_json(const RiskReport& report, std::string_view route, std::int64_t from, std::int64_t to,
                      double confidence, std::string_view drift) {
  std::string out;
  JsonWriter json(out);
  json.object().key("route").string(route);
  json.key("from").string(ledger::date_text(from)).key("until").string(ledger::date_text(to - 1));
  add_real(json, "confidence", confidence);
  json.key("judged").object();
  for (const auto& [action, count] : report.actions) add_count(json, audit::name_of(action), count);
  json.end_object().key("strata").array();
  for (const RiskStratum& stratum : report.strata) {
    json.object().key("name").string(stratum.name);
    add_count(json, "kept", stratum.kept);
    add_count(json, "late_misses", stratum.late);
    add_count(json, "drawn", stratum.drawn);
    add_count(json, "audited", stratum.hajek ? stratum.hajek->audited : 0);
    add_count(json, "wrong", stratum.hajek ? stratum.hajek->wrong : 0);
    add_estimate(json, "hajek", stratum.hajek);
    add_estimate(json, "doubly_robust", stratum.doubly_robust);
    json.end_object();
  }
  json.end_array().key("gates").array();
  for (const RiskGate& gate : report.gates) {
    json.object().key("certificate").string(gate.certificate);
    add_real(json, "threshold", gate.threshold);
    add_count(json, "kept", gate.kept);
    add_count(json, "audited", gate.audited);
    add_count(json, "wrong", gate.wrong);
    json.end_object();
  }
  const std::size_t compared = report.escalated.right + report.escalated.wrong;
  json.end_array().key("escalated_only").object();
  add_count(json, "compared", compared);
  add_count(json, "wrong", report.escalated.wrong);
  json.key("risk").raw(
      compared == 0 ? "null"
                    : fmt::format("{}", static_cast<double>(report.escalated.wrong) / static_cast<double>(compared)));
  add_real(json, "low", report.escalated_interval.low);
  add_real(json, "high", report.escalated_interval.high);
  json.key("biased").boolean(true).end_object();
  json.key("feedback").object();
  add_said(json, "of_kept", report.feedback_of_kept);
  add_said(json, "of_others", report.feedback_of_others);
  json.end_object().key("drift").raw(drift).end_object();
  return out;
}

}  // namespace shoal::server
