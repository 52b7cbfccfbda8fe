#include "shoal/wire/json_walk.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace shoal::wire {
namespace {

constexpr std::size_t kShort = 24;  // bytes of a string that are looked at one by one

bool is_blank(char c) {
  return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

std::size_t skip_blank(std::string_view text, std::size_t at) {
  while (at < text.size() && is_blank(text[at])) ++at;
  return at;
}

// From the opening quote to one past the closing one. Most strings are names and words, and end here.
std::size_t skip_string(std::string_view text, std::size_t at) {
  ++at;
  for (const std::size_t soon = std::min(at + kShort, text.size()); at < soon && text[at] != '\\'; ++at) {
    if (text[at] == '"') return at + 1;
  }
  // By memchr: a string may be an image of megabytes.
  for (std::size_t quote = 0; at < text.size();) {
    if (quote < at) quote = std::min(text.find('"', at), text.size());
    const std::size_t escape = text.substr(at, quote - at).find('\\');
    if (escape == std::string_view::npos) return std::min(quote + 1, text.size());
    at += escape + 2;
  }
  return text.size();
}

std::size_t skip_value(std::string_view text, std::size_t at) {
  std::size_t depth = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (c == '"') {
      at = skip_string(text, at);
    } else if (c == '{' || c == '[') {
      ++depth;
      ++at;
    } else if (c == '}' || c == ']') {
      if (depth == 0) return at;  // of what is around: a bare number ended here
      --depth;
      ++at;
    } else if (depth == 0 && (c == ',' || is_blank(c))) {
      return at;
    } else {
      ++at;
      continue;
    }
    if (depth == 0) return at;
  }
  return text.size();
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The code unit of \uXXXX at the start of `text`; nothing when it does not start with one.
std::optional<std::uint32_t> code_unit(std::string_view text) {
  if (text.size() < 6 || text[0] != '\\' || text[1] != 'u') return std::nullopt;
  std::uint32_t unit = 0;
  for (std::size_t i = 2; i < 6; ++i) {
    const int digit = hex_digit(text[i]);
    if (digit < 0) return std::nullopt;
    unit = unit * 16 + static_cast<std::uint32_t>(digit);
  }
  return unit;
}

// Whether a string's text between its quotes spells `name`, which is plain ASCII.
bool spells(std::string_view raw, std::string_view name) {
  if (raw == name) return true;
  while (!raw.empty() && !name.empty()) {
    std::uint32_t code = static_cast<unsigned char>(raw.front());
    std::size_t length = 1;
    if (raw.front() == '\\') {
      const auto unit = code_unit(raw);
      if (!unit) return false;
      code = *unit;
      length = 6;
    }
    if (code != static_cast<unsigned char>(name.front())) return false;
    raw.remove_prefix(length);
    name.remove_prefix(1);
  }
  return raw.empty() && name.empty();
}

void append_utf8(std::string& out, std::uint32_t code) {
  const auto byte = [&out](std::uint32_t value) { out += static_cast<char>(static_cast<unsigned char>(value)); };
  if (code < 0x80) {
    byte(code);
    return;
  }
  if (code < 0x800) {
    byte(0xC0U | code >> 6U);
  } else if (code < 0x10000) {
    byte(0xE0U | code >> 12U);
    byte(0x80U | (code >> 6U & 0x3FU));
  } else {
    byte(0xF0U | code >> 18U);
    byte(0x80U | (code >> 12U & 0x3FU));
    byte(0x80U | (code >> 6U & 0x3FU));
  }
  byte(0x80U | (code & 0x3FU));
}

// Appends what the escape at the start of `text` stands for; how many bytes it has.
std::size_t append_unescaped(std::string& out, std::string_view text) {
  if (const auto unit = code_unit(text)) {
    const auto low = code_unit(text.substr(6));
    const bool pair = *unit >= 0xD800 && *unit < 0xDC00 && low && *low >= 0xDC00 && *low < 0xE000;
    append_utf8(out, pair ? 0x10000U + ((*unit - 0xD800U) << 10U) + (*low - 0xDC00U) : *unit);
    return pair ? 12 : 6;
  }
  constexpr std::string_view kNames = "bfnrt";
  constexpr std::string_view kValues = "\b\f\n\r\t";
  if (text.size() < 2) return text.size();
  const std::size_t found = kNames.find(text[1]);
  out += found == std::string_view::npos ? text[1] : kValues[found];
  return 2;
}

}  // namespace

JsonWalk::JsonWalk(std::string_view text) : text_(text) {
  const std::size_t begin = skip_blank(text, 0);
  members_ = begin < text.size() && text[begin] == '{';
  at_ = members_ || (begin < text.size() && text[begin] == '[') ? begin + 1 : text.size();
}

bool JsonWalk::next() {
  std::size_t at = skip_blank(text_, at_);
  at_ = text_.size();  // until it is known to go on
  if (at < text_.size() && text_[at] == ',') at = skip_blank(text_, at + 1);
  key_ = {at, at};
  if (members_) {
    if (at >= text_.size() || text_[at] != '"') return false;
    key_.end = skip_string(text_, at);
    at = skip_blank(text_, key_.end);
    if (at >= text_.size() || text_[at] != ':') return false;
    at = skip_blank(text_, at + 1);
  }
  value_ = {at, skip_value(text_, at)};
  if (value_.end == at) return false;
  at_ = value_.end;
  return true;
}

bool JsonWalk::is(std::string_view name) const {
  return key_.end >= key_.begin + 2 && spells(text_.substr(key_.begin + 1, key_.end - key_.begin - 2), name);
}

std::string_view json_member(std::string_view object, std::string_view name) {
  std::string_view found;
  JsonWalk walk(object);
  while (walk.next()) {
    if (walk.is(name)) found = walk.value();
  }
  return found;
}

std::optional<std::string> json_string(std::string_view value) {
  if (value.size() < 2 || !value.starts_with('"') || !value.ends_with('"')) return std::nullopt;
  std::string_view raw = value.substr(1, value.size() - 2);
  std::string text;
  while (true) {
    const std::size_t plain = std::min(raw.find('\\'), raw.size());
    text.append(raw.substr(0, plain));
    raw.remove_prefix(plain);
    if (raw.empty()) return text;
    raw.remove_prefix(append_unescaped(text, raw));
  }
}

std::optional<std::int64_t> json_integer(std::string_view value) {
  const char* end = value.data() + value.size();
  std::int64_t whole = 0;
  if (const auto read = std::from_chars(value.data(), end, whole); read.ec == std::errc() && read.ptr == end) {
    return whole;
  }
  double number = 0;
  const auto read = std::from_chars(value.data(), end, number);
  constexpr double kExact = 9007199254740992;  // 2^53: from here on a double does not know its last digit
  if (read.ec != std::errc() || read.ptr != end || std::trunc(number) != number || std::abs(number) > kExact) {
    return std::nullopt;
  }
  return static_cast<std::int64_t>(number);
}

}  // namespace shoal::wire
