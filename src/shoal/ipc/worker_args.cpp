#include "shoal/ipc/worker_args.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

#include <fmt/format.h>

namespace shoal::ipc {
namespace {

struct NumberFlag {
  std::string_view name;
  std::uint64_t lowest, highest;
  std::uint64_t (*get)(const WorkerArgs&);
  void (*set)(WorkerArgs&, std::uint64_t);
};

constexpr std::array kNumbers = {
    NumberFlag{"--type", 0, 255, [](const WorkerArgs& a) { return std::uint64_t(a.type); },
               [](WorkerArgs& a, std::uint64_t v) { a.type = static_cast<std::uint32_t>(v); }},
    NumberFlag{"--parent-pid", 0, 0x7fffffff, [](const WorkerArgs& a) { return std::uint64_t(a.parent_pid); },
               [](WorkerArgs& a, std::uint64_t v) { a.parent_pid = static_cast<std::int32_t>(v); }},
    NumberFlag{"--context", 16, 1U << 24, [](const WorkerArgs& a) { return std::uint64_t(a.context_length); },
               [](WorkerArgs& a, std::uint64_t v) { a.context_length = static_cast<std::uint32_t>(v); }},
    NumberFlag{"--slots", 1, 64, [](const WorkerArgs& a) { return std::uint64_t(a.slots); },
               [](WorkerArgs& a, std::uint64_t v) { a.slots = static_cast<std::uint32_t>(v); }},
    NumberFlag{"--threads", 1, 256, [](const WorkerArgs& a) { return std::uint64_t(a.threads); },
               [](WorkerArgs& a, std::uint64_t v) { a.threads = static_cast<std::uint32_t>(v); }},
    NumberFlag{"--ubatch", 16, 4096, [](const WorkerArgs& a) { return std::uint64_t(a.ubatch); },
               [](WorkerArgs& a, std::uint64_t v) { a.ubatch = static_cast<std::uint32_t>(v); }},
    NumberFlag{"--cold-cache-mib", 0, 1U << 24, [](const WorkerArgs& a) { return std::uint64_t(a.cold_cache_mib); },
               [](WorkerArgs& a, std::uint64_t v) { a.cold_cache_mib = static_cast<std::uint32_t>(v); }},
    NumberFlag{"--memory-mib", 0, 1U << 24, [](const WorkerArgs& a) { return a.memory_limit_mib; },
               [](WorkerArgs& a, std::uint64_t v) { a.memory_limit_mib = v; }},
};

struct ChoiceFlag {
  std::string_view name, on, off;
  bool WorkerArgs::* field;
};

constexpr std::array kChoices = {
    ChoiceFlag{"--sandbox", "required", "none", &WorkerArgs::sandbox_required},
    ChoiceFlag{"--load", "mmap", "read", &WorkerArgs::use_mmap},
    ChoiceFlag{"--prefixes", "keep", "forget", &WorkerArgs::keep_prefixes},
    ChoiceFlag{"--guesses", "on", "off", &WorkerArgs::speculates},
    ChoiceFlag{"--mode", "exact", "fast", &WorkerArgs::exact},
};

constexpr std::string_view kKvFlag = "--kv-type";
constexpr std::array<std::string_view, 3> kTasks = {"serve", "rewrite", "compare"};  // in the order of WorkerTask

Error wrong(std::string message) {
  return {ErrorCode::kUsage, "shoal-worker: " + std::move(message)};
}

Result<void> set_flag(WorkerArgs& args, std::string_view name, std::string_view value) {
  if (name == "--task") {
    const auto* const task = std::ranges::find(kTasks, value);
    if (task == kTasks.end()) return wrong(fmt::format("--task wants serve, rewrite or compare, got '{}'", value));
    args.task = static_cast<WorkerTask>(task - kTasks.begin());
    return {};
  }
  for (const NumberFlag& flag : kNumbers) {
    if (flag.name != name) continue;
    std::uint64_t number = 0;
    const auto [end, fault] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (fault != std::errc() || end != value.data() + value.size() || number < flag.lowest || number > flag.highest) {
      return wrong(fmt::format("{} wants a number from {} to {}, got '{}'", name, flag.lowest, flag.highest, value));
    }
    flag.set(args, number);
    return {};
  }
  for (const ChoiceFlag& flag : kChoices) {
    if (flag.name != name) continue;
    if (value != flag.on && value != flag.off) {
      return wrong(fmt::format("{} wants {} or {}, got '{}'", name, flag.on, flag.off, value));
    }
    args.*flag.field = value == flag.on;
    return {};
  }
  if (name == kKvFlag) {
    const auto type = types::kv_type_named(value);
    if (!type) return wrong(fmt::format("{} wants f16, q8_0 or q4_0, got '{}'", name, value));
    args.kv_type = *type;
    return {};
  }
  return wrong(fmt::format("unknown flag '{}'; this program is started by `shoal serve`", name));
}

}  // namespace

std::vector<std::string> to_argv(const WorkerArgs& args) {
  std::vector<std::string> argv = {"--task", std::string(kTasks[static_cast<std::size_t>(args.task)])};
  for (const NumberFlag& flag : kNumbers) {
    argv.emplace_back(flag.name);
    argv.push_back(std::to_string(flag.get(args)));
  }
  for (const ChoiceFlag& flag : kChoices) {
    argv.emplace_back(flag.name);
    argv.emplace_back(args.*flag.field ? flag.on : flag.off);
  }
  argv.emplace_back(kKvFlag);
  argv.emplace_back(types::format_of(args.kv_type).name);
  return argv;
}

Result<WorkerArgs> parse_worker_args(const std::vector<std::string>& argv) {
  WorkerArgs args;
  for (std::size_t i = 0; i < argv.size(); i += 2) {
    if (i + 1 == argv.size()) return wrong(fmt::format("{} wants a value", argv[i]));
    SHOAL_TRY(set_flag(args, argv[i], argv[i + 1]));
  }
  return args;
}

}  // namespace shoal::ipc
