// A report for people, as one page: tables, and plots as SVG. No script, nothing from elsewhere; what models and files
// said is escaped.
#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "shoal/evaluation/report.h"
#include "shoal/evaluation/report_words.h"
#include "shoal/evaluation/svg.h"
#include "shoal/wire/json_text.h"

namespace shoal::evaluation {
namespace {

constexpr std::size_t kMostPoints = 400;  // of a curve
constexpr double kLeastCoverage = 0.02;   // of a point of the curve
constexpr std::size_t kMostLabels = 40;   // of a confusion matrix as a table
constexpr std::size_t kMostWrong = 30;    // answers shown

constexpr std::string_view kStyle = R"css(
:root{--ink:#1c2126;--faint:#66707a;--line:#dde2e7;--paper:#fff;--cell:31,111,235}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaee;--faint:#98a3ad;--line:#333b43;--paper:#14181c;--cell:110,168,254}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:72rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}p,li{max-width:46rem}.faint{color:var(--faint)}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}th,td{padding:.3rem .7rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
th{font-weight:600;color:var(--faint)}.wide{overflow-x:auto}.plots{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0;flex:1 1 26rem;max-width:36rem}figcaption{color:var(--faint)}
svg{width:100%;height:auto}.matrix td{text-align:center;border:1px solid var(--line);padding:.2rem .5rem}td.answer{white-space:pre-wrap;max-width:30rem;overflow-wrap:anywhere}
)css";

std::string series(std::size_t route) {
  return fmt::format("s{}", route % 6);
}

std::string figure(const Plot& plot, std::string_view caption) {
  return fmt::format("<figure>{}<figcaption>{}</figcaption></figure>\n", plot.text(), caption);
}

std::string row_of(const std::vector<std::string>& cells, std::string_view tag = "td") {
  std::string out = "<tr>";
  for (const std::string& cell : cells) out += fmt::format("<{0}>{1}</{0}>", tag, html_text(cell));
  return out + "</tr>\n";
}

std::string routes_table(const Report& report) {
  const bool scored = !report.routes.empty() && report.routes.front().score.has_value();
  std::vector<std::string> head = {"Route", "Right (95 %)"};
  if (scored) head.emplace_back("Score (95 %)");
  for (const char* const one : {"Cost, USD", "USD per 1,000", "p50, ms", "p95, ms", "Tokens in", "Tokens out",
                                "Who answered", "Not in the numbers"})
    head.emplace_back(one);
  std::string out = "<div class=\"wide\"><table>\n" + row_of(head, "th");
  for (const RouteSummary& route : report.routes) {
    const std::size_t answered = route.graded + route.ungraded;
    std::vector<std::string> cells = {route.route, measured_text(route.right)};
    if (scored) cells.push_back(measured_text(*route.score));
    cells.push_back(usd_text(route.cost_usd));
    cells.push_back(usd_text(answered == 0 ? 0 : 1000 * route.cost_usd / static_cast<double>(answered)));
    cells.push_back(fmt::format("{:.0f}", route.latency_p50_ms));
    cells.push_back(fmt::format("{:.0f}", route.latency_p95_ms));
    cells.push_back(std::to_string(route.prompt_tokens));
    cells.push_back(std::to_string(route.completion_tokens));
    cells.push_back(decisions_text(route));
    cells.push_back(missing_text(route));
    out += row_of(cells);
  }
  return out + "</table></div>\n";
}

std::string cost_plot(const Report& report) {
  double most = 0;
  double low = 1;
  double high = 0;
  for (const RouteSummary& route : report.routes) {
    const Measured& metric = route.metric(report.suite.by_score);
    if (metric.rows == 0) continue;
    most = std::max(most, 1000 * route.cost_usd / static_cast<double>(metric.rows));
    low = std::min(low, metric.interval.low);
    high = std::max(high, metric.interval.high);
  }
  if (high < low) return "";
  Plot plot("Cost against accuracy", "USD per 1,000 answers", report.suite.by_score ? "score, %" : "right, %",
            Scale::around(0, most), Scale::around(low, high), false);
  for (std::size_t i = 0; i < report.routes.size(); ++i) {
    const RouteSummary& route = report.routes[i];
    const Measured& metric = route.metric(report.suite.by_score);
    if (metric.rows == 0) continue;
    const At at{1000 * route.cost_usd / static_cast<double>(metric.rows), metric.value};
    plot.point(at, metric.interval, series(i), fmt::format("{}: {}", route.route, measured_text(metric)));
    plot.name(at, route.route, series(i));
  }
  return figure(plot, "Cost against accuracy, with 95 % intervals. Up and to the left is better.");
}

std::string risk_plot(const Report& report) {
  double high = 0;
  for (const RouteSummary& route : report.routes) {
    // A first answer that is wrong is a risk of 100 %, and says nothing.
    for (const statistics::RiskPoint& point : route.risk) {
      if (point.coverage >= kLeastCoverage) high = std::max(high, point.risk);
    }
  }
  const bool any = std::ranges::any_of(report.routes, [](const RouteSummary& route) { return !route.risk.empty(); });
  if (!any) return "";
  Plot plot("Risk against coverage", "share of answers kept, the surest first, %", "wrong among them, %",
            Scale{.low = 0, .high = 1, .step = 0.2}, Scale::around(0, high), true);
  for (std::size_t i = 0; i < report.routes.size(); ++i) {
    const auto& risk = report.routes[i].risk;
    if (risk.empty()) continue;
    std::vector<At> points;
    const std::size_t step = std::max<std::size_t>(1, risk.size() / kMostPoints);
    for (std::size_t k = 0; k < risk.size(); k += step) {
      if (risk[k].coverage >= kLeastCoverage) points.push_back({risk[k].coverage, risk[k].risk});
    }
    points.push_back({risk.back().coverage, risk.back().risk});
    plot.line(points, series(i));
    plot.key(report.routes[i].route, series(i));
  }
  return figure(
      plot, "When only the surest answers are kept: how many of them are wrong. The surest 2 % are too few to show.");
}

std::string reliability_plot(const Report& report) {
  const bool any =
      std::ranges::any_of(report.routes, [](const RouteSummary& route) { return route.reliability.has_value(); });
  if (!any) return "";
  const Scale unit{.low = 0, .high = 1, .step = 0.2};
  Plot plot("Reliability", "confidence, %", "right, %", unit, unit, true);
  const std::vector<At> diagonal = {{0, 0}, {1, 1}};
  plot.line(diagonal, "ideal");
  for (std::size_t i = 0; i < report.routes.size(); ++i) {
    const RouteSummary& route = report.routes[i];
    if (!route.reliability) continue;
    for (std::size_t k = 0; k < route.bins.size(); ++k) {
      const statistics::Bin& bin = route.reliability->bins[k];
      plot.point({bin.predicted, bin.right}, route.bins[k], series(i),
                 fmt::format("{}: {} answers, said {}, right {}", route.route, bin.answers, percent(bin.predicted),
                             percent(bin.right)));
    }
    plot.key(route.route, series(i));
  }
  plot.key("what was said is true", "ideal");
  return figure(plot, "What confidence promised and what came true, with 95 % intervals. On the line is best.");
}

std::string confusion_table(const RouteSummary& route) {
  if (!route.confusion || route.confusion->labels.size() > kMostLabels) return "";
  const Confusion& all = *route.confusion;
  std::string out = fmt::format(
      "<h2>Confusion of {}</h2><p class=\"faint\">Down: what is right. Across: what was answered.</p>\n<div "
      "class=\"wide\"><table class=\"matrix\"><tr><th></th>",
      html_text(route.route));
  for (const std::string& label : all.labels) out += fmt::format("<th>{}</th>", html_text(label));
  out += "<th>other</th></tr>\n";
  for (std::size_t i = 0; i < all.labels.size(); ++i) {
    std::size_t sum = 0;
    for (const std::size_t count : all.counts[i]) sum += count;
    out += fmt::format("<tr><th>{}</th>", html_text(all.labels[i]));
    for (const std::size_t count : all.counts[i]) {
      const double part = sum == 0 ? 0 : static_cast<double>(count) / static_cast<double>(sum);
      out += fmt::format("<td style=\"background:rgba(var(--cell),{:.2f})\">{}</td>", 0.6 * part, count);
    }
    out += "</tr>\n";
  }
  return out + "</table></div>\n";
}

std::string comparisons_part(const Report& report) {
  if (report.comparisons.empty()) return "";
  std::string out = "<h2>Comparisons</h2><ul>\n";
  for (const RouteComparison& one : report.comparisons)
    out += fmt::format("<li>{}</li>\n", html_text(verdict_sentence(one, report.suite.by_score)));
  return out + "</ul>\n";
}

std::string slices_part(const Report& report) {
  if (report.slices.empty()) return "";
  std::string out =
      "<h2>Slices</h2><div class=\"wide\"><table>\n" +
      row_of({"Field", "Slice", "Route", "Questions", report.suite.by_score ? "Score (95 %)" : "Right (95 %)"}, "th");
  for (const SliceSummary& slice : report.slices)
    out +=
        row_of({slice.field, slice.value, slice.route, std::to_string(slice.metric.rows), measured_text(slice.metric)});
  out += "</table></div>\n";
  if (report.slice_comparisons.empty()) return out;
  out +=
      fmt::format("<p>Against {}, all {} comparisons of slices taken together (Holm):</p><div class=\"wide\"><table>\n",
                  html_text(report.baseline), report.slice_comparisons.size()) +
      row_of({"Field", "Slice", "Route", "Points (95 %)", "p", "p, Holm", ""}, "th");
  for (const RouteComparison& one : report.slice_comparisons) {
    out += row_of({one.field, one.value, one.route, difference_text(one), p_text(one.p), p_text(one.p_holm),
                   std::string(statistics::verdict_name(one.verdict))});
  }
  return out + "</table></div>\n";
}

std::string shortened(std::string_view text) {
  constexpr std::size_t kBytes = 400;
  if (text.size() <= kBytes) return std::string(text);
  std::size_t end = kBytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  return std::string(text.substr(0, end)) + "...";
}

std::string wrong_part(const Report& report, std::size_t route) {
  std::string rows;
  std::size_t shown = 0;
  std::size_t wrong = 0;
  const RouteResult& result = report.run.routes[route];
  for (std::size_t i = 0; i < result.rows.size(); ++i) {
    const RowResult& row = result.rows[i];
    if (!row.grade || row.grade->right) continue;
    if (++wrong > kMostWrong) continue;
    ++shown;
    rows +=
        fmt::format("<tr><td>{}</td><td class=\"answer\">{}</td><td>{}</td></tr>\n", html_text(report.suite.rows[i].id),
                    html_text(shortened(row.answer.text)), html_text(row.grade->why));
  }
  if (wrong == 0) return "";
  return fmt::format(
      "<h2>Wrong answers of {}</h2><p class=\"faint\">{} of {}; all of them are in result.json.</p><div "
      "class=\"wide\"><table>\n{}{}</table></div>\n",
      html_text(result.route), shown, wrong, row_of({"Question", "Answer", "Why"}, "th"), rows);
}

}  // namespace

std::string report_html(const Report& report) {
  std::string out = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width\"><meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
      "style-src 'unsafe-inline'\">"
      "<title>{0}</title><style>{1}{2}</style></head><body>\n<h1>{0}</h1>\n",
      html_text(report.suite.name), kStyle, plot_css());
  if (!report.suite.description.empty()) out += fmt::format("<p>{}</p>\n", html_text(report.suite.description));
  out += fmt::format("<p class=\"faint\">{} questions, grader {}, suite {}{}</p>\n", report.suite.rows.size(),
                     grader_name(report.suite.grader.kind), report.suite.sha256.substr(0, 12),
                     report.run.ended == Ended::kComplete ? ""
                     : report.run.ended == Ended::kBudget ? "; the run ended at its budget"
                                                          : "; the run was interrupted");
  out += routes_table(report);
  for (const std::string& sentence : judge_sentences(report)) out += fmt::format("<p>{}.</p>\n", html_text(sentence));
  out += comparisons_part(report);
  out += "<h2>Plots</h2><div class=\"plots\">\n" + cost_plot(report) + risk_plot(report) + reliability_plot(report) +
         "</div>\n";
  out += slices_part(report);
  for (const RouteSummary& route : report.routes) out += confusion_table(route);
  for (std::size_t i = 0; i < report.routes.size(); ++i) out += wrong_part(report, i);
  return out + "</body></html>\n";
}

}  // namespace shoal::evaluation
