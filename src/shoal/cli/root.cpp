#include "shoal/cli/root.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <string>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "shoal/base/suggest.h"
#include "shoal/cli/ask_commands.h"
#include "shoal/cli/command.h"
#include "shoal/cli/completion.h"
#include "shoal/cli/config_commands.h"
#include "shoal/cli/doctor.h"
#include "shoal/cli/eval_commands.h"
#include "shoal/cli/ledger_commands.h"
#include "shoal/cli/models_commands.h"
#include "shoal/cli/route_commands.h"
#include "shoal/cli/serve.h"
#include "shoal/cli/tune_commands.h"
#include "shoal/cli/version.h"
#include "shoal/cli/worker_commands.h"

namespace shoal::cli {
namespace {

void register_commands(CLI::App& root, CommandContext& context) {
  add_serve_command(root, context);
  add_models_commands(root, context);
  add_ask_commands(root, context);
  add_route_commands(root, context);
  add_eval_commands(root, context);
  add_tune_commands(root, context);
  add_worker_commands(root, context);
  add_ledger_commands(root, context);
  add_doctor_command(root, context);
  add_config_commands(root, context);
  add_explain_command(root, context);
  add_version_command(root, context);
  add_completion_command(root, context);
}

std::string full_name(const CLI::App& app) {
  return app.get_parent() == nullptr ? app.get_name() : full_name(*app.get_parent()) + " " + app.get_name();
}

std::vector<const CLI::App*> children_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

// The command that the words lead to, and the first word that leads nowhere although a command was due.
struct Walk {
  const CLI::App* command;
  std::string stray;
};
Walk walk(const CLI::App& root, const std::vector<std::string>& words) {
  Walk result{&root, {}};
  for (const std::string& word : words) {
    if (word.starts_with("-")) break;
    const auto children = children_of(*result.command);
    if (children.empty()) break;
    const auto named = std::ranges::find_if(children, [&](const CLI::App* child) { return child->get_name() == word; });
    if (named == children.end()) {
      result.stray = word;
      break;
    }
    result.command = *named;
  }
  return result;
}

Error unknown_command(const Walk& at) {
  std::vector<std::string> names;
  for (const CLI::App* child : children_of(*at.command)) names.push_back(child->get_name());
  std::string near = base::suggest(at.stray, names);
  const std::string place = full_name(*at.command);
  std::string message =
      near.empty() ? fmt::format("`{}` has no command `{}`; it has: {}", place, at.stray, fmt::join(names, ", "))
                   : fmt::format("`{}` has no command `{}`; did you mean `{} {}`?", place, at.stray, place, near);
  return Error(ErrorCode::kUsage, std::move(message)).with_suggestion(std::move(near));
}

// CLI11's words, and the nearest option when one is not known.
Error usage_error(const CLI::App& command, const std::vector<std::string>& words, const CLI::ParseError& error) {
  std::vector<std::string> known;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  }
  for (const std::string& word : words) {
    const std::string name = word.substr(0, word.find('='));
    if (!name.starts_with("--") || name == "--" || std::ranges::find(known, name) != known.end()) continue;
    std::string near = base::suggest(name, known);
    std::string message = fmt::format("`{}` has no option `{}`{}", full_name(command), name,
                                      near.empty() ? "" : fmt::format("; did you mean `{}`?", near));
    return Error(ErrorCode::kUsage, std::move(message)).with_suggestion(std::move(near));
  }
  return {ErrorCode::kUsage, fmt::format("{}: {}", full_name(command), error.what())};
}

int run_parsed(CLI::App& root, CommandContext& context) {
  if (!context.action) {
    CommandContext::note(root.help());
    return base::error_info(ErrorCode::kUsage).exit_code;
  }
  const Result<int> ended = context.action();
  if (!ended.ok()) return report(ended.error());
  // An answer that nobody got is none.
  if (std::ferror(stdout) != 0) return report({ErrorCode::kIo, "cannot write to the standard output"});
  return *ended;
}

// A file that is opened later must not become an output because that one was closed.
void fill_standard_descriptors() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
    // The lowest number that is free is this one. Its use fails, as it would have.
    if (::open("/dev/null", (fd == STDIN_FILENO ? O_WRONLY : O_RDONLY)) != fd) ::_exit(1);
  }
}

}  // namespace

int run_command_line(int argc, char** argv) {
  fill_standard_descriptors();
  CLI::App root("Shoal answers with small models on this machine, through the OpenAI API.", "shoal");
  root.footer("Example:\n  shoal pull smollm2-135m-instruct && shoal serve");
  bool version = false;
  root.add_flag("--version", version, "Print the version");
  CommandContext context;
  register_commands(root, context);

  std::vector<std::string> words(argv + 1, argv + argc);
  if (!words.empty() && words.front() == "help") {
    std::ranges::rotate(words, words.begin() + 1);
    words.back() = "--help";
  }
  const Walk at = walk(root, words);
  if (!at.stray.empty()) return report(unknown_command(at));
  try {
    root.parse(std::vector<std::string>(words.rbegin(), words.rend()));
  } catch (const CLI::CallForHelp&) {
    CommandContext::print(root.help());
    return 0;
  } catch (const CLI::ParseError& error) {
    return report(usage_error(*at.command, words, error));
  }
  if (version) {
    print_version();
    return 0;
  }
  return run_parsed(root, context);
}

}  // namespace shoal::cli
