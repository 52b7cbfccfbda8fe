// `shoal doctor`: whether this machine and this configuration can serve, check by check, and what to do if not.
// Place: a command, see command.h. Threads: the main thread; REQUIRES no other (the sandbox check forks).
#pragma once

namespace CLI {
class App;
}

namespace shoal::cli {

struct CommandContext;

void add_doctor_command(CLI::App& root, CommandContext& context);

}  // namespace shoal::cli
