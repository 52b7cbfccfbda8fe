#include <algorithm>
#include <filesystem>
#include <fstream>
#include <utility>

#include <fmt/format.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "shoal/cli/app.h"

namespace shoal::cli {
namespace {

constexpr std::uint64_t kMiB = 1024 * 1024;

// The memory limit of the cgroup (version 2) that this process is in, or no limit.
std::uint64_t cgroup_limit() {
  std::ifstream membership("/proc/self/cgroup");
  std::string line;
  std::uint64_t limit = UINT64_MAX;
  while (std::getline(membership, line)) {
    if (!line.starts_with("0::")) continue;
    // A parent's limit binds too.
    for (std::filesystem::path group = line.substr(3); !group.empty(); group = group.parent_path()) {
      std::ifstream file(std::filesystem::path("/sys/fs/cgroup") / group.relative_path() / "memory.max");
      std::uint64_t bytes = 0;
      if (file >> bytes) limit = std::min(limit, bytes);
      if (group == group.root_path()) break;
    }
  }
  return limit;
}

template <class To>
To narrow(std::int64_t value) {
  return static_cast<To>(value);  // the table of keys bounds every value
}

}  // namespace

std::uint64_t automatic_memory_budget() {
  struct sysinfo info{};
  if (::sysinfo(&info) != 0) return 0;
  const std::uint64_t installed = std::uint64_t{info.totalram} * info.mem_unit;
  return std::min(installed, cgroup_limit()) / 4 * 3;
}

Result<std::string> find_worker(const config::EngineConfig& config) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error).parent_path();
  std::vector<fs::path> places = {self / "shoal-worker", self.parent_path() / "libexec" / "shoal" / "shoal-worker"};
  if (!config.worker_path.empty()) places = {fs::path(config.worker_path)};
  std::string tried;
  for (const fs::path& place : places) {
    if (::access(place.c_str(), X_OK) == 0) return fs::absolute(place, error).string();
    tried += (tried.empty() ? "" : ", ") + place.string();
  }
  return Error(ErrorCode::kIo, fmt::format("the shoal-worker program is not at {}; set engine.worker_path", tried));
}

Result<engine::SupervisorOptions> supervisor_options(const config::EngineConfig& config) {
  engine::SupervisorOptions options;
  options.worker_path = SHOAL_TRY(find_worker(config));
  options.sandbox = config.sandbox == "none" ? engine::SandboxMode::kNone : engine::SandboxMode::kRequired;
  options.context_tokens = narrow<std::uint32_t>(config.context_length);
  options.slots = narrow<std::uint32_t>(config.slots);
  options.threads = narrow<std::uint32_t>(config.threads);
  options.ubatch_tokens = narrow<std::uint32_t>(config.ubatch);
  options.use_mmap = config.mmap;
  options.worker_memory_limit_mib = narrow<std::uint64_t>(config.worker_memory_limit_mib);
  options.max_queue = narrow<std::uint32_t>(config.max_queue);
  options.load_timeout_ms = config.load_timeout_ms;
  options.idle_unload_ms = config.idle_unload_ms;
  options.stop_timeout_ms = config.stop_timeout_ms;
  options.heartbeat_ms = config.heartbeat_ms;
  options.heartbeat_timeout_ms = config.heartbeat_timeout_ms;
  options.progress_timeout_ms = config.progress_timeout_ms;
  options.memory_budget_bytes =
      config.memory_budget_mib > 0 ? narrow<std::uint64_t>(config.memory_budget_mib) * kMiB : automatic_memory_budget();
  return options;
}

EngineParts::EngineParts(base::Log engine_log, std::unique_ptr<engine::ModelSource> source,
                         engine::SupervisorOptions options)
    : log(std::move(engine_log)),
      models(std::move(source)),
      engine(io.get_executor(), clock, log, *models, registry, std::move(options)) {}

}  // namespace shoal::cli
