#include "shoal/cli/route_fit.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "shoal/routing/calibration_file.h"

namespace shoal::cli {

Result<RouteFitReport> route_fit(const config::Config& config, const RouteFitRequest& request) {
  evaluation::LabelledData data = SHOAL_TRY(evaluation::read_labelled(request.data));
  // Before hours of answers, not after them.
  if (const std::size_t there = data.questions.size(); there < routing::labels_needed(request.fit)) {
    return Error(ErrorCode::kInvalidData, fmt::format("{} has {} different questions; {}", request.data.string(), there,
                                                      routing::too_few_labels(there, request.fit)));
  }
  const GradedAnswers graded = SHOAL_TRY(answer_questions(config, request, std::move(data)));
  RouteFitReport report;
  report.model = graded.model;
  report.asked = graded.asked;
  report.answers = graded.answers.size();
  const auto finish = [&](routing::Table table, std::int32_t tokens) -> Result<void> {
    table.key = graded.key;
    table.key.tokens = tokens;
    table.model = graded.model;
    table.data = graded.data.sha256;
    table.grader = request.grader_name;
    table.date = graded.date;
    table.command = request.command;
    report.files.push_back(SHOAL_TRY(routing::save_table(table, calibration_folder(config))));
    report.tables.push_back(std::move(table));
    return {};
  };
  const auto whole = graded.labels(request, 0);
  report.right = static_cast<std::size_t>(std::ranges::count(whole, true, &routing::Label::right));
  report.empty = report.answers - whole.size();
  routing::Table fitted = SHOAL_TRY(routing::fit_table(whole, request.fit));
  SHOAL_TRY(finish(std::move(fitted), 0));
  auto prefix = routing::fit_table(graded.labels(request, request.commit_tokens), request.fit);
  if (!prefix.ok()) {
    report.no_prefix = prefix.error().message();
    return report;
  }
  SHOAL_TRY(finish(std::move(prefix).value(), request.commit_tokens));
  return report;
}

}  // namespace shoal::cli
