// Text for people and for lines of a log: escaping, so that nothing that a client or a file said can move a
// cursor, change a colour, reorder the line or forge another one. Also sizes and durations in words.
// Threads: any; pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace shoal::base {

// Valid UTF-8 passes; controls (C0, DEL, C1), line separators, bidirectional controls, the byte order mark and
// bytes that are no UTF-8 become \n, \r, \t, \x1b, \u009b or \xff.
[[nodiscard]] std::string escape_control(std::string_view text);

// The same for text of several lines: line ends and tabs stay.
[[nodiscard]] std::string escape_lines(std::string_view text);

// A JSON string with its quotes; bytes that are no UTF-8 become U+FFFD, what escape_control() escapes becomes \u....
[[nodiscard]] std::string json_string(std::string_view text);
void append_json_string(std::string& out, std::string_view text);

// "532 B", "1.4 KiB", "138 MiB": three digits at most after rounding, powers of 1024.
[[nodiscard]] std::string human_bytes(std::uint64_t bytes);

// "3 ms", "1.5 s", "4 min 10 s", "2 h 5 min", "3 d 1 h"; a negative one is "0 ms".
[[nodiscard]] std::string human_duration(std::int64_t ms);

}  // namespace shoal::base
