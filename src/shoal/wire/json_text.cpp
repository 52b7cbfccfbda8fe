#include "shoal/wire/json_text.h"

#include <array>
#include <cassert>
#include <charconv>
#include <cmath>
#include <cstddef>

namespace shoal::wire {
namespace {

template <class Number>
void append_number(std::string& out, Number value) {
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value);
  out.append(text.data(), end.ptr);
}

void append_escaped_ascii(std::string& out, char c) {
  static constexpr char kHex[] = "0123456789abcdef";
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      break;
  }
  const auto byte = static_cast<unsigned char>(c);
  out += "\\u00";
  out += kHex[byte >> 4U];
  out += kHex[byte & 0xFU];
}

}  // namespace

// Table 3-7 of the Unicode Standard: no overlong forms, no surrogates, nothing past U+10FFFF.
std::size_t utf8_character(std::string_view text) {
  const auto at = [text](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto tail = [at](std::size_t i) { return (at(i) & 0xC0U) == 0x80U; };
  const unsigned lead = at(0);
  if (text.empty()) return 0;
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return tail(1) ? 2 : 0;
  const unsigned second = at(1);
  if (lead >= 0xE0 && lead <= 0xEF) {
    const unsigned low = lead == 0xE0 ? 0xA0U : 0x80U;
    const unsigned high = lead == 0xED ? 0x9FU : 0xBFU;
    return second >= low && second <= high && tail(2) ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    const unsigned low = lead == 0xF0 ? 0x90U : 0x80U;
    const unsigned high = lead == 0xF4 ? 0x8FU : 0xBFU;
    return second >= low && second <= high && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = utf8_character(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string shortened(std::string_view text) {
  constexpr std::size_t kMaxShown = 48;
  if (text.size() <= kMaxShown) return std::string(text);
  std::size_t end = kMaxShown;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  return std::string(text.substr(0, end)) + "...";
}

void append_json_string(std::string& out, std::string_view text) {
#ifdef SHOAL_PLANTED_BUG
  constexpr unsigned char kFirstPlain = 0x1F;
#else
  constexpr unsigned char kFirstPlain = 0x20;
#endif
  out += '"';
  std::size_t plain = 0;  // start of what can be copied as it is
  std::size_t i = 0;
  const auto flush = [&] { out.append(text, plain, i - plain); };
  while (i < text.size()) {
    const char c = text[i];
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      if (byte < kFirstPlain || c == '"' || c == '\\' || byte == 0x7F) {
        flush();
        append_escaped_ascii(out, c);
        plain = ++i;
      } else {
        ++i;
      }
      continue;
    }
    const std::size_t length = utf8_character(text.substr(i));
    const std::string_view character = text.substr(i, length);
    if (length == 0) {
      flush();
      out += "\xEF\xBF\xBD";
      plain = ++i;
    } else if (character == "\xE2\x80\xA8" || character == "\xE2\x80\xA9") {
      flush();
      out += character == "\xE2\x80\xA8" ? "\\u2028" : "\\u2029";
      plain = i += length;
    } else {
      i += length;
    }
  }
  flush();
  out += '"';
}

void append_json_number(std::string& out, double value) {
  assert(std::isfinite(value));
  append_number(out, value);
}
void append_json_number(std::string& out, float value) {
  assert(std::isfinite(value));
  append_number(out, value);
}
void append_json_number(std::string& out, std::int64_t value) {
  append_number(out, value);
}

}  // namespace shoal::wire
