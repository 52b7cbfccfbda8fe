#include "shoal/cli/eval_gate.h"

#include <memory>
#include <string>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "shoal/base/text.h"
#include "shoal/cli/command.h"
#include "shoal/cli/eval_commands.h"
#include "shoal/evaluation/gate.h"
#include "shoal/evaluation/report_words.h"
#include "shoal/wire/json_writer.h"

namespace shoal::cli {
namespace {

using evaluation::Gate;
using evaluation::GatePart;
using evaluation::GateVerdict;

// As base/error.def has them.
constexpr int kGateExit = 8;
constexpr int kCannotTellExit = 9;

struct EvalGateOptions {
  std::string result;
  std::string baseline;
  std::string route;
  std::string baseline_route;
  double margin = -1;
};

void add_number(wire::JsonWriter& json, std::string_view name, double value) {
  std::string text = "null";
  if (value == value) {
    text.clear();
    wire::append_json_number(text, value);
  }
  json.key(name).raw(text);
}

void add_part(wire::JsonWriter& json, const GatePart& part) {
  const evaluation::RouteComparison& one = part.comparison;
  json.object();
  if (!one.field.empty()) json.key("field").string(one.field).key("slice").string(one.value);
  json.key("verdict").string(evaluation::gate_name(part.verdict));
  json.key("rows").integer(static_cast<std::int64_t>(one.rows));
  add_number(json, "before", one.before);
  add_number(json, "after", one.after);
  add_number(json, "difference", one.difference.value);
  add_number(json, "low", one.difference.interval.low);
  add_number(json, "high", one.difference.interval.high);
  add_number(json, "p", one.p);
  json.end_object();
}

std::string gate_json(const Gate& gate) {
  std::string out;
  wire::JsonWriter json(out);
  json.object().key("verdict").string(evaluation::gate_name(gate.verdict));
  add_number(json, "margin", gate.margin);
  json.key("missing").integer(static_cast<std::int64_t>(gate.missing));
  json.key("same_suite").boolean(gate.same_suite);
  json.key("whole");
  add_part(json, gate.whole);
  json.key("slices").array();
  for (const GatePart& part : gate.slices) add_part(json, part);
  json.end_array().end_object();
  return out + "\n";
}

std::string part_text(const GatePart& part) {
  const evaluation::RouteComparison& one = part.comparison;
  const std::string where = one.field.empty() ? "all questions" : fmt::format("{} is {}", one.field, one.value);
  return fmt::format("{}: {}, {} to {}, {} points on {} questions", evaluation::gate_name(part.verdict), where,
                     evaluation::percent(one.before), evaluation::percent(one.after), evaluation::difference_text(one),
                     one.rows);
}

std::string gate_text(const Gate& gate) {
  std::string out = part_text(gate.whole) + "\n";
  for (const GatePart& part : gate.slices) {
    if (part.verdict == GateVerdict::kRegression) out += part_text(part) + "\n";
  }
  if (gate.missing > 0)
    out += fmt::format(
        "{} questions of the baseline have no grade in the result, and count as lost where \"fine\" is "
        "said\n",
        gate.missing);
  if (!gate.same_suite) out += "the two suites are not the same files; questions are paired by their ids\n";
  const double margin = 100 * gate.margin;
  switch (gate.verdict) {
    case GateVerdict::kFine:
      return out + fmt::format("Fine: not worse by more than {:.1f} points\n", margin);
    case GateVerdict::kRegression:
      return out + fmt::format("Regression: worse by more than {:.1f} points\n", margin);
    case GateVerdict::kCannotTell:
      break;
  }
  return out +
         fmt::format("Cannot tell whether it is worse by more than {:.1f} points: more questions would\n", margin);
}

Result<int> run(const CommandContext& context, const EvalGateOptions& options) {
  const evaluation::Results result = SHOAL_TRY(evaluation::read_results(options.result, options.route));
  const std::string& wanted = options.baseline_route.empty() ? options.route : options.baseline_route;
  const evaluation::Results baseline = SHOAL_TRY(evaluation::read_results(options.baseline, wanted));
  const double margin = options.margin >= 0 ? options.margin : result.margin;
  const Gate gate = SHOAL_TRY(evaluation::gate(result, baseline, margin));
  CommandContext::print(context.json ? gate_json(gate) : base::escape_lines(gate_text(gate)));
  return gate.verdict == GateVerdict::kFine         ? 0
         : gate.verdict == GateVerdict::kRegression ? kGateExit
                                                    : kCannotTellExit;
}

}  // namespace

void add_eval_gate(CLI::App& group, CommandContext& context) {
  CLI::App& command =
      add_command(group, context,
                  {.name = "gate",
                   .help = "Exit with 8 when a result is worse than an earlier one by more than a margin",
                   .example = "shoal eval gate result.json --baseline last-release.json --margin 0.01",
                   .config = false,
                   .data_dir = false});
  auto options = std::make_shared<EvalGateOptions>();
  command.add_option("result", options->result, "result.json of `shoal eval run`")->required()->type_name("RESULT");
  command.add_option("--baseline", options->baseline, "The result.json that it must not be worse than")
      ->required()
      ->type_name("FILE");
  command.add_option("--margin", options->margin, "How much worse does not matter, as a share (default: the suite's)")
      ->check(number_between(0, 1), "")
      ->type_name("M");
  command.add_option("--route", options->route, "Of the result, where it has several")->type_name("NAME");
  command.add_option("--baseline-route", options->baseline_route, "Of the baseline, where it is another one")
      ->type_name("NAME");
  on_run(command, context, [&context, options] { return run(context, *options); });
}

}  // namespace shoal::cli
