// Receipts, kept: one record of the journal for each request that was answered or refused, local ones too. Nobody waits
// for it. Threads: the I/O thread.
#pragma once

#include <cstdint>
#include <optional>

#include "shoal/audit/records.h"
#include "shoal/base/clock.h"
#include "shoal/gateway/answer.h"
#include "shoal/gateway/outside.h"

namespace shoal::gateway {

// What the answer cost here, and what it would have cost at the provider that savings are counted against. That is not
// known when a provider did not say what it counted, or nothing is known of the price.
void add_comparison(types::Receipt& receipt, const OutsideConfig& config, const routing::Route& route,
                    std::int64_t now);

// Appends it to the journal. Where that cannot be, it is gone: no client waits for it and none is answered otherwise.
// `came_ns`: when the request came, as base::Clock::monotonic_ns() gives it.
void keep_receipt(Outside& outside, const types::Receipt& receipt, const AnswerRequest& request,
                  const routing::Route& route, std::optional<audit::Judged> judged, std::int64_t came_ns,
                  const base::Clock& clock, int status);

}  // namespace shoal::gateway
