// Receipts, kept: one record of the journal for each request that was answered or refused, local ones too. Nobody waits
// for it. Threads: the I/O thread.
#pragma once

#include <cstdint>

#include "shoal/base/clock.h"
#include "shoal/gateway/answer.h"
#include "shoal/gateway/outside.h"

namespace shoal::gateway {

// What the answer cost here, and what it would have cost at the provider that savings are counted against.
void add_comparison(types::Receipt& receipt, const OutsideConfig& config, const routing::Route& route,
                    std::int64_t now);

// Appends it to the journal. Where that cannot be, it is gone: no client waits for it and none is answered otherwise.
void keep_receipt(Outside& outside, const types::Receipt& receipt, const AnswerRequest& request,
                  const base::Clock& clock, int status);

}  // namespace shoal::gateway
