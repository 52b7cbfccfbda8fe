// `shoal eval compare`: a person says which of two answers is better, without knowing whose they are, and may stop at
// any time. Threads: the main thread.
#pragma once

namespace CLI {
class App;
}

namespace shoal::cli {

struct CommandContext;
void add_eval_compare(CLI::App& group, CommandContext& context);

}  // namespace shoal::cli
