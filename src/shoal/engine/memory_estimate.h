// How much memory a worker will have resident at its peak, predicted from the model file before anything is loaded,
// so that a model that does not fit is refused with numbers instead of being killed by the kernel. Within 5 % of what
// is measured (or 2 MiB, for the smallest models, where the process itself is most of it); `bench/run memory` prints
// both. Pure. Threads: any.
#pragma once

#include <cstdint>

#include "shoal/engine/model_source.h"
#include "shoal/engine/options.h"
#include "shoal/gguf/reader.h"
#include "shoal/ipc/worker_args.h"

namespace shoal::engine {

struct MemoryEstimate {
  std::uint64_t weights_bytes = 0;
  std::uint64_t kv_bytes = 0;       // the cache when it is full
  std::uint64_t compute_bytes = 0;  // of the widest step
  std::uint64_t process_bytes = 0;
  std::uint64_t cold_bytes = 0;  // that prefixes without cells may come to take

  [[nodiscard]] std::uint64_t total() const {
    return weights_bytes + kv_bytes + compute_bytes + process_bytes + cold_bytes;
  }
};

// For a ModelSource, when it learns of a file.
[[nodiscard]] ModelShape shape_of(const gguf::Header& header);

// `file_bytes` as fstat says, not as the catalogue says; `args` as the worker will be told.
[[nodiscard]] MemoryEstimate estimate_memory(const LocalModel& model, std::uint64_t file_bytes,
                                             const ipc::WorkerArgs& args, const CpuTraits& cpu);

}  // namespace shoal::engine
