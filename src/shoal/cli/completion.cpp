#include "shoal/cli/completion.h"

#include <memory>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "shoal/cli/command.h"

namespace shoal::cli {
namespace {

// A place in the tree: "" is the root, " config show" a command below a group.
struct Node {
  std::string path;
  std::string parent;
  std::string name;
  std::string help;
  std::vector<std::pair<std::string, std::string>> options;  // "--json", help
  std::vector<std::string> with_value;                       // those of the options that take one
  std::vector<std::string> children;
};

void collect(const CLI::App& app, const std::string& path, const std::string& parent, std::vector<Node>& nodes) {
  Node node{path, parent, app.get_name(), app.get_description(), {}, {}, {}};
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      node.options.emplace_back("--" + name, option->get_description());
      if (option->get_items_expected_max() > 0) node.with_value.push_back("--" + name);
    }
  }
  const auto children = app.get_subcommands([](const CLI::App* child) { return !child->get_name().empty(); });
  for (const CLI::App* child : children) node.children.push_back(child->get_name());
  nodes.push_back(std::move(node));
  for (const CLI::App* child : children) collect(*child, path + " " + child->get_name(), path, nodes);
}

// Single quotes are the only character that single-quoted text cannot hold, in all three shells.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += R"('\'')";
    } else {
      out += c;
    }
  }
  return out + "'";
}

std::string words_of(const Node& node) {
  std::string out;
  for (const std::string& child : node.children) out += child + " ";
  for (const auto& [name, help] : node.options) out += name + " ";
  return out;
}

std::string bash_script(const std::vector<Node>& nodes) {
  std::set<std::string> with_value;
  for (const Node& node : nodes) with_value.insert(node.with_value.begin(), node.with_value.end());
  // After an option that takes a value comes no word of ours: `-o default` then offers files.
  std::string out = fmt::format(
      "_shoal() {{\n"
      "  COMPREPLY=()\n"
      "  case ${{COMP_WORDS[COMP_CWORD - 1]}} in {}) return ;; esac\n",
      fmt::join(with_value, "|"));
  out +=
      "  local cur=${COMP_WORDS[COMP_CWORD]} path= words= i\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    case \"$path ${COMP_WORDS[i]}\" in\n";
  for (const Node& node : nodes) {
    if (!node.path.empty()) out += fmt::format("      {}) path={} ;;\n", quoted(node.path), quoted(node.path));
  }
  out += "    esac\n  done\n  case \"$path\" in\n";
  for (const Node& node : nodes) out += fmt::format("    {}) words={} ;;\n", quoted(node.path), quoted(words_of(node)));
  return out +
         "  esac\n"
         "  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
         "}\n"
         "complete -o default -F _shoal shoal\n";
}

std::string zsh_script(const std::vector<Node>& nodes) {
  std::string out =
      "#compdef shoal\n"
      "_shoal() {\n"
      "  local place= i\n"
      "  local -a found\n"
      "  for ((i = 2; i < CURRENT; i++)); do\n"
      "    case \"$place ${words[i]}\" in\n";
  for (const Node& node : nodes) {
    if (!node.path.empty()) out += fmt::format("      {}) place={} ;;\n", quoted(node.path), quoted(node.path));
  }
  out += "    esac\n  done\n  case \"$place\" in\n";
  for (const Node& node : nodes) {
    out += fmt::format("    {}) found=(", quoted(node.path));
    for (const Node& child : nodes) {
      if (!child.path.empty() && child.parent == node.path) out += quoted(child.name + ":" + child.help) + " ";
    }
    for (const auto& [name, help] : node.options) out += quoted(name + ":" + help) + " ";
    out += ") ;;\n";
  }
  return out +
         "  esac\n"
         "  _describe 'shoal' found || _files\n"
         "}\n"
         "compdef _shoal shoal\n";
}

// The condition under which fish offers what belongs to `path`.
std::string fish_condition(const Node& node) {
  if (node.path.empty()) return "__fish_use_subcommand";
  std::string out;
  for (std::size_t begin = 1; begin < node.path.size();) {
    const std::size_t end = std::min(node.path.find(' ', begin), node.path.size());
    out += (out.empty() ? "" : "; and ") + ("__fish_seen_subcommand_from " + node.path.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

std::string fish_script(const std::vector<Node>& nodes) {
  std::string out;
  for (const Node& node : nodes) {
    const std::string when = quoted(fish_condition(node));
    for (const Node& child : nodes) {
      if (child.path.empty() || child.parent != node.path) continue;
      out += fmt::format("complete -c shoal -n {} -a {} -d {}\n", when, child.name, quoted(child.help));
    }
    for (const auto& [name, help] : node.options) {
      out += fmt::format("complete -c shoal -n {} -l {} -d {}\n", when, name.substr(2), quoted(help));
    }
  }
  return out;
}

}  // namespace

Result<std::string> completion_script(const CLI::App& root, const std::string& shell) {
  std::vector<Node> nodes;
  collect(root, "", "", nodes);
  if (shell == "bash") return bash_script(nodes);
  if (shell == "zsh") return zsh_script(nodes);
  if (shell == "fish") return fish_script(nodes);
  return Error(ErrorCode::kUsage, fmt::format("no completion for '{}'; wanted bash, zsh or fish", shell));
}

void add_completion_command(CLI::App& root, CommandContext& context) {
  CLI::App& command =
      add_command(root, context,
                  {.name = "completion",
                   .help = "Print a completion script for bash, zsh or fish",
                   .example = "shoal completion bash > ~/.local/share/bash-completion/completions/shoal",
                   .config = false,
                   .data_dir = false,
                   .json = false});
  auto shell = std::make_shared<std::string>();
  command.add_option("shell", *shell, "bash, zsh or fish")->required();
  on_run(command, context, [&root, shell]() -> Result<int> {
    CommandContext::print(SHOAL_TRY(completion_script(root, *shell)));
    return 0;
  });
}

}  // namespace shoal::cli
