#include "shoal/cli/risk_chart.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

#include <fmt/format.h>

#include "shoal/evaluation/svg.h"
#include "shoal/statistics/binomial.h"
#include "shoal/statistics/ranking.h"

namespace shoal::cli {
namespace {

constexpr std::size_t kWidth = 60;
constexpr std::size_t kHeight = 12;
constexpr double kPercent = 100;
constexpr evaluation::Scale kShares{.low = 0, .high = 1, .step = 0.2};

struct Chart {
  std::array<std::string, kHeight> rows;
  double highest;

  explicit Chart(double top) : highest(top) { rows.fill(std::string(kWidth, ' ')); }
  // Above the top is not shown.
  void set(double coverage, double risk, char mark) {
    if (risk > highest) return;
    const auto column = static_cast<std::size_t>(std::min(coverage, 1.0) * (kWidth - 1));
    const auto up = static_cast<std::size_t>(std::min(risk / highest, 1.0) * (kHeight - 1) + 0.5);
    rows[kHeight - 1 - up][column] = mark;
  }
};

// Where the picture ends.
double top_of(const routing::Certification& shown) {
  double highest = 2 * shown.options.risk;
  for (const routing::GatePoint& point : shown.curve) highest = std::max(highest, 1.1 * point.risk);
  return std::min(highest, 1.0);
}

}  // namespace

std::string risk_chart(const routing::Certification& shown) {
  if (shown.curve.empty()) return "";
  const double promised = shown.options.risk;
  Chart chart(top_of(shown));
  for (std::size_t i = 0; i < kWidth; ++i) chart.set(static_cast<double>(i) / (kWidth - 1), promised, '-');
  if (shown.ok()) {
    const double at = shown.certified.back().coverage;
    for (std::size_t i = 0; i < kHeight; ++i)
      chart.set(at, chart.highest * static_cast<double>(i) / (kHeight - 1), '|');
  }
  for (const routing::GatePoint& point : shown.curve) chart.set(point.coverage, point.upper, '^');
  for (const routing::GatePoint& point : shown.curve) chart.set(point.coverage, point.risk, '*');
  std::string out;
  for (std::size_t i = 0; i < kHeight; ++i) {
    const double risk = chart.highest * static_cast<double>(kHeight - 1 - i) / (kHeight - 1);
    const bool labelled = i == 0 || i == kHeight - 1 || i == kHeight / 2;
    std::string row = labelled ? fmt::format("{:>6.1f} % ", kPercent * risk) : std::string(9, ' ');
    row += chart.rows[i];
    row.erase(row.find_last_not_of(' ') + 1);
    out += row + "\n";
  }
  out += std::string(9, ' ') + fmt::format("{:<{}}{:>{}}\n", "0 % kept", kWidth / 2, "100 %", kWidth / 2);
  return out + fmt::format("* wrong among those kept; ^ at most, with {:.4g} %; - promised{}\n",
                           kPercent * shown.options.confidence, shown.ok() ? "; | the gate" : "");
}

std::string risk_svg(const routing::Certification& shown) {
  const double promised = shown.options.risk;
  const evaluation::Scale up = evaluation::Scale::around(0, top_of(shown));
  evaluation::Plot plot("Risk against coverage", "share of answers kept, the surest first, %", "wrong among them, %",
                        kShares, up, true);
  std::vector<evaluation::At> seen;
  std::vector<evaluation::At> bound;
  for (const routing::GatePoint& point : shown.curve) {
    if (point.risk <= up.high) seen.push_back({point.coverage, point.risk});
    if (point.upper <= up.high) bound.push_back({point.coverage, point.upper});
  }
  const std::vector<evaluation::At> promise = {{0, promised}, {1, promised}};
  plot.line(promise, "ideal");
  if (shown.ok()) {
    const double at = shown.certified.back().coverage;
    const std::vector<evaluation::At> gate = {{at, up.low}, {at, up.high}};
    plot.line(gate, "s2");
  }
  plot.line(bound, "s1 dashed");
  plot.line(seen, "s0");
  plot.key("wrong among those kept", "s0");
  plot.key(fmt::format("at most, with {:.4g} %", kPercent * shown.options.confidence), "s1 dashed");
  plot.key(fmt::format("promised: {:.4g} %", kPercent * promised), "ideal");
  if (shown.ok()) {
    const routing::GatePoint& last = shown.certified.back();
    plot.key(fmt::format("the gate: score {:.3f}, {:.1f} % kept, {:.1f} % of them wrong", last.threshold,
                         kPercent * last.coverage, kPercent * last.risk),
             "s2");
  }
  return plot.file();
}

std::string reliability_svg(std::span<const routing::ScoredLabel> labels) {
  std::vector<statistics::Scored> scored;
  for (const routing::ScoredLabel& label : labels) {
    if (!label.score) continue;
    if (!(*label.score >= 0 && *label.score <= 1)) return "";
    scored.push_back({*label.score, label.right && !label.late});
  }
  if (scored.empty()) return "";
  const statistics::Reliability found = statistics::reliability(scored);
  evaluation::Plot plot("Reliability", "score, %", "right, %", kShares, kShares, true);
  const std::vector<evaluation::At> diagonal = {{0, 0}, {1, 1}};
  plot.line(diagonal, "ideal");
  for (const statistics::Bin& bin : found.bins) {
    const auto right = static_cast<std::size_t>(std::lround(bin.right * static_cast<double>(bin.answers)));
    plot.point({bin.predicted, bin.right}, statistics::clopper_pearson(right, bin.answers), "s0",
               fmt::format("{} answers, said {:.1f} %, right {:.1f} %", bin.answers, kPercent * bin.predicted,
                           kPercent * bin.right));
  }
  plot.key(fmt::format("{} answers in {} groups, with 95 % intervals", found.answers, found.bins.size()), "s0");
  plot.key("what was said is true", "ideal");
  plot.key(fmt::format("calibration error {:.1f} points, debiased", kPercent * found.ece), "none");
  return plot.file();
}

}  // namespace shoal::cli
