// What a worker for one model is told, from the options of the supervisor. Pure. Threads: any.
#pragma once

#include <cstdint>

#include "shoal/engine/model_source.h"
#include "shoal/engine/options.h"
#include "shoal/ipc/worker_args.h"

namespace shoal::engine {

// The same for the command line and for the prediction of memory, so that they cannot differ. The KV cache stays f16
// where a block of the type that was asked for does not divide the width of a head.
[[nodiscard]] ipc::WorkerArgs worker_args(const SupervisorOptions& options, const LocalModel& model);

}  // namespace shoal::engine
