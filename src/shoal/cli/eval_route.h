// `shoal eval route`: what routers are worth on a table of outcomes. Asks no model. Threads: the main thread.
#pragma once

namespace CLI {
class App;
}

namespace shoal::cli {

struct CommandContext;
void add_eval_route(CLI::App& group, CommandContext& context);

}  // namespace shoal::cli
