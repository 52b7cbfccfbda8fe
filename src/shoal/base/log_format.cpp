#include "shoal/base/log_format.h"

#include <array>
#include <cmath>
#include <ctime>
#include <variant>

#include <fmt/format.h>

#include "shoal/base/text.h"

namespace shoal::base {
namespace {

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

std::string json_value(const LogField::Value& value) {
  if (const auto* text = std::get_if<std::string_view>(&value)) return json_string(*text);
  if (const auto* number = std::get_if<double>(&value); number != nullptr && !std::isfinite(*number)) return "null";
  return text_value(value);
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

std::string format_json_line(const LogLine& line) {
  const std::tm at = utc(line.unix_ms);
  std::string out = fmt::format(R"({{"ts":"{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z","level":"{}","event":{})",
                                at.tm_year + 1900, at.tm_mon + 1, at.tm_mday, at.tm_hour, at.tm_min, at.tm_sec,
                                line.unix_ms % 1000, level_name(line.level), json_string(line.event));
  for (const LogField& field : line.fields) {
    std::string name(field.name);
    if (is_fixed_name(name)) name += '_';
    out += fmt::format(",{}:{}", json_string(name), json_value(field.value));
  }
  out += '}';
  return out;
}

}  // namespace shoal::base
