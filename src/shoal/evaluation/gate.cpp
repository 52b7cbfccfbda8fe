#include "shoal/evaluation/gate.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <boost/json.hpp>

#include "shoal/base/suggest.h"
#include "shoal/evaluation/jsonl.h"
#include "shoal/statistics/bootstrap.h"

namespace shoal::evaluation {
namespace {

namespace json = boost::json;

constexpr std::size_t kResamples = 10'000;
constexpr double kAlpha = 0.05;

Error wrong(std::string message) {
  return {ErrorCode::kInvalidData, std::move(message)};
}
std::string text_of(const json::object& from, std::string_view name) {
  const json::value* const value = from.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}
const json::array* list_of(const json::object& from, std::string_view name) {
  const json::value* const value = from.if_contains(name);
  return value == nullptr ? nullptr : value->if_array();
}
std::vector<std::string> texts_of(const json::object& from, std::string_view name) {
  std::vector<std::string> out;
  if (const json::array* const list = list_of(from, name)) {
    for (const json::value& one : *list) out.emplace_back(one.is_string() ? std::string(one.get_string()) : "");
  }
  return out;
}

// Errors: kInvalidData for a row that was graded and says no grade: to pass it over would hide what it was.
Result<void> read_row(const json::value& value, Results& into) {
  const json::object* const row = value.if_object();
  if (row == nullptr) return wrong("a result is not an object");
  const std::string id = text_of(*row, "id");
  if (row->contains("answer")) into.answers[id] = text_of(*row, "answer");
  if (text_of(*row, "state") != "graded") return {};
  const json::value* const score = row->if_contains("score");
  const json::value* const right = row->if_contains("right");
  const double share = score != nullptr && score->is_number() ? score->to_number<double>() : -1;
  if (!(share >= 0 && share <= 1) || right == nullptr || !right->is_bool()) {
    return wrong(fmt::format("the result of \"{}\" is graded, and has no \"score\" from 0 to 1 or no \"right\"",
                             shown(std::string_view(id))));
  }
  const double is_right = right->get_bool() ? 1 : 0;
  ResultRow out{.value = into.metric == "score" ? share : is_right,
                .right = right->get_bool(),
                .slices = texts_of(*row, "slices")};
  out.slices.resize(into.slice_fields.size());
  if (!into.rows.emplace(id, std::move(out)).second)
    return wrong(fmt::format("the result of \"{}\" has come before", shown(std::string_view(id))));
  return {};
}

Result<const json::object*> find_route(const json::array& routes, std::string_view wanted, Results& into) {
  const json::object* found = nullptr;
  for (const json::value& one : routes) {
    const json::object* const route = one.if_object();
    if (route == nullptr) continue;
    into.routes.push_back(text_of(*route, "route"));
    if (wanted.empty() || into.routes.back() == wanted) found = route;
  }
  if (found == nullptr) {
    std::string near = base::suggest(wanted, into.routes);
    return wrong(fmt::format("there is no route \"{}\" in it, but {}", wanted, fmt::join(into.routes, ", ")))
        .with_suggestion(std::move(near));
  }
  if (wanted.empty() && into.routes.size() > 1)
    return wrong(fmt::format("it has several routes, {}: name one with --route", fmt::join(into.routes, ", ")));
  return found;
}

Result<Results> parse_results(std::string_view text, std::string_view route) {
  boost::system::error_code error;
  const json::value root = json::parse(json::string_view(text.data(), text.size()), error);
  const json::object* const object = error ? nullptr : root.if_object();
  if (object == nullptr || text_of(*object, "format") != kReportFormat) {
    return wrong(
        fmt::format("it is not a result of `shoal eval run` (wanted JSON with \"format\": \"{}\")", kReportFormat));
  }
  const json::value* const suite = object->if_contains("suite");
  const json::array* const routes = list_of(*object, "routes");
  if (suite == nullptr || !suite->is_object() || routes == nullptr)
    return wrong("it has no \"suite\" or no \"routes\"");
  Results out;
  out.suite = text_of(suite->get_object(), "name");
  out.sha256 = text_of(suite->get_object(), "sha256");
  out.metric = text_of(suite->get_object(), "metric");
  if (const json::value* const judge = object->if_contains("judge"); judge != nullptr && judge->is_object())
    out.judge = text_of(judge->get_object(), "key");
  out.slice_fields = texts_of(suite->get_object(), "slices");
  if (const json::value* const margin = suite->get_object().if_contains("margin");
      margin != nullptr && margin->is_number())
    out.margin = margin->to_number<double>();
  const json::object* const one = SHOAL_TRY(find_route(*routes, route, out));
  out.route = text_of(*one, "route");
  if (const json::array* const rows = list_of(*one, "results")) {
    for (const json::value& row : *rows) SHOAL_TRY(read_row(row, out));
  }
  return out;
}

struct SliceId {
  std::string field;
  std::string value;
  auto operator<=>(const SliceId&) const = default;
};

RouteComparison compared(const Paired& pairs, double confidence, const Results& result, const Results& baseline) {
  RouteComparison out = compare(pairs);
  out.route = result.route;
  out.baseline = baseline.route;
  out.difference = statistics::paired_difference(pairs.before, pairs.after,
                                                 {.resamples = kResamples, .confidence = confidence, .seed = 1});
  return out;
}

GateVerdict whole_verdict(const RouteComparison& one, std::size_t missing, double margin) {
  const statistics::Interval& interval = one.difference.interval;
  if (std::isnan(interval.low)) return GateVerdict::kCannotTell;
  if (interval.high < -margin) return GateVerdict::kRegression;
  // What is missing may all be lost: 1 is the most that a row can be worse.
  const auto paired = static_cast<double>(one.rows);
  const auto all = static_cast<double>(one.rows + missing);
  const double worst = (interval.low * paired - static_cast<double>(missing)) / all;
  return worst >= -margin - 1e-12 ? GateVerdict::kFine : GateVerdict::kCannotTell;
}

}  // namespace

std::string_view gate_name(GateVerdict verdict) {
  return verdict == GateVerdict::kFine ? "fine" : verdict == GateVerdict::kRegression ? "regression" : "cannot tell";
}

Result<Results> read_results(const std::filesystem::path& path, std::string_view route) {
  const std::string text = SHOAL_TRY(contents_of(path));
  auto out = parse_results(text, route);
  if (out.ok()) return out;
  return Error(out.error().code(), fmt::format("{}: {}", shown(path), out.error().message()))
      .with_suggestion(std::string(out.error().suggestion()));
}

Result<Gate> gate(const Results& result, const Results& baseline, double margin) {
  if (result.suite != baseline.suite)
    return wrong(fmt::format("the results are of two suites, \"{}\" and \"{}\"", result.suite, baseline.suite));
  if (result.metric != baseline.metric)
    return wrong(fmt::format("the results are by two metrics, \"{}\" and \"{}\"", result.metric, baseline.metric));
  if (result.judge != baseline.judge)
    return wrong("two judges graded the results, or one asked in two ways: run the suite again with one of them");
  Gate out;
  out.margin = margin;
  out.same_suite = result.sha256 == baseline.sha256;
  Paired all;
  std::map<SliceId, Paired> slices;
  for (const auto& [id, before] : baseline.rows) {
    const auto at = result.rows.find(id);
    if (at == result.rows.end()) {
      ++out.missing;
      continue;
    }
    const ResultRow& after = at->second;
    all.add(before.value, before.right, after.value, after.right);
    for (std::size_t i = 0; i < result.slice_fields.size(); ++i)
      slices[{result.slice_fields[i], after.slices[i]}].add(before.value, before.right, after.value, after.right);
  }
  if (all.before.empty()) return wrong("the results have no graded question in common");
  out.whole.comparison = compared(all, 1 - kAlpha, result, baseline);
  out.whole.verdict = whole_verdict(out.whole.comparison, out.missing, margin);
  out.verdict = out.whole.verdict;
  for (const auto& [slice, pairs] : slices) {
    GatePart part;
    part.comparison = compared(pairs, 1 - kAlpha / static_cast<double>(slices.size()), result, baseline);
    part.comparison.field = slice.field;
    part.comparison.value = slice.value;
    const statistics::Interval& interval = part.comparison.difference.interval;
    // A handful of questions that all went one way has no spread to resample: McNemar's test must agree.
    const bool shown_worse = !std::isnan(interval.low) && interval.high < -margin &&
                             part.comparison.p * static_cast<double>(slices.size()) < kAlpha;
    part.verdict = shown_worse               ? GateVerdict::kRegression
                   : interval.low >= -margin ? GateVerdict::kFine
                                             : GateVerdict::kCannotTell;
    if (shown_worse) out.verdict = GateVerdict::kRegression;
    out.slices.push_back(std::move(part));
  }
  return out;
}

}  // namespace shoal::evaluation
