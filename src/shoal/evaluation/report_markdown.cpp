// A report for people, as text.
#include <string>

#include <fmt/format.h>

#include "shoal/base/text.h"
#include "shoal/evaluation/report.h"
#include "shoal/evaluation/report_words.h"

namespace shoal::evaluation {
namespace {

// What a file said, in a cell of a table.
std::string cell(std::string_view text) {
  std::string out;
  for (const char c : base::escape_control(text)) {
    if (c == '|' || c == '\\' || c == '<' || c == '`' || c == '*' || c == '_' || c == '[') out += '\\';
    out += c;
  }
  return out.empty() ? "(none)" : out;
}

std::string routes_table(const Report& report) {
  const bool scored = !report.routes.empty() && report.routes.front().score.has_value();
  std::string out = fmt::format(
      "| Route | Right (95 %) |{} Cost, USD | USD per 1,000 | p50, ms | p95, ms | Tokens in, out | Who answered |\n",
      scored ? " Score (95 %) |" : "");
  out += scored ? "|---|---|---|---|---|---|---|---|---|\n" : "|---|---|---|---|---|---|---|---|\n";
  for (const RouteSummary& route : report.routes) {
    const std::size_t answered = route.graded + route.ungraded;
    const double each = answered == 0 ? 0 : 1000 * route.cost_usd / static_cast<double>(answered);
    out += fmt::format("| {} | {} |", cell(route.route), measured_text(route.right));
    if (scored) out += fmt::format(" {} |", measured_text(*route.score));
    out += fmt::format(" {} | {} | {:.0f} | {:.0f} | {}, {} | {} |\n", usd_text(route.cost_usd), usd_text(each),
                       route.latency_p50_ms, route.latency_p95_ms, route.prompt_tokens, route.completion_tokens,
                       decisions_text(route));
  }
  return out;
}

std::string confidence_part(const Report& report) {
  std::string out;
  for (const RouteSummary& route : report.routes) {
    if (!route.reliability) continue;
    const statistics::Reliability& all = *route.reliability;
    out += fmt::format("- {}: Brier {:.3f}, ECE {:.3f} (debiased), AUROC {:.3f}, {} answers\n", cell(route.route),
                       all.brier, all.ece, all.auroc, all.answers);
  }
  return out.empty() ? out : "\n## Confidence\n\n" + out;
}

std::string slices_part(const Report& report) {
  if (report.slices.empty()) return "";
  std::string out =
      fmt::format("\n## Slices\n\n| Field | Slice | Route | Questions | {} (95 %) |\n|---|---|---|---|---|\n",
                  report.suite.by_score ? "Score" : "Right");
  for (const SliceSummary& slice : report.slices) {
    out += fmt::format("| {} | {} | {} | {} | {} |\n", cell(slice.field), cell(slice.value), cell(slice.route),
                       slice.metric.rows, measured_text(slice.metric));
  }
  if (report.slice_comparisons.empty()) return out;
  out += fmt::format(
      "\nAgainst {}, all {} slices taken together (Holm):\n\n| Field | Slice | Route | Points (95 %) | p | p, Holm | "
      "|\n|---|---|---|---|---|---|---|\n",
      cell(report.baseline), report.slice_comparisons.size());
  for (const RouteComparison& one : report.slice_comparisons) {
    out += fmt::format("| {} | {} | {} | {} | {} | {} | {} |\n", cell(one.field), cell(one.value), cell(one.route),
                       difference_text(one), p_text(one.p), p_text(one.p_holm), statistics::verdict_name(one.verdict));
  }
  return out;
}

}  // namespace

std::string report_markdown(const Report& report) {
  std::string out = fmt::format("# {}\n\n", cell(report.suite.name));
  if (!report.suite.description.empty()) out += cell(report.suite.description) + "\n\n";
  out += fmt::format("{} questions, grader {}, suite {}.{}\n\n", report.suite.rows.size(),
                     grader_name(report.suite.grader.kind), report.suite.sha256.substr(0, 12),
                     report.run.ended == Ended::kBudget        ? " The run ended at its budget."
                     : report.run.ended == Ended::kInterrupted ? " The run was interrupted."
                                                               : "");
  out += routes_table(report);
  for (const RouteSummary& route : report.routes) {
    if (const std::string missing = missing_text(route); !missing.empty())
      out += fmt::format("\nNot in the numbers of {}: {}.\n", cell(route.route), missing);
  }
  for (const std::string& sentence : judge_sentences(report)) out += fmt::format("\n{}.\n", cell(sentence));
  if (!report.comparisons.empty()) {
    out += "\n## Comparisons\n\n";
    for (const RouteComparison& one : report.comparisons)
      out += fmt::format("- {}.\n", cell(verdict_sentence(one, report.suite.by_score)));
  }
  return out + confidence_part(report) + slices_part(report);
}

}  // namespace shoal::evaluation
