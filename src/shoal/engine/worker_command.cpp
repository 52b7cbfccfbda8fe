#include "shoal/engine/worker_command.h"

#include <algorithm>
#include <thread>

#include <unistd.h>

namespace shoal::engine {
namespace {

// Enough for four conversations of ordinary length; on a 135M model it costs 190 MB of cache.
constexpr std::uint64_t kDefaultContextTokens = 8192;
constexpr std::uint32_t kShortestContextTokens = 16;
constexpr std::uint32_t kMostThreads = 256;

std::uint32_t context_tokens(const SupervisorOptions& options, const LocalModel& model) {
  if (options.context_tokens > 0) return options.context_tokens;
  // No slot can use more than the model was trained for.
  const std::uint64_t useful = std::uint64_t{model.info.context_length} * std::max<std::uint32_t>(options.slots, 1);
  const std::uint64_t tokens = useful > 0 ? std::min(useful, kDefaultContextTokens) : kDefaultContextTokens;
  return std::max(static_cast<std::uint32_t>(tokens), kShortestContextTokens);
}

// llama.cpp stores a head's keys in whole blocks. Source: llama_init_from_model(), "does not divide n_embd_head_k".
types::KvType kv_type(const SupervisorOptions& options, const ModelShape& shape) {
  const std::uint32_t block = types::format_of(options.kv_type).block;
  const bool fits = shape.key_length > 0 && shape.key_length % block == 0 && shape.value_length % block == 0;
  // The exact mode goes without flash attention, which quantised values need.
  return fits && !options.exact ? options.kv_type : types::KvType::kF16;
}

}  // namespace

std::uint32_t usable_cores(const SupervisorOptions& options) {
  return options.cores > 0 ? options.cores : std::max(std::thread::hardware_concurrency(), 1U);
}

std::uint32_t compute_threads(const SupervisorOptions& options) {
  const std::uint32_t cores = usable_cores(options);
  return std::min({options.threads > 0 ? options.threads : cores, cores, kMostThreads});
}

ipc::WorkerArgs worker_args(const SupervisorOptions& options, const LocalModel& model) {
  ipc::WorkerArgs args;
  args.parent_pid = ::getpid();
  args.context_length = context_tokens(options, model);
  args.slots = std::clamp<std::uint32_t>(options.slots, 1, 64);
  args.threads = compute_threads(options);
  args.ubatch = options.ubatch_tokens;
  args.sandbox_required = options.sandbox == SandboxMode::kRequired;
  args.use_mmap = options.use_mmap;
  args.exact = options.exact;
  args.keep_prefixes = options.keep_prefixes;
  args.speculates = options.speculates;
  args.cold_cache_mib = options.cold_cache_mib;
  args.memory_limit_mib = options.worker_memory_limit_mib;
  args.kv_type = kv_type(options, model.shape);
  return args;
}

}  // namespace shoal::engine
