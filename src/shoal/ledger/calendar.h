// Days and months in UTC, for budgets and the dates of prices. Times are unix seconds; a period is [start, end).
// Threads: any; pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace shoal::ledger {

struct Span {
  std::int64_t start = 0;
  std::int64_t end = 0;

  [[nodiscard]] bool holds(std::int64_t at) const { return start <= at && at < end; }
};

[[nodiscard]] Span day_of(std::int64_t at);
[[nodiscard]] Span month_of(std::int64_t at);

// "2026-11-22".
[[nodiscard]] std::string date_text(std::int64_t at);
// The midnight that "2026-11-22" begins with; nothing for another form, and for a day that is in no calendar.
[[nodiscard]] std::optional<std::int64_t> parse_date(std::string_view text);

}  // namespace shoal::ledger
