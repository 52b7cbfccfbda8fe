// `shoal tune`: probe trains a classifier of texts, test says what it is worth on others, show lists what is there.
// Threads: the main thread.
#pragma once

namespace CLI {
class App;
}

namespace shoal::cli {

struct CommandContext;
void add_tune_commands(CLI::App& root, CommandContext& context);

}  // namespace shoal::cli
