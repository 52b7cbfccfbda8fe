#include "shoal/evaluation/report_words.h"

#include <cmath>

#include <fmt/format.h>

namespace shoal::evaluation {

std::string percent(double share) {
  return fmt::format("{:.1f} %", 100 * share);
}

std::string points(double difference) {
  return fmt::format("{:+.1f}", 100 * difference);
}

std::string measured_text(const Measured& measured) {
  if (measured.rows == 0) return "-";
  return fmt::format("{:.1f} % ({:.1f} to {:.1f})", 100 * measured.value, 100 * measured.interval.low,
                     100 * measured.interval.high);
}

std::string difference_text(const RouteComparison& one) {
  const statistics::Interval& interval = one.difference.interval;
  if (std::isnan(interval.low)) return points(one.difference.value);
  return fmt::format("{} ({} to {})", points(one.difference.value), points(interval.low), points(interval.high));
}

std::string p_text(double p) {
  return p < 0.001 ? "< 0.001" : fmt::format("{:.3f}", p);
}

std::string usd_text(double usd) {
  return usd == 0 ? "0" : usd < 0.01 ? fmt::format("{:.6f}", usd) : fmt::format("{:.4f}", usd);
}

std::string decisions_text(const RouteSummary& route) {
  std::size_t all = 0;
  for (const auto& [decision, answers] : route.decisions) all += answers;
  std::string out;
  for (const auto& [decision, answers] : route.decisions) {
    out += fmt::format("{}{:.0f} % {}", out.empty() ? "" : ", ",
                       100.0 * static_cast<double>(answers) / static_cast<double>(all), decision);
  }
  return out.empty() ? "-" : out;
}

std::string missing_text(const RouteSummary& route) {
  std::string out;
  const auto say = [&](std::size_t count, std::string_view what) {
    if (count > 0) out += fmt::format("{}{} {}", out.empty() ? "" : ", ", count, what);
  };
  say(route.errors, "failed");
  say(route.ungraded, "could not be graded");
  say(route.unasked, "not asked");
  return out.empty() ? "" : fmt::format("{} of {} questions: {}", route.rows - route.graded, route.rows, out);
}

std::vector<std::string> judge_sentences(const Report& report) {
  std::vector<std::string> out;
  if (!report.run.trial) return out;
  const JudgeTrial& trial = *report.run.trial;
  out.push_back(trial_sentence(trial));
  if (report.run.judged) out.push_back("Of these answers, " + bias_sentence(*report.run.judged, trial.pairwise));
  for (const RouteSummary& route : report.routes) {
    if (route.route == trial.judge)
      out.push_back(fmt::format("{} judges its own answers, and judges prefer their own", route.route));
  }
  return out;
}

std::string verdict_sentence(const RouteComparison& one, bool by_score) {
  const std::string what = by_score ? "score" : "share right";
  const std::string where = one.field.empty() ? "" : fmt::format(" where {} is {}", one.field, one.value);
  const std::string said =
      one.verdict == statistics::Verdict::kCannotTell
          ? fmt::format("cannot tell {} from {}{}", one.route, one.baseline, where)
          : fmt::format("{} is {} than {}{}", one.route, statistics::verdict_name(one.verdict), one.baseline, where);
  return fmt::format("{}: the {} differs by {} points on {} questions (McNemar p {})", said, what, difference_text(one),
                     one.rows, p_text(one.p));
}

}  // namespace shoal::evaluation
