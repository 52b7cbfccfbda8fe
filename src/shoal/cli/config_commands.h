// `shoal config check|show|schema|explain|reference` and `shoal explain CODE`: what the configuration is, and what an
// error means. Place: a command, see command.h. Threads: the main thread.
#pragma once

namespace CLI {
class App;
}

namespace shoal::cli {

struct CommandContext;

void add_config_commands(CLI::App& root, CommandContext& context);
void add_explain_command(CLI::App& root, CommandContext& context);

}  // namespace shoal::cli
