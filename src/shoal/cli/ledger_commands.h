// `shoal receipts`, `shoal costs` and `shoal keys`: what the ledger says. They ask the running server, or open the data
// folder themselves where none runs.
#pragma once

namespace CLI {
class App;
}

namespace shoal::cli {

struct CommandContext;

void add_ledger_commands(CLI::App& root, CommandContext& context);

}  // namespace shoal::cli
