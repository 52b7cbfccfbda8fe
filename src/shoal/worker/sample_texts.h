// The texts over which a rewritten model is compared with its source: prose, program code, other languages and two
// conversations, a few thousand tokens in all. Written for Shoal, and never changed without need: figures over
// different texts cannot be compared. Pure. Threads: any.
#pragma once

#include <string>
#include <vector>

#include "shoal/worker/model.h"

namespace shoal::worker {

[[nodiscard]] std::vector<PromptInput> sample_texts();

// What is said in it, for a model that has no chat template.
[[nodiscard]] std::string spoken(const PromptInput& text);

}  // namespace shoal::worker
