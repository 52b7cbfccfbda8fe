// `shoal eval gate`: whether a result of `shoal eval run` is worse than an earlier one by more than a margin, as an
// exit code: 0 no, 8 yes, 9 nobody can tell. Threads: the main thread.
#pragma once

namespace CLI {
class App;
}

namespace shoal::cli {

struct CommandContext;
void add_eval_gate(CLI::App& group, CommandContext& context);

}  // namespace shoal::cli
