#include "shoal/ledger/calendar.h"

#include <charconv>
#include <chrono>

#include <fmt/compile.h>
#include <fmt/format.h>

namespace shoal::ledger {
namespace {

using std::chrono::days;
using std::chrono::sys_days;
using std::chrono::sys_seconds;
using std::chrono::year_month_day;

sys_days day_at(std::int64_t at) {
  return std::chrono::floor<days>(sys_seconds(std::chrono::seconds(at)));
}

std::int64_t unix_seconds(sys_days day) {
  return sys_seconds(day).time_since_epoch().count();
}

// `size` digits and nothing else.
std::optional<unsigned> parse_digits(std::string_view text, std::size_t at, std::size_t size) {
  unsigned value = 0;
  const char* const begin = text.data() + at;
  const auto [end, fault] = std::from_chars(begin, begin + size, value);
  if (fault != std::errc() || end != begin + size) return std::nullopt;
  return value;
}

}  // namespace

Span day_of(std::int64_t at) {
  const sys_days day = day_at(at);
  return {unix_seconds(day), unix_seconds(day + days(1))};
}

Span month_of(std::int64_t at) {
  const year_month_day date(day_at(at));
  const auto month = date.year() / date.month();
  return {unix_seconds(month / std::chrono::day(1)),
          unix_seconds((month + std::chrono::months(1)) / std::chrono::day(1))};
}

std::string date_text(std::int64_t at) {
  const year_month_day date(day_at(at));
  return fmt::format(FMT_COMPILE("{:04}-{:02}-{:02}"), static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
}

std::optional<std::int64_t> parse_date(std::string_view text) {
  if (text.size() != 10 || text[4] != '-' || text[7] != '-') return std::nullopt;
  const std::optional<unsigned> year = parse_digits(text, 0, 4);
  const std::optional<unsigned> month = parse_digits(text, 5, 2);
  const std::optional<unsigned> day = parse_digits(text, 8, 2);
  if (!year || !month || !day) return std::nullopt;
  const year_month_day date(std::chrono::year(static_cast<int>(*year)), std::chrono::month(*month),
                            std::chrono::day(*day));
  if (!date.ok()) return std::nullopt;
  return unix_seconds(sys_days(date));
}

}  // namespace shoal::ledger
