#include "shoal/evaluation/report.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <utility>

#include "shoal/evaluation/normalise.h"
#include "shoal/statistics/binomial.h"

namespace shoal::evaluation {
namespace {

constexpr std::size_t kBins = 10;
constexpr std::size_t kLeastScored = 20;  // answers with a confidence, for curves of it
constexpr std::size_t kResamples = 2'000;
constexpr double kAlpha = 0.05;

statistics::BootstrapOptions resampling() {
  return {.resamples = kResamples, .confidence = 1 - kAlpha, .seed = 1};
}

Measured share(std::size_t right, std::size_t all) {
  if (all == 0) return {};
  return {.rows = all,
          .value = static_cast<double>(right) / static_cast<double>(all),
          .interval = statistics::clopper_pearson(right, all, 1 - kAlpha)};
}

Measured mean_of(const std::vector<double>& values) {
  if (values.empty()) return {};
  const auto estimate = statistics::bootstrap(
      values.size(),
      [&](std::span<const double> counts) {
        double sum = 0;
        for (std::size_t i = 0; i < values.size(); ++i) sum += counts[i] * values[i];
        return sum / static_cast<double>(values.size());
      },
      resampling());
  Measured out{.rows = values.size(), .value = estimate.value, .interval = estimate.interval};
  if (std::isnan(out.interval.low)) out.interval = {.low = 0, .high = 1};
  return out;
}

// Nearest rank. REQUIRES: not empty.
double percentile(std::vector<double>& values, double part) {
  std::ranges::sort(values);
  const auto rank = static_cast<std::size_t>(std::ceil(part * static_cast<double>(values.size())));
  return values[std::min(values.size() - 1, rank == 0 ? 0 : rank - 1)];
}

Confusion confusion_of(const Suite& suite, const RouteResult& route) {
  Confusion out{.labels = suite.grader.labels, .counts = {}};
  out.counts.assign(out.labels.size(), std::vector<std::size_t>(out.labels.size() + 1));
  const auto place = [&](const std::string& label) {
    return static_cast<std::size_t>(std::ranges::find(out.labels, label) - out.labels.begin());
  };
  for (std::size_t i = 0; i < route.rows.size(); ++i) {
    if (!route.rows[i].grade) continue;
    const std::size_t said = place(label_of(suite.grader, route.rows[i].answer.text));
    // Of several labels that are right the one that was said counts.
    std::size_t right = place(label_of(suite.grader, suite.rows[i].gold.answers.front()));
    for (const std::string& one : suite.rows[i].gold.answers) {
      if (place(label_of(suite.grader, one)) == said) right = said;
    }
    if (right < out.labels.size()) ++out.counts[right][said];
  }
  return out;
}

void add_confidence(const RouteResult& route, RouteSummary& out) {
  std::vector<statistics::Scored> scored;
  for (const RowResult& row : route.rows) {
    if (row.grade && row.answer.confidence && *row.answer.confidence >= 0 && *row.answer.confidence <= 1)
      scored.push_back({.score = *row.answer.confidence, .right = row.grade->right});
  }
  if (scored.size() < kLeastScored) return;
  out.risk = statistics::risk_coverage(scored);
  out.reliability = statistics::reliability(scored, kBins);
  for (const statistics::Bin& bin : out.reliability->bins) {
    const auto right = static_cast<std::size_t>(std::llround(bin.right * static_cast<double>(bin.answers)));
    out.bins.push_back(statistics::clopper_pearson(right, bin.answers, 1 - kAlpha));
  }
}

RouteSummary summary_of(const Suite& suite, const RouteResult& route) {
  RouteSummary out;
  out.route = route.route;
  out.rows = route.rows.size();
  std::size_t right = 0;
  std::vector<double> scores;
  std::vector<double> latencies;
  for (const RowResult& row : route.rows) {
    if (!row.asked) {
      ++out.unasked;
      continue;
    }
    if (!row.answer.error.empty()) {
      ++out.errors;
      continue;
    }
    out.cost_usd += row.answer.cost_usd;
    out.prompt_tokens += row.answer.prompt_tokens;
    out.completion_tokens += row.answer.completion_tokens;
    latencies.push_back(row.answer.latency_ms);
    if (!row.answer.decision.empty()) ++out.decisions[row.answer.decision];
    if (!row.grade) {
      ++out.ungraded;
      continue;
    }
    ++out.graded;
    if (row.grade->right) ++right;
    scores.push_back(row.grade->score);
  }
  out.right = share(right, out.graded);
  if (!all_or_nothing(suite.grader.kind)) out.score = mean_of(scores);
  if (!latencies.empty()) {
    out.latency_p50_ms = percentile(latencies, 0.5);
    out.latency_p95_ms = percentile(latencies, 0.95);
  }
  add_confidence(route, out);
  if (suite.grader.kind == GraderKind::kLabel && !suite.grader.labels.empty())
    out.confusion = confusion_of(suite, route);
  return out;
}

// Rows of one value of a slice; all of them: nothing.
struct Slice {
  std::size_t field = 0;
  std::string value;
};

bool is_in(const Suite& suite, const std::optional<Slice>& slice, std::size_t row) {
  return !slice || suite.rows[row].slices[slice->field] == slice->value;
}

Paired pairs_of(const Suite& suite, const RouteResult& baseline, const RouteResult& route,
                const std::optional<Slice>& slice) {
  Paired out;
  for (std::size_t i = 0; i < route.rows.size(); ++i) {
    const auto before = row_value(baseline.rows[i], suite.by_score);
    const auto after = row_value(route.rows[i], suite.by_score);
    if (!before || !after || !is_in(suite, slice, i)) continue;
    out.add(*before, baseline.rows[i].grade->right, *after, route.rows[i].grade->right);
  }
  return out;
}

void add_comparison(const Report& report, const RouteResult& baseline, const RouteResult& route,
                    const std::optional<Slice>& slice, std::vector<RouteComparison>& into) {
  const Paired pairs = pairs_of(report.suite, baseline, route, slice);
  if (pairs.before.empty()) return;
  RouteComparison out = compare(pairs);
  out.route = route.route;
  out.baseline = baseline.route;
  if (slice) {
    out.field = report.suite.slices[slice->field];
    out.value = slice->value;
  }
  into.push_back(std::move(out));
}

void correct(std::vector<RouteComparison>& comparisons, bool strict) {
  std::vector<double> p;
  for (const RouteComparison& one : comparisons) p.push_back(one.p);
  const std::vector<double> adjusted = statistics::holm(p);
  for (std::size_t i = 0; i < comparisons.size(); ++i) {
    comparisons[i].p_holm = adjusted[i];
    if (strict && adjusted[i] >= kAlpha) comparisons[i].verdict = statistics::Verdict::kCannotTell;
  }
}

std::vector<Slice> slices_of(const Suite& suite, std::size_t rows) {
  std::vector<Slice> out;
  for (std::size_t field = 0; field < suite.slices.size(); ++field) {
    std::set<std::string> values;
    for (std::size_t i = 0; i < rows; ++i) values.insert(suite.rows[i].slices[field]);
    for (const std::string& value : values) out.push_back({field, value});
  }
  return out;
}

Measured slice_metric(const Suite& suite, const RouteResult& route, const Slice& slice) {
  std::vector<double> values;
  std::size_t right = 0;
  for (std::size_t i = 0; i < route.rows.size(); ++i) {
    const auto value = row_value(route.rows[i], suite.by_score);
    if (!value || !is_in(suite, slice, i)) continue;
    values.push_back(*value);
    if (route.rows[i].grade->right) ++right;
  }
  return suite.by_score ? mean_of(values) : share(right, values.size());
}

}  // namespace

void Paired::add(double before_value, bool before_right, double after_value, bool after_right) {
  before.push_back(before_value);
  after.push_back(after_value);
  if (after_right && !before_right) ++only_route;
  if (before_right && !after_right) ++only_baseline;
}

RouteComparison compare(const Paired& rows) {
  RouteComparison out;
  out.rows = rows.before.size();
  const auto n = static_cast<double>(out.rows);
  out.before = std::accumulate(rows.before.begin(), rows.before.end(), 0.0) / n;
  out.after = std::accumulate(rows.after.begin(), rows.after.end(), 0.0) / n;
  out.difference = statistics::paired_difference(rows.before, rows.after, resampling());
  out.only_route = rows.only_route;
  out.only_baseline = rows.only_baseline;
  out.p = statistics::mcnemar(rows.only_route, rows.only_baseline).mid_p;
  out.p_holm = out.p;
  out.verdict = statistics::verdict(out.difference);
  return out;
}

std::optional<double> row_value(const RowResult& row, bool by_score) {
  if (!row.grade) return std::nullopt;
  return by_score ? row.grade->score : row.grade->right ? 1 : 0;
}

Report make_report(Suite suite, RunResult run, std::string baseline) {
  Report out;
  out.suite = std::move(suite);
  out.run = std::move(run);
  out.baseline = std::move(baseline);
  for (const RouteResult& route : out.run.routes) out.routes.push_back(summary_of(out.suite, route));
  const std::size_t rows = out.run.routes.empty() ? 0 : out.run.routes.front().rows.size();
  const std::vector<Slice> slices = slices_of(out.suite, rows);
  for (const RouteResult& route : out.run.routes) {
    for (const Slice& slice : slices) {
      out.slices.push_back({.route = route.route,
                            .field = out.suite.slices[slice.field],
                            .value = slice.value,
                            .metric = slice_metric(out.suite, route, slice)});
    }
  }
  const auto base = std::ranges::find(out.run.routes, out.baseline, &RouteResult::route);
  if (base == out.run.routes.end()) return out;
  for (const RouteResult& route : out.run.routes) {
    if (route.route == out.baseline) continue;
    add_comparison(out, *base, route, {}, out.comparisons);
    for (const Slice& slice : slices) add_comparison(out, *base, route, slice, out.slice_comparisons);
  }
  correct(out.comparisons, false);
  correct(out.slice_comparisons, true);
  return out;
}

}  // namespace shoal::evaluation
