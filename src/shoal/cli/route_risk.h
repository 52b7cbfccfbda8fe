// `shoal route risk`: how often the kept answers of a route are wrong, from the audits, receipts and labels of the
// ledger. Threads: the main thread.
#pragma once

namespace CLI {
class App;
}

namespace shoal::cli {

struct CommandContext;
void add_route_risk(CLI::App& group, CommandContext& context);

}  // namespace shoal::cli
