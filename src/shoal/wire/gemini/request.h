// Gemini's API (generateContent), upward: requests. Threads: any; pure.
#pragma once

#include <string>
#include <string_view>

#include "shoal/base/result.h"
#include "shoal/types/chat.h"
#include "shoal/wire/outgoing.h"

namespace shoal::wire::gemini {

// Never as a query: addresses are logged.
inline constexpr std::string_view kKeyHeader = "x-goog-api-key";

// POST, below a base URL that ends in /v1: "/models/NAME:generateContent", with "?alt=sse" for a stream, which
// would be an array otherwise. A name with a slash, such as tunedModels/x, stands as it is.
[[nodiscard]] std::string target(std::string_view model, bool stream);

// The body, which does not name the model. System messages come before all others and become systemInstruction; `user`
// has no place and is not sent. A call in the history has the signature that came with it; for models from Gemini 3 on
// one that has none gets the documented stand-in.
// Errors: kUnsupportedParameter for what the API cannot be told (a system message later on, images by address,
// logprobs,
// ...); kInvalidRequest when a call's arguments are no JSON object, or a result belongs to no call.
[[nodiscard]] Result<std::string> print_request(const types::ChatRequest& request, const OutgoingOptions& options);

}  // namespace shoal::wire::gemini
