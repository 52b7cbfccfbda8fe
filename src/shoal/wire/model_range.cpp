#include "shoal/wire/model_range.h"

#include <cassert>

#include "shoal/wire/json_text.h"

namespace shoal::wire {
namespace {

constexpr std::string_view kBlank = " \t\r\n";

std::size_t skip_blank(std::string_view body, std::size_t at) {
  const std::size_t found = body.find_first_not_of(kBlank, at);
  return found == std::string_view::npos ? body.size() : found;
}

// From the opening quote to one past the closing one.
std::size_t skip_string(std::string_view body, std::size_t at) {
  for (++at; at < body.size(); ++at) {
    if (body[at] == '\\') {
      ++at;
    } else if (body[at] == '"') {
      return at + 1;
    }
  }
  return body.size();
}

std::size_t skip_value(std::string_view body, std::size_t at) {
  std::size_t depth = 0;
  while (at < body.size()) {
    const char c = body[at];
    if (c == '"') {
      at = skip_string(body, at);
    } else if (c == '{' || c == '[') {
      ++depth;
      ++at;
    } else if (c == '}' || c == ']') {
      if (depth == 0) return at;  // of the object around: a bare number ended here
      --depth;
      ++at;
    } else if (depth == 0 && (c == ',' || kBlank.find(c) != std::string_view::npos)) {
      return at;
    } else {
      ++at;
      continue;
    }
    if (depth == 0) return at;
  }
  return body.size();
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Whether the JSON string text between its quotes spells `name`, which is plain ASCII letters.
bool spells(std::string_view raw, std::string_view name) {
  while (!raw.empty() && !name.empty()) {
    int code = static_cast<unsigned char>(raw.front());
    std::size_t length = 1;
    if (raw.front() == '\\') {
      if (raw.size() < 6 || raw[1] != 'u') return false;
      code = 0;
      for (std::size_t i = 2; i < 6; ++i) {
        const int digit = hex_digit(raw[i]);
        if (digit < 0) return false;
        code = code * 16 + digit;
      }
      length = 6;
    }
    if (code != static_cast<unsigned char>(name.front())) return false;
    raw.remove_prefix(length);
    name.remove_prefix(1);
  }
  return raw.empty() && name.empty();
}

}  // namespace

std::optional<ByteRange> model_range(std::string_view body) {
  std::size_t at = skip_blank(body, 0);
  if (at >= body.size() || body[at] != '{') return std::nullopt;
  at = skip_blank(body, at + 1);
  while (at < body.size() && body[at] == '"') {
    const std::size_t key_begin = at;
    const std::size_t key_end = skip_string(body, at);
    at = skip_blank(body, key_end);
    if (at >= body.size() || body[at] != ':') return std::nullopt;
    const std::size_t value_begin = skip_blank(body, at + 1);
    const std::size_t value_end = skip_value(body, value_begin);
    if (spells(body.substr(key_begin + 1, key_end - key_begin - 2), "model")) return ByteRange{value_begin, value_end};
    at = skip_blank(body, value_end);
    if (at >= body.size() || body[at] != ',') return std::nullopt;
    at = skip_blank(body, at + 1);
  }
  return std::nullopt;
}

std::string with_model(std::string_view body, ByteRange range, std::string_view model) {
  assert(range.begin <= range.end && range.end <= body.size());
  std::string out;
  out.reserve(body.size() + model.size() + 2);
  out.append(body.substr(0, range.begin));
  append_json_string(out, model);
  out.append(body.substr(range.end));
  return out;
}

}  // namespace shoal::wire
