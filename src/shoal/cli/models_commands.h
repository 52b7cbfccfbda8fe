// `shoal pull` and `shoal models ls|show|rm|import|verify`. Threads: the main thread.
#pragma once

namespace CLI {
class App;
}

namespace shoal::cli {

struct CommandContext;

void add_models_commands(CLI::App& root, CommandContext& context);

}  // namespace shoal::cli
