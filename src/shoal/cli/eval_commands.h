// `shoal eval`: what models, routes and routers are worth on questions whose answers are known. One file per command;
// this one makes the group. Threads: the main thread.
#pragma once

#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace shoal::cli {

struct CommandContext;
void add_eval_commands(CLI::App& root, CommandContext& context);

// A check of an option: a number from `low` to `high`. CLI::Range lets "nan" pass, which then reads as not given.
[[nodiscard]] std::function<std::string(const std::string&)> number_between(double low, double high);

}  // namespace shoal::cli
