// Every limit of the supervisor, with its default. config/ maps [engine] onto it; a unit is part of each name.
// Plain data, copied into the Supervisor. Threads: any.
#pragma once

#include <cstdint>
#include <string>

#include "shoal/types/kv_type.h"

namespace shoal::engine {

enum class SandboxMode : std::uint8_t {
  kRequired,  // a worker that cannot close its sandbox does not start
  kNone,      // run without one
};

// What ggml's kernels on this machine ask of the memory: a weight that is also kept in another order.
struct CpuTraits {
  bool avx2 = false;
  bool avx512 = false;
  bool amx = false;
};

struct SupervisorOptions {
  std::string worker_path;  // of shoal-worker; absolute
  SandboxMode sandbox = SandboxMode::kRequired;

  // What each worker gets.
  std::uint32_t context_tokens = 0;   // KV cache of a worker, shared by its slots; 0: trained * slots, at most 8192
  std::uint32_t slots = 4;            // sequences decoded in one batch, [1, 64]
  std::uint32_t cores = 0;            // on which all workers together compute; 0: those of this process
  std::uint32_t threads = 0;          // compute threads of a worker, at most 256 and one per core; 0: as many
  std::uint32_t ubatch_tokens = 512;  // the most tokens of a compute step, [16, 4096]
  std::uint32_t cold_cache_mib = 64;  // memory of a worker for prompt prefixes that lost their KV cells
  bool exact = false;                 // answers independent of neighbours and kept prefixes, bit for bit: slower
  bool keep_prefixes = true;          // what one answer computed may begin another of the same principal
  bool speculates = true;             // guess tokens of answers that copy, while that pays
  types::KvType kv_type = types::KvType::kF16;  // of the cache; a model whose heads it does not divide keeps f16
  bool use_mmap = false;                        // weights shared between workers, without the repacked copy: slower
  std::uint64_t worker_memory_limit_mib = 0;    // hard limit of one worker's data (RLIMIT_DATA); 0: none

  // Admission.
  std::uint32_t max_queue = 64;         // per model: requests that wait beyond those in its slots
  std::int64_t retry_after_ms = 1'000;  // told to a client that was refused
  std::uint32_t credit_tokens = 256;    // unread tokens per request, at most; then that request pauses

  // Life of a worker.
  std::int64_t load_timeout_ms = 120'000;      // spawn to READY
  std::int64_t idle_unload_ms = 0;             // without a request for this long: unload; 0: never
  std::int64_t turn_ms = 10'000;               // a busy model keeps its memory so long while another waits for it
  std::int64_t stop_timeout_ms = 2'000;        // Drain to exit, then SIGKILL
  std::int64_t heartbeat_ms = 2'000;           // between one-token decodes while requests run
  std::int64_t idle_heartbeat_ms = 15'000;     // and while none does: eight idle workers stay under 0.5 % of a core
  std::int64_t heartbeat_timeout_ms = 10'000;  // no answer, and no step done meanwhile: SIGKILL
  std::int64_t progress_timeout_ms = 30'000;   // requests that may run, but no token and no step: SIGKILL
  std::int64_t core_late_ms = 2'000;           // asked for its cores, a worker gives them back within a step; later,
                                               // the others do not wait for it: long steps, or it hangs
  std::int64_t tick_ms = 50;  // how often the limits above are looked at, while a worker works; else a tenth as often

  // Restarts. The first one in a window is immediate; then backoff_ms, doubled each time, +-25 %.
  std::int64_t backoff_ms = 100;
  std::int64_t backoff_max_ms = 10'000;
  std::int64_t failure_window_ms = 60'000;
  std::uint32_t max_failures = 5;  // in one window: the model is given up until load() is called

  CpuTraits cpu;  // of this machine, for the prediction of memory

  // Memory that all workers together may be predicted to use; 0: no limit.
  std::uint64_t memory_budget_bytes = 0;
};

}  // namespace shoal::engine
