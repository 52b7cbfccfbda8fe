// One task on a model file in a worker process of its own, to its end: the weights written in another type, or two
// models compared. The worker is sandboxed like one that serves, sees two descriptors and sends back a few numbers.
// Used by cli/'s optimise. Owned by the caller. Threads: the I/O thread; the call suspends its coroutine.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <variant>

#include "shoal/base/async.h"
#include "shoal/base/log.h"
#include "shoal/base/result.h"
#include "shoal/engine/options.h"
#include "shoal/ipc/frames.h"

namespace shoal::engine {

struct WorkerTaskContext {
  base::Executor executor;
  base::Log& log;
  const SupervisorOptions& options;  // worker_path, sandbox, threads, worker_memory_limit_mib
  std::stop_token cancel;            // once requested, on the I/O thread, the worker is killed
  std::function<void(std::uint64_t done, std::uint64_t total)> on_progress;
};

// `output` is a path that is written anew. Errors: kIo, kModelInvalid, kUnsupportedParameter when the type does not
// apply, kNumericFault, kSandboxUnavailable, kWorkerCrashed, kCancelled.
[[nodiscard]] Result<ipc::Rewritten> rewrite_weights(const WorkerTaskContext& context, const std::string& source,
                                                     std::uint32_t type, const std::string& output, base::Yield yield);

// `trained_context` of the models, in tokens; 0: not known. Errors: as rewrite_weights(), and kInsufficientMemory.
[[nodiscard]] Result<ipc::Compared> compare_models(const WorkerTaskContext& context, const std::string& source,
                                                   const std::string& candidate, std::uint32_t trained_context,
                                                   base::Yield yield);

}  // namespace shoal::engine
