// What the engine is asked for one request, and what of its answers goes into the receipt. Threads: any; pure.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "shoal/base/clock.h"
#include "shoal/engine/engine.h"
#include "shoal/gateway/answer.h"

namespace shoal::gateway {

// params.n answers for each prompt; with a seed, answer i of a prompt uses seed + i, so that they differ and repeat.
[[nodiscard]] std::vector<engine::GenerateRequest> local_requests(const AnswerRequest& request,
                                                                  const std::string& model, base::Deadline deadline,
                                                                  bool streams);

// Answer number `answer` has finished. What it brings along is moved out of `finish`.
void add_finished(types::Receipt& receipt, const AnswerRequest& request, std::size_t answer,
                  engine::FinishEvent& finish);

}  // namespace shoal::gateway
