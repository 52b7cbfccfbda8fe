// What a worker for one model is told, from the options of the supervisor. Pure. Threads: any.
#pragma once

#include <cstdint>

#include "shoal/engine/model_source.h"
#include "shoal/engine/options.h"
#include "shoal/ipc/worker_args.h"

namespace shoal::engine {

// Of the machine, for all workers together.
[[nodiscard]] std::uint32_t usable_cores(const SupervisorOptions& options);
// On which a worker computes when it is alone.
[[nodiscard]] std::uint32_t compute_threads(const SupervisorOptions& options);

// The same for the command line and for the prediction of memory, so that they cannot differ. The KV cache stays f16
// where a block of the type that was asked for does not divide the width of a head.
[[nodiscard]] ipc::WorkerArgs worker_args(const SupervisorOptions& options, const LocalModel& model);

}  // namespace shoal::engine
