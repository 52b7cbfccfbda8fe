// `shoal eval run`: asks a running server the questions of a suite through its routes, grades the answers, and writes
// result.json, report.md and report.html. Threads: the main thread; the run starts its own.
#pragma once

namespace CLI {
class App;
}

namespace shoal::cli {

struct CommandContext;
void add_eval_run(CLI::App& group, CommandContext& context);

}  // namespace shoal::cli
