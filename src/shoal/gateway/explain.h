// explain(): who would answer a request now, in which order, and why; nothing is computed, reserved or sent. What
// `shoal route test` shows. It asks the same resolve() and plan() as the pipeline, so that it cannot say otherwise.
// Threads: the I/O thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "shoal/base/clock.h"
#include "shoal/base/result.h"
#include "shoal/gateway/answer.h"
#include "shoal/gateway/outside.h"
#include "shoal/gateway/resolve.h"
#include "shoal/ledger/money.h"
#include "shoal/routing/plan.h"

namespace shoal::gateway {

struct Explanation {
  Resolved resolved;
  routing::Plan plan;
  // By candidate of the plan: what it may cost at most; nothing for the local model, or the reason why no byte would
  // leave.
  struct Cost {
    std::optional<ledger::Pico> most;
    std::optional<Error> unknown;
  };
  std::vector<Cost> costs;
};

// `outside` may be null. Errors: as resolve().
[[nodiscard]] Result<Explanation> explain(const engine::Engine& engine, Outside* outside, const base::Clock& clock,
                                          const std::string& default_model, const AnswerRequest& request);

}  // namespace shoal::gateway
