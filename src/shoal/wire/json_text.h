// Writing JSON without a document in between: appends to a string that the caller reuses, for the token
// stream and every other answer. Output is always valid UTF-8: bytes that are not become U+FFFD.
// Threads: any; pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace shoal::wire {

// With quotes. Escapes what RFC 8259 demands, and U+2028/2029, which end lines for some readers.
void append_json_string(std::string& out, std::string_view text);
// Shortest text that reads back as the same value. REQUIRES: finite.
void append_json_number(std::string& out, double value);
void append_json_number(std::string& out, float value);
void append_json_number(std::string& out, std::int64_t value);

// Bytes of the well-formed UTF-8 character that `text` starts with; 0 when it starts with none.
[[nodiscard]] std::size_t utf8_character(std::string_view text);
[[nodiscard]] bool is_utf8(std::string_view text);

// A client's text as a message may repeat it: at most 48 bytes, cut between characters, "..." where it was cut.
[[nodiscard]] std::string shortened(std::string_view text);

}  // namespace shoal::wire
