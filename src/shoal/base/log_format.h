// One line of the log, as text or JSON, from its parts: what Log writes, without the writing, so that tests can
// look at it. Place: under log.cpp. The fixed names are `ts`, `level` and `event`; a field of one of these names
// is written with a trailing underscore. Threads: any; pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "shoal/base/log.h"

namespace shoal::base {

struct LogLine {
  std::int64_t unix_ms = 0;
  LogLevel level = LogLevel::kInfo;
  std::string_view event;
  std::span<const LogField> fields;
};

// `12:00:00.123 WARN  worker died  model=smollm2 signal=9`, in UTC. Without a line end.
[[nodiscard]] std::string format_text_line(const LogLine& line, bool colour);

// `{"ts":"2026-01-31T12:00:00.123Z","level":"warn","event":"worker died","model":"smollm2","signal":9}`.
[[nodiscard]] std::string format_json_line(const LogLine& line);

}  // namespace shoal::base
