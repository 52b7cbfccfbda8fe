// `shoal ps` and `shoal top`: the workers of the running server, read from its admin socket.
// Place: a command, see command.h. Threads: the main thread.
#pragma once

namespace CLI {
class App;
}

namespace shoal::cli {

struct CommandContext;

void add_worker_commands(CLI::App& root, CommandContext& context);

}  // namespace shoal::cli
