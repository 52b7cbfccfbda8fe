// `shoal eval`: what models, routes and routers are worth on questions whose answers are known. One file per command;
// this one makes the group. Threads: the main thread.
#pragma once

namespace CLI {
class App;
}

namespace shoal::cli {

struct CommandContext;
void add_eval_commands(CLI::App& root, CommandContext& context);

}  // namespace shoal::cli
