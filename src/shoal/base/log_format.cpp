#include "shoal/base/log_format.h"

#include <array>
#include <charconv>
#include <cmath>
#include <ctime>
#include <variant>

#include <fmt/format.h>

#include "shoal/base/text.h"

namespace shoal::base {
namespace {

constexpr std::size_t kUsualBytes = 256;  // of a line

std::string_view level_name(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarn:
      return "warn";
    case LogLevel::kError:
      return "error";
    case LogLevel::kOff:
      break;
  }
  return "off";
}

// Padded for text, with the SGR colour of the level: dim, none, yellow, red.
struct Badge {
  std::string_view text;
  std::string_view colour;
};
Badge badge(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return {"DEBUG", "\x1b[2m"};
    case LogLevel::kInfo:
      return {"INFO ", "\x1b[32m"};
    case LogLevel::kWarn:
      return {"WARN ", "\x1b[33m"};
    case LogLevel::kError:
      return {"ERROR", "\x1b[31m"};
    case LogLevel::kOff:
      break;
  }
  return {"OFF  ", ""};
}

std::tm utc(std::int64_t unix_ms) {
  const std::time_t seconds = unix_ms / 1000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  return parts;
}

std::string text_value(const LogField::Value& value) {
  if (const auto* text = std::get_if<std::string_view>(&value)) {
    const std::string safe = escape_control(*text);
    const bool plain = !safe.empty() && safe.find_first_of(" =\"") == std::string::npos;
    return plain ? safe : json_string(safe);
  }
  if (const auto* number = std::get_if<std::int64_t>(&value)) return fmt::format("{}", *number);
  if (const auto* number = std::get_if<double>(&value)) return fmt::format("{:.6g}", *number);
  return std::get<bool>(value) ? "true" : "false";
}

void append_json(std::string& out, const LogField::Value& value) {
  std::array<char, 32> digits{};
  char* const end = digits.data() + digits.size();
  if (const auto* text = std::get_if<std::string_view>(&value)) {
    append_json_string(out, *text);
  } else if (const auto* whole = std::get_if<std::int64_t>(&value)) {
    out.append(digits.data(), std::to_chars(digits.data(), end, *whole).ptr);
  } else if (const auto* number = std::get_if<double>(&value); number != nullptr && std::isfinite(*number)) {
    out.append(digits.data(), std::to_chars(digits.data(), end, *number, std::chars_format::general, 6).ptr);
  } else {
    out += number != nullptr ? "null" : std::get<bool>(value) ? "true" : "false";
  }
}

// The last `digits` decimal digits of `value`.
void append_digits(std::string& out, std::int64_t value, std::size_t digits) {
  out.resize(out.size() + digits);
  for (auto at = out.rbegin(); digits > 0; ++at, --digits, value /= 10) *at = static_cast<char>('0' + value % 10);
}

// 2026-11-22T18:30:05.123Z
void append_utc(std::string& out, std::int64_t unix_ms) {
  const std::tm at = utc(unix_ms);
  append_digits(out, at.tm_year + 1900, 4);
  append_digits(out += '-', at.tm_mon + 1, 2);
  append_digits(out += '-', at.tm_mday, 2);
  append_digits(out += 'T', at.tm_hour, 2);
  append_digits(out += ':', at.tm_min, 2);
  append_digits(out += ':', at.tm_sec, 2);
  append_digits(out += '.', unix_ms % 1000, 3);
  out += 'Z';
}

bool is_fixed_name(std::string_view name) {
  return name == "ts" || name == "level" || name == "event";
}

}  // namespace

std::string format_text_line(const LogLine& line, bool colour) {
  const std::tm at = utc(line.unix_ms);
  const Badge shown = badge(line.level);
  std::string out = fmt::format("{:02}:{:02}:{:02}.{:03} ", at.tm_hour, at.tm_min, at.tm_sec, line.unix_ms % 1000);
  out += colour ? fmt::format("{}{}\x1b[0m", shown.colour, shown.text) : std::string(shown.text);
  out += ' ';
  out += escape_control(line.event);
  if (!line.fields.empty()) out += ' ';
  for (const LogField& field : line.fields) {
    out += fmt::format(" {}{}={}", field.name, is_fixed_name(field.name) ? "_" : "", text_value(field.value));
  }
  return out;
}

// By hand where a line comes with each request: formats that are read at run time were half of its time.
std::string format_json_line(const LogLine& line) {
  std::string out;
  out.reserve(kUsualBytes);
  out += R"({"ts":")";
  append_utc(out, line.unix_ms);
  out.append(R"(","level":")").append(level_name(line.level)).append(R"(","event":)");
  append_json_string(out, line.event);
  for (const LogField& field : line.fields) {
    // Names are ours, and need no escape.
    out.append(",\"").append(field.name).append(is_fixed_name(field.name) ? "_\":" : "\":");
    append_json(out, field.value);
  }
  out += '}';
  return out;
}

}  // namespace shoal::base
