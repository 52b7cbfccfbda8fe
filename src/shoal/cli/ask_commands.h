// `shoal run`, `shoal chat` and `shoal embed`. Threads: the main thread.
#pragma once

namespace CLI {
class App;
}

namespace shoal::cli {

struct CommandContext;
void add_ask_commands(CLI::App& root, CommandContext& context);

}  // namespace shoal::cli
