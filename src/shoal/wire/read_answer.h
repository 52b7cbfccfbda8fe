// What the readers of providers' answers share; for the sources of wire/ alone. Values are texts that JsonWalk gives.
// Threads: any; pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "shoal/base/result.h"
#include "shoal/types/completion.h"
#include "shoal/types/remote.h"

namespace shoal::wire {

// kBadAnswer: "the provider's answer has `what` that must be `wanted`, not `came`".
[[nodiscard]] Error bad_answer(std::string_view what, std::string_view wanted, std::string_view came);

// Whether it is JSON. Errors: kBadAnswer.
[[nodiscard]] Result<void> check_answer(std::string_view text);
[[nodiscard]] bool is_json_object(std::string_view text);

// Empty for null. Errors of these: kBadAnswer.
[[nodiscard]] Result<std::string> read_text(std::string_view value, std::string_view what);
[[nodiscard]] Result<std::size_t> read_index(std::string_view value, std::string_view what);

// 0 for null; 0 and `bad` for what is no number of tokens, and past 2^31: an answer stands without its usage.
[[nodiscard]] std::int32_t read_count(std::string_view value, bool& bad);
// The tier that an answer was given in, when its price is not the usual one; else empty.
[[nodiscard]] std::string read_service_tier(std::string_view value);

// Without blanks between its tokens. REQUIRES: JSON.
[[nodiscard]] std::string compact_json(std::string_view value);

// A part is never more than its whole: what is priced by difference must not become negative.
void keep_parts_within(types::Usage& usage);

// An answer whose last word is that it was not finished.
[[nodiscard]] types::RemoteError broken_off(std::string reason);

}  // namespace shoal::wire
