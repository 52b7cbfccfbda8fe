// `shoal version`. Threads: the main thread.
#pragma once

namespace CLI {
class App;
}

namespace shoal::cli {

struct CommandContext;
void add_version_command(CLI::App& root, CommandContext& context);

// "shoal 0.1.0", with a line end.
void print_version();

}  // namespace shoal::cli
