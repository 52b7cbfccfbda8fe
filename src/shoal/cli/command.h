// What every command of `shoal` shares: flags that several have, output streams, and how it ends. A command is
// registered by a function `add_NAME_commands(CLI::App& root, CommandContext& context)` that calls add_command()
// and on_run(); main.cpp lists those functions.
// Owned by main(); commands hold references while they run. Threads: the main thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/config/load.h"

namespace CLI {
class App;
}

namespace shoal::cli {

// Returns the exit code; an Error is printed and exits with its code from base/error.def.
using Action = std::function<Result<int>()>;

struct CommandContext {
  std::string config_path;  // --config; empty: the default file, if it exists
  std::string data_dir;     // --data-dir; empty: as configured
  bool json = false;        // --json

  std::vector<config::FlagValue> flags{};  // further flags that set a key; they win over file and environment

  Action action;  // of the command that was named

  // What to load: the file, this process's variables and the flags.
  [[nodiscard]] config::LoadRequest load_request() const;
  // The effective configuration. Errors: kInvalidConfig, its message lists every fault.
  [[nodiscard]] Result<config::Loaded> load_config() const;

  // To stdout and stderr, as they are, flushed.
  static void print(std::string_view text);
  static void note(std::string_view text);
};

struct CommandInfo {
  std::string name;
  std::string help;      // one line, without a full stop
  std::string example;   // one or more command lines; shown at the end of --help
  bool config = true;    // takes --config
  bool data_dir = true;  // takes --data-dir
  bool json = true;      // takes --json
};

// Below `parent`, the root or a group such as `config`.
CLI::App& add_command(CLI::App& parent, CommandContext& context, const CommandInfo& info);

// `action` runs after the whole command line was understood. A command with subcommands runs its own action only
// when none of them is named.
void on_run(CLI::App& command, CommandContext& context, Action action);

// `error: ...`, `fix: ...`, and `did you mean ...?` when there is a suggestion, on stderr; returns the exit code.
int report(const Error& error);

}  // namespace shoal::cli
