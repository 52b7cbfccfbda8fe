#include "shoal/cli/command.h"

#include <cstdio>

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "shoal/base/terminal.h"
#include "shoal/base/text.h"

namespace shoal::cli {
namespace {

void write(std::FILE* to, std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), to);
  std::fflush(to);
}

}  // namespace

config::LoadRequest CommandContext::load_request() const {
  config::LoadRequest request{.environment = config::environment(), .flags = flags};
  if (!config_path.empty()) request.path = config_path;
  if (!data_dir.empty()) request.flags.push_back({"server.data_dir", data_dir, "--data-dir"});
  return request;
}

Result<config::Loaded> CommandContext::load_config() const {
  return config::load(load_request()).result();
}

void CommandContext::print(std::string_view text) {
  write(stdout, text);
}

void CommandContext::note(std::string_view text) {
  write(stderr, text);
}

CLI::App& add_command(CLI::App& parent, CommandContext& context, const CommandInfo& info) {
  CLI::App& command = *parent.add_subcommand(info.name, info.help);
  command.footer("Example:\n  " + info.example);
  if (info.config) {
    command.add_option("--config", context.config_path, "Read this configuration file")->type_name("FILE");
  }
  if (info.data_dir) {
    command.add_option("--data-dir", context.data_dir, "Keep models and state in this directory")->type_name("DIR");
  }
  if (info.json) command.add_flag("--json", context.json, "Print JSON for programs");
  return command;
}

void on_run(CLI::App& command, CommandContext& context, Action action) {
  // CLI11 calls a subcommand before its parent: the first one to come is the one that was named.
  command.callback([&context, action = std::move(action)] {
    if (!context.action) context.action = action;
  });
}

int report(const Error& error) {
  const bool colour = base::wants_colour(STDERR_FILENO);
  std::string out = fmt::format("{}error:{} {}\n", colour ? "\x1b[1;31m" : "", colour ? "\x1b[0m" : "",
                                base::escape_lines(error.message()));
  if (!error.suggestion().empty() && error.message().find(error.suggestion()) == std::string::npos) {
    out += fmt::format("did you mean `{}`?\n", base::escape_control(error.suggestion()));
  }
  out += fmt::format("{}fix:{} {}\n", colour ? "\x1b[1m" : "", colour ? "\x1b[0m" : "", error.info().fix);
  write(stderr, out);
  return error.info().exit_code;
}

}  // namespace shoal::cli
