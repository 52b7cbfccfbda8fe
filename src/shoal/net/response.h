// The bytes of a response: status line, fields, error body. Pure. Threads: any.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shoal/base/error.h"

namespace shoal::net {

// "Not Found"; "Status" for a code without a registered phrase.
[[nodiscard]] std::string_view reason_phrase(int status);

// IMF-fixdate of RFC 9110 5.6.7: "Sun, 06 Nov 1994 08:49:37 GMT".
[[nodiscard]] std::string http_date(std::int64_t unix_seconds);

// {"error":{"message","type","param","code"}}: the OpenAI body of an error.
[[nodiscard]] std::string error_json(const Error& error);

// A name that is a token and a value without control characters; false: the field must not be sent.
[[nodiscard]] bool is_sendable_field(std::string_view name, std::string_view value);

// The parts of a head, in their order; an empty line ends it.
void append_status(std::string& out, int status);
void append_field(std::string& out, std::string_view name, std::string_view value);

// A client's x-request-id that is fit to be logged and echoed: 1 to 128 of [A-Za-z0-9._-].
[[nodiscard]] bool is_request_id(std::string_view text);

}  // namespace shoal::net
