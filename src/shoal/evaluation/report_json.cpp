// A report for machines. docs/how-to/evaluate.md describes its fields.
#include <cmath>
#include <string>

#include "shoal/evaluation/report.h"
#include "shoal/wire/json_writer.h"

namespace shoal::evaluation {
namespace {

using wire::JsonWriter;

void add(JsonWriter& json, std::string_view name, double value) {
  json.key(name);
  if (!std::isfinite(value)) {
    json.raw("null");
    return;
  }
  std::string text;
  wire::append_json_number(text, value);
  json.raw(text);
}
void add(JsonWriter& json, std::string_view name, std::size_t value) {
  json.key(name).integer(static_cast<std::int64_t>(value));
}
void add(JsonWriter& json, std::string_view name, const std::string& value) {
  json.key(name).string(value);
}

void add_measured(JsonWriter& json, std::string_view name, const Measured& measured) {
  json.key(name).object();
  add(json, "rows", measured.rows);
  add(json, "value", measured.value);
  add(json, "low", measured.interval.low);
  add(json, "high", measured.interval.high);
  json.end_object();
}

void add_confidence(JsonWriter& json, const RouteSummary& route) {
  if (!route.reliability) return;
  const statistics::Reliability& all = *route.reliability;
  json.key("reliability").object();
  add(json, "answers", all.answers);
  add(json, "brier", all.brier);
  add(json, "ece", all.ece);
  add(json, "auroc", all.auroc);
  json.key("bins").array();
  for (std::size_t i = 0; i < all.bins.size(); ++i) {
    json.object();
    add(json, "answers", all.bins[i].answers);
    add(json, "predicted", all.bins[i].predicted);
    add(json, "right", all.bins[i].right);
    add(json, "low", route.bins[i].low);
    add(json, "high", route.bins[i].high);
    json.end_object();
  }
  json.end_array().end_object();
  json.key("risk_coverage").array();
  for (const statistics::RiskPoint& point : route.risk) {
    json.object();
    add(json, "coverage", point.coverage);
    add(json, "risk", point.risk);
    json.end_object();
  }
  json.end_array();
}

void add_summary(JsonWriter& json, const RouteSummary& route) {
  for (const auto& [name, value] : {std::pair<std::string_view, std::size_t>{"rows", route.rows},
                                    {"graded", route.graded},
                                    {"errors", route.errors},
                                    {"ungraded", route.ungraded},
                                    {"unasked", route.unasked}}) {
    add(json, name, value);
  }
  add_measured(json, "accuracy", route.right);
  if (route.score) add_measured(json, "score", *route.score);
  add(json, "cost_usd", route.cost_usd);
  add(json, "latency_p50_ms", route.latency_p50_ms);
  add(json, "latency_p95_ms", route.latency_p95_ms);
  json.key("prompt_tokens").integer(route.prompt_tokens);
  json.key("completion_tokens").integer(route.completion_tokens);
  json.key("decisions").array();
  for (const auto& [decision, answers] : route.decisions) {
    json.object();
    add(json, "decision", decision);
    add(json, "answers", answers);
    json.end_object();
  }
  json.end_array();
  add_confidence(json, route);
  if (!route.confusion) return;
  json.key("confusion").object().key("labels").array();
  for (const std::string& label : route.confusion->labels) json.string(label);
  json.end_array().key("counts").array();
  for (const auto& row : route.confusion->counts) {
    json.array();
    for (const std::size_t count : row) json.integer(static_cast<std::int64_t>(count));
    json.end_array();
  }
  json.end_array().end_object();
}

void add_row(JsonWriter& json, const Report& report, const SuiteRow& question, const RowResult& row) {
  json.object();
  add(json, "id", question.id);
  if (!report.suite.slices.empty()) {
    json.key("slices").array();
    for (const std::string& value : question.slices) json.string(value);
    json.end_array();
  }
  if (!row.asked) {
    json.key("state").string("unasked").end_object();
    return;
  }
  if (!row.answer.error.empty()) {
    json.key("state").string("error");
    add(json, "error", row.answer.error);
    json.end_object();
    return;
  }
  json.key("state").string(row.grade ? "graded" : "ungraded");
  if (row.grade) {
    add(json, "score", row.grade->score);
    json.key("right").boolean(row.grade->right);
    add(json, "why", row.grade->why);
  } else {
    add(json, "why", row.ungraded);
  }
  add(json, "answer", row.answer.text);
  add(json, "latency_ms", row.answer.latency_ms);
  json.key("prompt_tokens").integer(row.answer.prompt_tokens);
  json.key("completion_tokens").integer(row.answer.completion_tokens);
  add(json, "cost_usd", row.answer.cost_usd);
  add(json, "decision", row.answer.decision);
  add(json, "model", row.answer.model);
  add(json, "receipt", row.answer.receipt);
  if (row.answer.confidence) add(json, "confidence", *row.answer.confidence);
  if (row.answer.threshold) add(json, "threshold", *row.answer.threshold);
  json.end_object();
}

void add_comparison(JsonWriter& json, const RouteComparison& one) {
  json.object();
  add(json, "route", one.route);
  add(json, "baseline", one.baseline);
  if (!one.field.empty()) {
    add(json, "field", one.field);
    add(json, "slice", one.value);
  }
  add(json, "rows", one.rows);
  add(json, "before", one.before);
  add(json, "after", one.after);
  add(json, "difference", one.difference.value);
  add(json, "low", one.difference.interval.low);
  add(json, "high", one.difference.interval.high);
  add(json, "only_route", one.only_route);
  add(json, "only_baseline", one.only_baseline);
  add(json, "p", one.p);
  add(json, "p_holm", one.p_holm);
  json.key("verdict").string(statistics::verdict_name(one.verdict));
  json.end_object();
}

std::string_view ended_name(Ended ended) {
  return ended == Ended::kComplete ? "complete" : ended == Ended::kBudget ? "budget" : "interrupted";
}

}  // namespace

std::string report_json(const Report& report) {
  std::string out;
  JsonWriter json(out);
  json.object().key("format").string(kReportFormat);
  json.key("suite").object();
  add(json, "name", report.suite.name);
  add(json, "sha256", report.suite.sha256);
  json.key("grader").string(grader_name(report.suite.grader.kind));
  json.key("metric").string(report.suite.by_score ? "score" : "right");
  add(json, "margin", report.suite.margin);
  add(json, "questions", report.suite.rows.size());
  json.key("slices").array();
  for (const std::string& field : report.suite.slices) json.string(field);
  json.end_array().end_object();
  if (report.run.trial) json.key("judge").raw(trial_json(*report.run.trial));
  if (report.run.judged) {
    const JudgeCounts& counts = *report.run.judged;
    json.key("judged").object();
    for (const auto& [name, value] : {std::pair<std::string_view, std::size_t>{"judged", counts.judged},
                                      {"garbled", counts.garbled},
                                      {"failed", counts.failed},
                                      {"unasked", counts.unasked},
                                      {"flips", counts.flips},
                                      {"flips_to_first", counts.first}}) {
      add(json, name, value);
    }
    json.end_object();
  }
  json.key("ended").string(ended_name(report.run.ended));
  add(json, "baseline", report.baseline);
  json.key("routes").array();
  for (std::size_t i = 0; i < report.routes.size(); ++i) {
    json.object();
    add(json, "route", report.routes[i].route);
    add(json, "identity", report.run.routes[i].identity);
    add_summary(json, report.routes[i]);
    json.key("results").array();
    const std::vector<RowResult>& rows = report.run.routes[i].rows;
    for (std::size_t row = 0; row < rows.size(); ++row) add_row(json, report, report.suite.rows[row], rows[row]);
    json.end_array().end_object();
  }
  json.end_array().key("comparisons").array();
  for (const RouteComparison& one : report.comparisons) add_comparison(json, one);
  json.end_array().key("slices").array();
  for (const SliceSummary& slice : report.slices) {
    json.object();
    add(json, "route", slice.route);
    add(json, "field", slice.field);
    add(json, "slice", slice.value);
    add_measured(json, "metric", slice.metric);
    json.end_object();
  }
  json.end_array().key("slice_comparisons").array();
  for (const RouteComparison& one : report.slice_comparisons) add_comparison(json, one);
  json.end_array().end_object();
  return out + "\n";
}

}  // namespace shoal::evaluation
