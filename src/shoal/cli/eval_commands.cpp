#include "shoal/cli/eval_commands.h"

#include <charconv>
#include <string>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "shoal/cli/command.h"
#include "shoal/cli/eval_compare.h"
#include "shoal/cli/eval_gate.h"
#include "shoal/cli/eval_route.h"
#include "shoal/cli/eval_run.h"

namespace shoal::cli {

void add_eval_commands(CLI::App& root, CommandContext& context) {
  CLI::App& group = add_command(root, context,
                                {.name = "eval",
                                 .help = "Measure models and routers on questions whose answers are known",
                                 .example = "shoal eval route --outcomes outcomes.csv --weak small --strong large",
                                 .config = false,
                                 .data_dir = false,
                                 .json = false});
  group.require_subcommand(1);
  add_eval_run(group, context);
  add_eval_gate(group, context);
  add_eval_compare(group, context);
  add_eval_route(group, context);
}

std::function<std::string(const std::string&)> number_between(double low, double high) {
  return [low, high](const std::string& text) -> std::string {
    double value = 0;
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool read = fault == std::errc() && end == text.data() + text.size();
    if (read && value >= low && value <= high) return "";
    return fmt::format("wanted a number from {} to {}, not \"{}\"", low, high, text);
  };
}

}  // namespace shoal::cli
