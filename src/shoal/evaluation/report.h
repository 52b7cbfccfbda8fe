// What a run showed: of each route how often it was right, what it cost, how long it took and who answered, with
// intervals; of each pair of routes whether one is better, or that nobody can tell. As numbers, as JSON that `shoal
// eval gate` reads again, as Markdown, and as one HTML page with plots that needs nothing from elsewhere. Same run,
// same report, byte for byte. Owned by value. Threads: any; pure.
//
// Sources: statistics/binomial.h (Clopper-Pearson), statistics/bootstrap.h (paired bootstrap, McNemar's mid-p, Holm),
// statistics/ranking.h (risk and coverage, reliability).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/evaluation/run.h"
#include "shoal/evaluation/suite.h"
#include "shoal/statistics/bootstrap.h"
#include "shoal/statistics/interval.h"
#include "shoal/statistics/ranking.h"

namespace shoal::evaluation {

inline constexpr std::string_view kReportFormat = "shoal-eval-1";

// A share, or a mean of scores, with its 95 % interval.
struct Measured {
  std::size_t rows = 0;
  double value = 0;
  statistics::Interval interval{.low = 0, .high = 1};
};

// Of a label suite: how often each right label was answered with each.
struct Confusion {
  std::vector<std::string> labels;               // of rows and columns; a last column is for all other answers
  std::vector<std::vector<std::size_t>> counts;  // [right][answered]
};

struct RouteSummary {
  std::string route;
  std::size_t rows = 0;      // of the suite, as far as the limit
  std::size_t graded = 0;    // the following ones are not, and count as neither right nor wrong
  std::size_t errors = 0;    // the request failed
  std::size_t ungraded = 0;  // the answer could not be graded
  std::size_t unasked = 0;   // the run ended before
  Measured right;
  std::optional<Measured> score;  // of graders that know more than right and wrong
  double cost_usd = 0;            // of all that was answered
  double latency_p50_ms = 0;
  double latency_p95_ms = 0;
  std::int64_t prompt_tokens = 0;
  std::int64_t completion_tokens = 0;
  std::map<std::string, std::size_t> decisions;  // "local" and the like -> answers
  std::vector<statistics::RiskPoint> risk;       // empty: too few answers have a confidence
  std::optional<statistics::Reliability> reliability;
  std::vector<statistics::Interval> bins;  // of the share right in each bin of `reliability`
  std::optional<Confusion> confusion;

  // What is compared: `score`, where the suite says so, else `right`.
  [[nodiscard]] const Measured& metric(bool by_score) const { return by_score && score ? *score : right; }
};

// Two routes on the rows that both were graded on: `route` less `baseline`.
struct RouteComparison {
  std::string route;
  std::string baseline;
  std::string field;  // of a slice; empty: all rows
  std::string value;
  std::size_t rows = 0;
  double before = 0;  // the metric of the baseline on them
  double after = 0;
  statistics::Estimate difference;
  std::size_t only_route = 0;  // rows that only this one has right
  std::size_t only_baseline = 0;
  double p = 1;       // McNemar's mid-p, of right and wrong
  double p_holm = 1;  // with all comparisons of its kind (whole, or slices) taken together
  // Of the interval around 0; of a slice only where p_holm is below 0.05 too.
  statistics::Verdict verdict = statistics::Verdict::kCannotTell;
};

struct SliceSummary {
  std::string route;
  std::string field;
  std::string value;
  Measured metric;
};

struct Report {
  Suite suite;  // its rows too
  RunResult run;
  std::string baseline;  // empty: none was named
  std::vector<RouteSummary> routes;
  std::vector<RouteComparison> comparisons;
  std::vector<SliceSummary> slices;
  std::vector<RouteComparison> slice_comparisons;
};

// REQUIRES: graded. `baseline` is empty or one of the routes.
[[nodiscard]] Report make_report(Suite suite, RunResult run, std::string baseline);

[[nodiscard]] std::string report_json(const Report& report);
[[nodiscard]] std::string report_markdown(const Report& report);
[[nodiscard]] std::string report_html(const Report& report);

// What a row is worth by the suite's metric; nothing: it was not graded.
[[nodiscard]] std::optional<double> row_value(const RowResult& row, bool by_score);

// One comparison. REQUIRES: as many of both, at least one.
struct Paired {
  std::vector<double> before;
  std::vector<double> after;
  std::size_t only_route = 0;
  std::size_t only_baseline = 0;

  void add(double before_value, bool before_right, double after_value, bool after_right);
};
[[nodiscard]] RouteComparison compare(const Paired& rows);

}  // namespace shoal::evaluation
