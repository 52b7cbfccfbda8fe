// `shoal route train`: learns from a table of outcomes which requests gain from a large model, says how well by
// cross-validation, and keeps the router. `shoal route show`: what a router is made of, and what it makes of a
// question. Neither needs a running server. Threads: the main thread.
#pragma once

namespace CLI {
class App;
}

namespace shoal::cli {

struct CommandContext;
void add_route_train(CLI::App& group, CommandContext& context);
void add_route_show(CLI::App& group, CommandContext& context);

}  // namespace shoal::cli
