// `shoal route`: fit makes the tables that tell how sure local answers are; certify, the threshold that keeps a
// promise; test shows the way that a request would take. Threads: the main thread.
#pragma once

namespace CLI {
class App;
}

namespace shoal::cli {

struct CommandContext;
void add_route_commands(CLI::App& root, CommandContext& context);

}  // namespace shoal::cli
