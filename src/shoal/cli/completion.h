// Shell completion, generated from the tree of commands and options, so that it cannot fall behind.
// Threads: the main thread.
#pragma once

#include <string>

#include "shoal/base/result.h"

namespace CLI {
class App;
}

namespace shoal::cli {

struct CommandContext;

// The script for "bash", "zsh" or "fish". Errors: kUsage for another shell.
[[nodiscard]] Result<std::string> completion_script(const CLI::App& root, const std::string& shell);

void add_completion_command(CLI::App& root, CommandContext& context);

}  // namespace shoal::cli
