// How the gateway starts a worker: the arguments of shoal-worker and the descriptors it inherits. Both sides
// use this file, so that a flag cannot be spelled in two ways. Threads: any, as plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/types/kv_type.h"

namespace shoal::ipc {

inline constexpr int kWorkerSocketFd = 3;  // SOCK_STREAM socketpair, frames
inline constexpr int kWorkerModelFd = 4;   // the GGUF, O_RDONLY
inline constexpr int kWorkerSecondFd = 5;  // kRewrite: the file to write; kCompare: the candidate. Others: closed

// What a worker is started for.
enum class WorkerTask : std::uint8_t {
  kServe,    // requests, until the gateway drains or closes
  kRewrite,  // the model with its weights in another type, into the second descriptor; then it exits
  kCompare,  // the next-token distributions of the model and of the second one over a fixed text; then it exits
};

struct WorkerArgs {
  WorkerTask task = WorkerTask::kServe;
  std::uint32_t type = 0;               // kRewrite: a ggml_type of gguf::rewrite_types()
  std::int32_t parent_pid = 0;          // the worker dies with it; 0: not watched
  std::uint32_t context_length = 4096;  // tokens of KV cache, shared by the slots
  std::uint32_t slots = 4;              // sequences decoded in one batch, [1, 64]
  std::uint32_t threads = 2;            // [1, 256]
  std::uint32_t ubatch = 512;           // the most tokens of a compute step
  types::KvType kv_type = types::KvType::kF16;
  bool sandbox_required = true;
  std::uint32_t cold_cache_mib = 64;   // memory for prompt prefixes that lost their KV cells
  bool keep_prefixes = true;           // what one answer computed may begin another of the same principal
  bool speculates = true;              // guess tokens of answers that copy, while that pays
  bool use_mmap = false;               // share pages between workers, without repacked weights
  bool exact = false;                  // answers do not depend on their neighbours, bit for bit
  std::uint64_t memory_limit_mib = 0;  // RLIMIT_DATA; 0: none
};

// The arguments after argv[0].
[[nodiscard]] std::vector<std::string> to_argv(const WorkerArgs& args);
// Errors: kUsage, naming the flag, what was wanted and what came.
[[nodiscard]] Result<WorkerArgs> parse_worker_args(const std::vector<std::string>& argv);

}  // namespace shoal::ipc
