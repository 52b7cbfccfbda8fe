#include "shoal/config/secrets.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>

namespace shoal::config {
namespace {

// What the keys of well-known services begin with.
constexpr std::array<std::string_view, 12> kPrefixes = {"sk-", "sk_",  "pk-",  "gsk_",  "xai-",   "hf_",
                                                        "r8_", "AIza", "ghp_", "pplx-", "nvapi-", "csk-"};
constexpr std::size_t kShortestWithPrefix = 8;
// Mistral's keys are 32 letters and digits; names of that length have underscores between their words.
constexpr std::size_t kShortestRandom = 24;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_plain(char c) {
  return is_letter(c) || is_digit(c);
}

}  // namespace

bool looks_like_secret(std::string_view text) {
  if (text.size() >= kShortestWithPrefix &&
      std::ranges::any_of(kPrefixes, [&](std::string_view prefix) { return text.starts_with(prefix); })) {
    return true;
  }
  return text.size() >= kShortestRandom && std::ranges::all_of(text, is_plain) && std::ranges::any_of(text, is_digit) &&
         std::ranges::any_of(text, is_letter);
}

bool names_secret(std::string_view name) {
  std::string plain;
  for (const char c : name) {
    if (is_letter(c)) plain += static_cast<char>(c | 0x20);
  }
  constexpr std::array<std::string_view, 5> kParts = {"apikey", "secret", "password", "bearer", "credential"};
  constexpr std::array<std::string_view, 5> kWhole = {"key", "keys", "token", "auth", "authorization"};
  return std::ranges::find(kWhole, plain) != kWhole.end() ||
         std::ranges::any_of(kParts, [&](std::string_view part) { return plain.find(part) != std::string::npos; });
}

bool may_hold_secret(std::string_view line) {
  const auto of_word = [](char c) { return is_plain(c) || c == '_' || c == '-' || c == '.'; };
  for (std::size_t i = 0; i < line.size();) {
    std::size_t end = i;
    while (end < line.size() && of_word(line[end])) ++end;
    if (looks_like_secret(line.substr(i, end - i))) return true;
    i = end + 1;
  }
  const std::size_t scheme = line.find("://");
  return scheme != std::string_view::npos && line.find_first_of("@?", scheme) != std::string_view::npos;
}

bool is_variable_name(std::string_view text) {
  return !text.empty() && !is_digit(text.front()) &&
         std::ranges::all_of(text, [](char c) { return is_plain(c) || c == '_'; });
}

}  // namespace shoal::config
