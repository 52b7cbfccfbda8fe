// Whether a result is worse than an earlier one by more than a margin: what `shoal eval gate` says. Rows are paired by
// their ids, so that the difference is not blurred by which questions are hard. Owned by value. Threads: any; pure, but
// for read_results(), which blocks on the disk.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/evaluation/report.h"

namespace shoal::evaluation {

// One route of a report that was written as JSON, as far as a gate needs it.
struct ResultRow {
  double value = 0;  // by the metric
  bool right = false;
  std::vector<std::string> slices;
};
struct Results {
  std::string suite;
  std::string sha256;
  std::string metric;
  std::string judge;  // what graded it, as a key; empty: no judge
  double margin = 0;
  std::vector<std::string> slice_fields;
  std::vector<std::string> routes;             // all that there are
  std::string route;                           // the one that was read
  std::map<std::string, ResultRow> rows;       // graded ones, by id
  std::map<std::string, std::string> answers;  // by id, graded or not
};
// `route` may be empty where there is one. Errors: kIo; kInvalidData for a file that is no report, a route that is
// not in it, or that must be named.
[[nodiscard]] Result<Results> read_results(const std::filesystem::path& path, std::string_view route);

enum class GateVerdict : std::uint8_t { kFine, kRegression, kCannotTell };
[[nodiscard]] std::string_view gate_name(GateVerdict verdict);  // "fine", "regression", "cannot tell"

struct GatePart {
  RouteComparison comparison;
  GateVerdict verdict = GateVerdict::kCannotTell;
};
struct Gate {
  GatePart whole;
  std::vector<GatePart> slices;
  std::size_t missing = 0;  // rows of the baseline that have no grade in the result
  double margin = 0;
  bool same_suite = true;
  // A regression of the whole or of a slice; else that of the whole.
  GateVerdict verdict = GateVerdict::kCannotTell;
};
// The whole: a regression when all of the 95 % interval of the difference is below -margin, fine when none of it is,
// with every missing row counted as lost. A slice can only be a regression: shown so with all slices together
// (Bonferroni), else it says nothing.
// Errors: kInvalidData for results of two suites, metrics or judges, or that share no row.
[[nodiscard]] Result<Gate> gate(const Results& result, const Results& baseline, double margin);

}  // namespace shoal::evaluation
