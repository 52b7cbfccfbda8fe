#include "shoal/routing/calibration_file.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <utility>

#include <fmt/format.h>

#include <boost/json.hpp>

#include "shoal/base/sha256.h"
#include "shoal/base/text.h"
#include "shoal/routing/fit.h"
#include "shoal/routing/json_file.h"

namespace shoal::routing {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::string_view kFormat = "shoal-calibration-1";
// With checks. A table without them stays of the first format, so that it is the same text, and certificates for it
// hold.
constexpr std::string_view kCheckedFormat = "shoal-calibration-2";

using Reader = JsonReader;

std::string number(double value) {
  return json_number(value);
}

std::string list(const Features& values) {
  return fmt::format("[{}, {}, {}, {}]", values[0], values[1], values[2], values[3]);
}

Reliability read_reliability(Reader from) {
  Reliability out;
  out.answers = from.count("answers", 1);
  out.right = from.real("right", 0, 1);
  out.brier = from.real("brier", 0, 1);
  out.log_loss = from.real("log_loss", 0, Reader::kMost);
  out.ece = from.real("ece", 0, 1);
  out.auroc = from.real("auroc", 0, 1);
  from.objects("bins", [&out](Reader bin) {
    out.bins.push_back({bin.count("answers", 1), bin.real("predicted", 0, 1), bin.real("right", 0, 1)});
  });
  return out;
}

Logistic read_logistic(Reader from) {
  Logistic out;
  out.center = from.numbers<kFeatures>("center", -Reader::kMost);
  out.spread = from.numbers<kFeatures>("spread", std::numeric_limits<double>::min());
  out.weight = from.numbers<kFeatures>("weight", -Reader::kMost);
  out.bias = from.real("bias", -Reader::kMost, Reader::kMost);
  if (std::any_of(out.weight.begin(), out.weight.begin() + kMonotone, [](double w) { return w < 0; })) {
    from.bad("weight", "none of the first three below 0");
  }
  return out;
}

std::vector<CheckWeight> read_checks(Reader& from) {
  std::vector<CheckWeight> out;
  if (from.count("checks_version", 0) != kChecksVersion) {
    from.bad("checks_version",
             fmt::format("{}: this server reads answers in another way; fit it again", kChecksVersion));
  }
  from.objects("checks", [&out](Reader one) {
    const std::string name = one.text("name");
    const auto known = std::ranges::find(kJudgedChecks, name, [](Check check) { return check_name(check); });
    if (known == kJudgedChecks.end()) return one.bad("name", "a check that a table may weigh");
    if (std::ranges::find(out, *known, &CheckWeight::check) != out.end()) return one.bad("name", "each check once");
    out.push_back({.check = *known,
                   .center = one.real("center", 0, 1),
                   .spread = one.real("spread", 1e-6, 1),
                   .weight = one.real("weight", -Reader::kMost, Reader::kMost)});
  });
  return out;
}

std::string print_checks(std::span<const CheckWeight> checks) {
  if (checks.empty()) return "";
  std::string out;
  for (const CheckWeight& one : checks) {
    out += fmt::format("{}\n    {{\"name\": \"{}\", \"center\": {}, \"spread\": {}, \"weight\": {}}}",
                       out.empty() ? "" : ",", check_name(one.check), number(one.center), number(one.spread),
                       number(one.weight));
  }
  return fmt::format("  \"checks_version\": {},\n  \"checks\": [{}\n  ],\n", kChecksVersion, out);
}

std::vector<Step> read_steps(Reader& from) {
  std::vector<Step> out;
  from.objects("steps", [&out](Reader step) {
    out.push_back({step.real("score", -Reader::kMost, Reader::kMost), step.real("probability", 0, 1)});
  });
  const auto falls = [](const Step& a, const Step& b) { return a.score >= b.score || a.probability > b.probability; };
  if (std::ranges::adjacent_find(out, falls) != out.end()) from.bad("steps", "scores and probabilities that rise");
  return out;
}

}  // namespace

std::string print_table(const Table& t) {
  const auto text = [](const std::string& value) { return base::json_string(value); };
  std::string bins;
  for (const Bin& bin : t.held_out.bins) {
    bins += fmt::format("{}\n    {{\"answers\": {}, \"predicted\": {}, \"right\": {}}}", bins.empty() ? "" : ",",
                        bin.answers, number(bin.predicted), number(bin.right));
  }
  std::string steps;
  for (const Step& step : t.steps) {
    steps += fmt::format("{}\n    {{\"score\": {}, \"probability\": {}}}", steps.empty() ? "" : ",", number(step.score),
                         number(step.probability));
  }
  const Reliability& held = t.held_out;
  std::string out =
      fmt::format("{{\n  \"format\": \"{}\",\n  \"model\": {},\n  \"date\": {},\n  \"command\": {},\n",
                  t.checks.empty() ? kFormat : kCheckedFormat, text(t.model), text(t.date), text(t.command));
  out += fmt::format("  \"data\": {},\n  \"grader\": {},\n", text(t.data), text(t.grader));
  out += fmt::format(
      "  \"key\": {{\n    \"weights\": {},\n    \"quantisation\": {},\n    \"chat_template\": {},\n    \"sampler\": "
      "{},\n"
      "    \"task\": {},\n    \"tokens\": {}\n  }},\n",
      text(t.key.weights), text(t.key.quantisation), text(t.key.chat_template), text(t.key.sampler), text(t.key.task),
      t.key.tokens);
  out += fmt::format("  \"fitted_on\": {},\n  \"fitted_right\": {},\n", t.fitted_on, number(t.fitted_right));
  out += fmt::format(
      "  \"logistic\": {{\n    \"features\": [\"{}\", \"{}\", \"{}\", \"{}\"],\n    \"center\": {},\n    \"spread\": "
      "{},\n"
      "    \"weight\": {},\n    \"bias\": {}\n  }},\n",
      kFeatureNames[0], kFeatureNames[1], kFeatureNames[2], kFeatureNames[3], list(t.logistic.center),
      list(t.logistic.spread), list(t.logistic.weight), number(t.logistic.bias));
  out += print_checks(t.checks);
  out += fmt::format("  \"steps\": [{}],\n", steps.empty() ? "" : steps + "\n  ");
  out += fmt::format(
      "  \"held_out\": {{\n    \"answers\": {},\n    \"right\": {},\n    \"brier\": {},\n    \"log_loss\": {},\n"
      "    \"ece\": {},\n    \"auroc\": {},\n    \"bins\": [{}\n    ]\n  }}\n}}\n",
      held.answers, number(held.right), number(held.brier), number(held.log_loss), number(held.ece), number(held.auroc),
      bins);
  return out;
}

Result<Table> parse_table(std::string_view text) {
  const boost::json::value root = SHOAL_TRY(parse_exactly(text));
  std::string fault;
  Reader from(root.get_object(), "", fault);
  const std::string format = from.text("format");
  if (format != kFormat && format != kCheckedFormat)
    from.bad("format", fmt::format("\"{}\" or \"{}\"", kFormat, kCheckedFormat));
  Table out;
  out.model = from.text("model");
  out.date = from.text("date");
  out.command = from.text("command");
  out.data = from.text("data");
  out.grader = from.text("grader");
  Reader key = from.object("key");
  out.key.weights = key.text("weights");
  out.key.quantisation = key.text("quantisation");
  out.key.chat_template = key.text("chat_template");
  out.key.sampler = key.text("sampler");
  out.key.task = key.text("task");
  if (out.key.weights.empty()) key.bad("weights", "a SHA-256");
  if (out.key.task.empty()) key.bad("task", "a name");
  constexpr std::size_t kMostTokens = 1'000'000;
  const std::size_t tokens = key.count("tokens", 0);
  if (tokens > kMostTokens) key.bad("tokens", "fewer");
  out.key.tokens = static_cast<std::int32_t>(std::min(tokens, kMostTokens));
  out.fitted_on = from.count("fitted_on", kLeastFew);
  out.fitted_right = from.real("fitted_right", 0, 1);
  out.logistic = read_logistic(from.object("logistic"));
  if (format == kCheckedFormat) out.checks = read_checks(from);
  if (!out.checks.empty() && out.key.tokens != 0) from.bad("checks", "none: first tokens are no complete answer");
  out.steps = read_steps(from);
  out.held_out = read_reliability(from.object("held_out"));
  if (!fault.empty()) return Error(ErrorCode::kInvalidConfig, std::move(fault));
  return out;
}

std::string table_sha256(const Table& table) {
  base::Sha256 hash;
  hash.update(print_table(table));
  return hash.finish();
}

Tables load_tables(const fs::path& folder) {
  Tables out;
  for (const fs::path& path : json_files(folder)) {
    auto text = read_text(path);
    auto table = text.ok() ? parse_table(*text) : Result<Table>(std::move(text).error());
    if (!table.ok()) {
      out.bad.push_back({path, std::move(table).error()});
    } else if (std::ranges::find(out.tables, table->key, &Table::key) != out.tables.end()) {
      out.bad.push_back({path, Error(ErrorCode::kInvalidConfig, "another file has the same key")});
    } else {
      table->sha256 = table_sha256(*table);
      out.tables.push_back(std::move(table).value());
    }
  }
  return out;
}

std::string file_name(const Table& table) {
  constexpr std::size_t kHashDigits = 12;
  std::string out =
      fmt::format("{}.{}.{}.{}.json", table.key.task, table.model, table.key.weights.substr(0, kHashDigits),
                  table.key.tokens == 0 ? "whole" : fmt::format("k{}", table.key.tokens));
  return plain_file_name(std::move(out));
}

Result<fs::path> save_table(const Table& table, const fs::path& folder) {
  return save_text(folder, file_name(table), print_table(table));
}

}  // namespace shoal::routing
