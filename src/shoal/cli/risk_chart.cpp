#include "shoal/cli/risk_chart.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include <fmt/format.h>

namespace shoal::cli {
namespace {

constexpr std::size_t kWidth = 60;
constexpr std::size_t kHeight = 12;
constexpr double kPercent = 100;

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

}  // namespace

std::string risk_chart(const routing::Certification& shown) {
  if (shown.curve.empty()) return "";
  const double promised = shown.options.risk;
  double highest = 2 * promised;
  for (const routing::GatePoint& point : shown.curve) highest = std::max(highest, 1.1 * point.risk);
  Chart chart(std::min(highest, 1.0));
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

}  // namespace shoal::cli
