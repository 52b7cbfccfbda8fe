// CSV as RFC 4180 has it: fields between commas, quoted ones with commas, line ends and doubled quotes in them; lines
// end with CRLF, LF or CR. A byte order mark is skipped, lines without a character too. A quote inside a field that
// does not begin with one is text. Threads: any; pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"

namespace shoal::evaluation {

struct CsvRecord {
  std::vector<std::string> fields;
  std::size_t line = 1;  // that it begins on, from 1
};

// The first record is the header, if there is one: nobody knows here. Errors: kInvalidData, "line 3, column 14:
// ...", the column in bytes, for a quoted field that does not end, or goes on after its closing quote.
[[nodiscard]] Result<std::vector<CsvRecord>> parse_csv(std::string_view text);

// Bytes that are no UTF-8 become U+FFFD, one for each; returns how many there were.
std::size_t repair_utf8(std::string& text);

}  // namespace shoal::evaluation
