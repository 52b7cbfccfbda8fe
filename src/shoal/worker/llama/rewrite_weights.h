// Writes a model again with its weights in another type, from descriptor to descriptor: our own bounded reader reads
// the file, ggml's traits turn blocks into numbers and back. Metadata is copied byte for byte but for the keys that
// name the type. What a type lost stays lost: more bits make a file faster to compute, never better.
// Runs inside the sandbox, in a worker of its own. Threads: starts `threads` of its own and joins them.
#pragma once

#include <cstdint>
#include <functional>

#include "shoal/base/result.h"
#include "shoal/ipc/frames.h"

namespace shoal::worker::llama {

struct RewriteJob {
  int source_fd = -1;      // a GGUF, read by position
  int output_fd = -1;      // empty, written from its beginning
  std::uint32_t type = 0;  // of gguf::rewrite_types()
  std::uint32_t threads = 1;
};

// `on_progress` hears of bytes read. Errors: kModelInvalid, kUnsupportedParameter (the type does not apply),
// kNumericFault (weights that are not finite), kIo.
[[nodiscard]] Result<ipc::Rewritten> rewrite_weights(
    const RewriteJob& job, const std::function<void(std::uint64_t done, std::uint64_t total)>& on_progress);

}  // namespace shoal::worker::llama
