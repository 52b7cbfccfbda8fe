// How far a model's next-token distributions are from another's over the texts of sample_texts.h: mean KL divergence,
// share of equal best tokens, and both perplexities. Source: Kullback and Leibler (1951); perplexity is exp of the
// mean negative log-likelihood of the tokens that follow.
// Used by the worker of a kCompare task; both models are loaded in it, so that no row of logits is stored.
// Threads: the compute thread of both models.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "shoal/base/result.h"
#include "shoal/ipc/frames.h"
#include "shoal/worker/model.h"

namespace shoal::worker {

// What one position adds. REQUIRES: rows of equal size, not empty.
struct RowDistance {
  double kl = 0;  // KL(source || candidate), nats
  bool same_best = false;
  double source_log_sum = 0;  // log of the sum of exp(logit)
  double log_sum = 0;
};
[[nodiscard]] RowDistance row_distance(std::span<const float> source, std::span<const float> candidate);

// `on_progress` hears of tokens. Errors: kNumericFault, kInternal (a decode failed), kModelInvalid (the models do not
// have one vocabulary). REQUIRES: both generate, and were loaded alike, with room for logits of a whole batch.
[[nodiscard]] Result<ipc::Compared> compare(Model& source, Model& candidate,
                                            const std::function<void(std::uint64_t, std::uint64_t)>& on_progress);

}  // namespace shoal::worker
