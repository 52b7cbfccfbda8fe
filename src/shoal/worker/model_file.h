// The check of a model file before llama.cpp sees it: our own bounded reader, over a descriptor, inside the
// sandbox. Threads: any.
#pragma once

#include "shoal/base/result.h"

namespace shoal::worker {

// Leaves the descriptor at its beginning. Errors: kModelInvalid, naming the fault and its offset.
[[nodiscard]] Result<void> check_model_file(int fd);

}  // namespace shoal::worker
