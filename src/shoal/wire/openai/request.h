// The OpenAI dialect, upward, for a request that has no bytes of a client: drafts, judgements, other dialects' clients.
// Threads: any; pure.
#pragma once

#include <string>

#include "shoal/base/result.h"
#include "shoal/types/chat.h"
#include "shoal/wire/outgoing.h"

namespace shoal::wire::openai {

// The body of POST /chat/completions. Streams are asked for their usage. Errors: kUnsupportedParameter for what no
// field of `request` holds, and for what only Shoal's own engine does.
[[nodiscard]] Result<std::string> print_request(const types::ChatRequest& request, const OutgoingOptions& options);

}  // namespace shoal::wire::openai
