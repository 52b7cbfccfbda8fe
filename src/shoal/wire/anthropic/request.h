// Anthropic's Messages API, upward: requests. Threads: any; pure.
#pragma once

#include <string>
#include <string_view>

#include "shoal/base/result.h"
#include "shoal/types/chat.h"
#include "shoal/wire/outgoing.h"

namespace shoal::wire::anthropic {

// POST, below a base URL that ends in /v1.
inline constexpr std::string_view kTarget = "/messages";
inline constexpr std::string_view kKeyHeader = "x-api-key";
inline constexpr std::string_view kVersionHeader = "anthropic-version";
// Of the two versions that there are: the one that still takes temperature, top_p and top_k, for models that do, or the
// one of today, which refuses them. platform.claude.com/docs/en/api/migration-2026-10-21.
[[nodiscard]] constexpr std::string_view version(const OutgoingOptions& options) {
  return options.sampling ? "2023-06-01" : "2026-10-21";
}

// The body. System messages before all others become `system`; later ones stay in their place. Results of tools that
// follow each other are one turn, as the API demands. The name of a JSON schema has no place and is a label only; a
// format is always strict. Signed thoughts come first in their message, as the API demands.
// Errors: kUnsupportedParameter for what the API cannot be told; kInvalidRequest when neither the request nor `options`
// limits the answer, or a call's arguments are no JSON object.
[[nodiscard]] Result<std::string> print_request(const types::ChatRequest& request, const OutgoingOptions& options);

}  // namespace shoal::wire::anthropic
