#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "shoal/cli/app.h"
#include "shoal/device/machine.h"

namespace shoal::cli {
namespace {

constexpr std::uint64_t kMiB = 1024 * 1024;
constexpr std::uint32_t kMostThreads = 256;  // as engine.threads may be

template <class To>
To narrow(std::int64_t value) {
  return static_cast<To>(value);  // the table of keys bounds every value
}

engine::CpuTraits cpu_traits() {
  engine::CpuTraits out;
#if defined(__x86_64__)
  // AMX-INT8 is bit 25. Source: Intel SDM volume 2, CPUID, leaf 7, EDX.
  constexpr unsigned kAmxInt8 = 1U << 25;
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  out.avx2 = __builtin_cpu_supports("avx2") != 0;
  out.avx512 = __builtin_cpu_supports("avx512f") != 0;
  out.amx = __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & kAmxInt8) != 0;
#endif
  return out;
}

}  // namespace

std::uint64_t automatic_memory_budget() {
  return device::probe_machine().memory_bytes / 4 * 3;
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
  const device::Machine machine = device::probe_machine();
  engine::SupervisorOptions options;
  options.worker_path = SHOAL_TRY(find_worker(config));
  options.sandbox = config.sandbox == "none" ? engine::SandboxMode::kNone : engine::SandboxMode::kRequired;
  options.context_tokens = narrow<std::uint32_t>(config.context_length);
  options.slots = narrow<std::uint32_t>(config.slots);
  options.cores = machine.cores;
  options.threads = config.threads > 0 ? narrow<std::uint32_t>(config.threads) : std::min(machine.cores, kMostThreads);
  options.ubatch_tokens = narrow<std::uint32_t>(config.ubatch);
  options.kv_type = types::kv_type_named(config.kv_type).value_or(types::KvType::kF16);
  options.use_mmap = config.mmap;
  options.exact = config.exact;
  options.keep_prefixes = config.prefix_cache;
  options.speculates = config.speculation;
  options.cold_cache_mib = narrow<std::uint32_t>(config.prefix_cache_mib);
  options.cpu = cpu_traits();
  options.worker_memory_limit_mib = narrow<std::uint64_t>(config.worker_memory_limit_mib);
  options.max_queue = narrow<std::uint32_t>(config.max_queue);
  options.load_timeout_ms = config.load_timeout_ms;
  options.idle_unload_ms = config.idle_unload_ms;
  options.turn_ms = config.turn_ms;
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
