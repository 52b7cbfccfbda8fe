// Label scores: asks the engine how probable labels are after each of some prompts, and makes a distribution of it.
// Use: score_all() for the numbers, distribution() for each prompt.
// Threads: the I/O thread; distribution() any.
#pragma once

#include <optional>
#include <vector>

#include "shoal/base/async.h"
#include "shoal/base/result.h"
#include "shoal/engine/engine.h"
#include "shoal/types/score.h"

namespace shoal::gateway {

// All requests, some of them at a time, so that they share batches; results in their order. The first error ends all.
// Errors: as engine::Engine::score().
[[nodiscard]] Result<std::vector<engine::ScoreResult>> score_all(engine::Engine& engine,
                                                                 std::vector<engine::ScoreRequest> requests,
                                                                 base::Yield yield);

// The softmax over the labels of s_i, which is
//   log p(label)                       the probability of the whole label; longer ones have less of it
//   log p(label) / n_tokens            with `mean`
//   s_i - s_i of the content-free prompt   with `content_free`: Zhao et al. 2021, "Calibrate Before Use", p / p_cf
// A label that cannot come at all has probability 0; when none can, all have the same.
// REQUIRES: content_free, when there, has the same labels.
[[nodiscard]] std::vector<types::LabelScore> distribution(std::vector<types::LabelLogprobs> labels, bool mean,
                                                          const std::vector<types::LabelLogprobs>* content_free);

// Divides the probabilities of each label by their mean over all inputs, and makes them sum to 1 again: Zhou et al.
// 2024, "Batch Calibration". It takes labels to be about as frequent as each other. REQUIRES: the same labels in each.
void calibrate_by_batch(std::vector<std::vector<types::LabelScore>>& inputs);

}  // namespace shoal::gateway
