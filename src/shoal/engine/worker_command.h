// The command line of a worker for one model, from the options of the supervisor. Pure. Threads: any.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shoal/engine/model_source.h"
#include "shoal/engine/options.h"

namespace shoal::engine {

// The KV cache that a worker is told to make, in tokens, shared by its slots.
[[nodiscard]] std::uint32_t context_tokens(const SupervisorOptions& options, const LocalModel& model);

// Of the machine, for all workers together.
[[nodiscard]] std::uint32_t usable_cores(const SupervisorOptions& options);
// On which a worker computes when it is alone.
[[nodiscard]] std::uint32_t compute_threads(const SupervisorOptions& options);

// Without argv[0].
[[nodiscard]] std::vector<std::string> worker_arguments(const SupervisorOptions& options, const LocalModel& model);

}  // namespace shoal::engine
