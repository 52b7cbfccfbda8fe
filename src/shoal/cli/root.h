// The command line as a whole: from argv to an exit code. Place: under main(), which only calls it.
// Threads: the main thread.
#pragma once

namespace shoal::cli {

// Exit codes: 0, those of base/error.def, 130 when interrupted.
int run_command_line(int argc, char** argv);

}  // namespace shoal::cli
