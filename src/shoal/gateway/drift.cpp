#include "shoal/gateway/drift.h"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "shoal/base/text.h"

namespace shoal::gateway {
namespace {

constexpr std::size_t kHashDigits = 12;
// Audits wait for their provider some minutes at most.
constexpr std::size_t kMostDrawn = 4'096;

statistics::RiskAlarm make_alarm(double risk, const DriftOptions& options) {
  const double harmful = std::min(options.harmful * risk, (1 + risk) / 2);
  return statistics::RiskAlarm(
      {.tolerated = risk, .harmful = harmful, .delta = options.delta, .horizon = options.horizon});
}

}  // namespace

std::string certificate_id(const routing::Certificate& certificate) {
  return certificate.sha256.substr(0, kHashDigits);
}

GateDrift::GateDrift(double risk, std::size_t thresholds, DriftOptions options)
    : risk_(risk), thresholds_(thresholds), options_(options), risk_alarm_(make_alarm(risk, options)) {}

bool GateDrift::step() {
  ++alarms_;
  risk_alarm_ = make_alarm(risk_, options_);
  usual_.clear();
  score_alarm_.reset();
  return true;
}

bool GateDrift::audited(double score, bool wrong, double threshold) {
  if (exhausted() || score < threshold) return false;
  return risk_alarm_.add(wrong) && step();
}

bool GateDrift::scored(double score) {
  if (exhausted()) return false;
  if (!score_alarm_) {
    usual_.push_back(score);
    if (usual_.size() < options_.usual_scores) return false;
    std::ranges::sort(usual_);
    std::vector<double> ends;
    for (std::size_t i = 1; i < options_.bins; ++i) ends.push_back(usual_[i * usual_.size() / options_.bins]);
    // Many answers may have one score: what each bin has had is what is expected of it.
    std::vector<double> expected(options_.bins, 0.5);
    for (const double one : usual_)
      expected[static_cast<std::size_t>(std::ranges::upper_bound(ends, one) - ends.begin())] += 1;
    usual_ = std::move(ends);
    score_alarm_.emplace(statistics::ShiftAlarmOptions{
        .expected = std::move(expected), .delta = options_.delta, .horizon = options_.score_horizon});
    return false;
  }
  const auto bin = static_cast<std::size_t>(std::ranges::upper_bound(usual_, score) - usual_.begin());
  return score_alarm_->add(bin) && step();
}

std::optional<double> Drift::Gate::threshold() const {
  if (state.exhausted()) return std::nullopt;
  return thresholds[state.alarms()];
}

void Drift::promise(std::string_view route, double risk, const routing::Certificate& certificate) {
  const std::string id = certificate_id(certificate);
  if (id.empty()) return;
  std::vector<double> thresholds;
  for (std::size_t i = 0; i < certificate.shown.certified.size(); ++i) thresholds.push_back(certificate.threshold(i));
  const std::size_t count = thresholds.size();
  gates_.try_emplace({std::string(route), id}, Gate{std::move(thresholds), GateDrift(risk, count, options_)});
}

std::optional<std::size_t> Drift::steps_back(std::string_view route, const routing::Certificate& certificate) const {
  const auto found = gates_.find({std::string(route), certificate_id(certificate)});
  if (found == gates_.end()) return 0;
  if (found->second.state.exhausted()) return std::nullopt;
  return found->second.state.alarms();
}

void Drift::judged(std::string_view request, std::string_view route, const audit::Judged& judged,
                   std::optional<double> confidence) {
  if (judged.certificate.empty() || !confidence) return;
  const auto found = gates_.find({std::string(route), judged.certificate});
  if (found == gates_.end()) return;
  if (judged.drawn) {
    if (drawn_.size() == kMostDrawn) drawn_.pop_front();
    drawn_.push_back({std::string(request), found->first, *confidence});
  }
  if (found->second.state.scored(*confidence)) tell(found->first, found->second, "scores");
}

void Drift::labelled(std::string_view request, audit::LabelKind kind, bool right) {
  if (kind != audit::LabelKind::kAudit) return;
  const auto drawn = std::ranges::find(drawn_, request, &Drawn::request);
  if (drawn == drawn_.end()) return;
  const Drawn one = std::move(*drawn);
  drawn_.erase(drawn);
  const auto found = gates_.find(one.gate);
  if (found == gates_.end()) return;
  Gate& gate = found->second;
  const std::optional<double> threshold = gate.threshold();
  if (threshold && gate.state.audited(one.score, !right, *threshold)) tell(found->first, gate, "audits");
}

void Drift::tell(const Name& name, const Gate& gate, const char* signal) {
  ++alarms_;
  if (replaying_) return;
  const std::optional<double> now = gate.threshold();
  log_.warn("a certificate no longer describes what runs: its threshold is stricter now",
            {{"route", name.first},
             {"certificate", name.second},
             {"signal", signal},
             {"alarms", gate.state.alarms()},
             {"threshold", now ? fmt::format("{}", *now) : std::string("none: all is escalated")}});
}

std::string Drift::json(std::string_view route) const {
  std::string out = "[";
  for (const auto& [name, gate] : gates_) {
    if (name.first != route) continue;
    const std::optional<double> threshold = gate.threshold();
    const statistics::RiskAlarm& alarm = gate.state.risk_alarm();
    fmt::format_to(std::back_inserter(out),
                   R"({}{{"certificate":{},"alarms":{},"threshold":{},"audits":{},"wrong":{}}})",
                   out.size() > 1 ? "," : "", base::json_string(name.second), gate.state.alarms(),
                   threshold ? fmt::format("{}", *threshold) : "null", alarm.audits(), alarm.wrong());
  }
  return out + "]";
}

}  // namespace shoal::gateway
