#include "shoal/cli/version.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "shoal/base/text.h"
#include "shoal/cli/command.h"

namespace shoal::cli {

void print_version() {
  CommandContext::print(fmt::format("shoal {}\n", SHOAL_VERSION));
}

void add_version_command(CLI::App& root, CommandContext& context) {
  CLI::App& command = add_command(root, context,
                                  {.name = "version",
                                   .help = "Print the version",
                                   .example = "shoal version --json",
                                   .config = false,
                                   .data_dir = false});
  on_run(command, context, [&context]() -> Result<int> {
    if (context.json) {
      CommandContext::print(fmt::format("{{\"name\":\"shoal\",\"version\":{},\"compiler\":{}}}\n",
                                        base::json_string(SHOAL_VERSION), base::json_string(__VERSION__)));
    } else {
      print_version();
    }
    return 0;
  });
}

}  // namespace shoal::cli
