// Receipts, kept: one record of the journal for each request that was answered or refused, local ones too. Nobody waits
// for it. Threads: the I/O thread.
#pragma once

#include <cstdint>
#include <string>

#include "shoal/base/clock.h"
#include "shoal/gateway/answer.h"
#include "shoal/gateway/outside.h"

namespace shoal::gateway {

// Of a client's key, as it stands in the journal and the ledger; empty: anonymous.
[[nodiscard]] std::string principal_name(std::uint64_t principal);

// Appends it to the journal. Where that cannot be, it is gone: no client waits for it and none is answered otherwise.
void keep_receipt(Outside& outside, const types::Receipt& receipt, const AnswerRequest& request,
                  const base::Clock& clock, int status);

}  // namespace shoal::gateway
