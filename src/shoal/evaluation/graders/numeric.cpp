#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "shoal/evaluation/graders/parts.h"

namespace shoal::evaluation {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool digit_at(std::string_view text, std::size_t at) {
  return at < text.size() && is_digit(text[at]);
}

// U+2212 as people's minus.
std::string plain_minus(std::string_view text) {
  constexpr std::string_view kMinus = "\xe2\x88\x92";
  std::string out(text);
  for (std::size_t at = out.find(kMinus); at != std::string::npos; at = out.find(kMinus, at + 1))
    out.replace(at, kMinus.size(), "-");
  return out;
}

// The end of the digits from `at` on, with the commas of thousands between them: "1,234" but not "1,2".
std::size_t whole_part(std::string_view text, std::size_t at) {
  std::size_t end = at;
  while (digit_at(text, end)) ++end;
  if (end - at > 3) return end;
  for (;;) {
    const bool group = end < text.size() && text[end] == ',' && digit_at(text, end + 1) && digit_at(text, end + 2) &&
                       digit_at(text, end + 3) && !digit_at(text, end + 4);
    if (!group) return end;
    end += 4;
  }
}

// The end of the number that begins at `at`, a digit or a point before one.
std::size_t number_end(std::string_view text, std::size_t at) {
  std::size_t end = whole_part(text, at);
  if (end < text.size() && text[end] == '.' && digit_at(text, end + 1)) {
    ++end;
    while (digit_at(text, end)) ++end;
  }
  if (end < text.size() && (text[end] == 'e' || text[end] == 'E')) {
    std::size_t exponent = end + 1;
    if (exponent < text.size() && (text[exponent] == '+' || text[exponent] == '-')) ++exponent;
    if (digit_at(text, exponent)) {
      while (digit_at(text, exponent)) ++exponent;
      if (exponent >= text.size() || !is_letter(text[exponent])) end = exponent;
    }
  }
  return end;
}

std::optional<FoundNumber> number_of(std::string_view text) {
  std::string digits;
  for (const char c : text) {
    if (c != ',') digits += c;
  }
  FoundNumber out{.value = 0, .text = std::string(text)};
  const char* const end = digits.data() + digits.size();
  const auto [stop, fault] = std::from_chars(digits.data(), end, out.value);
  if (fault != std::errc() || stop != end || !std::isfinite(out.value)) return std::nullopt;
  return out;
}

std::optional<FoundNumber> last_in(std::string_view text) {
  std::optional<FoundNumber> last;
  for (std::size_t at = 0; at < text.size();) {
    const bool begins = is_digit(text[at]) || (text[at] == '.' && digit_at(text, at + 1));
    if (!begins) {
      ++at;
      continue;
    }
    const std::size_t end = number_end(text, at);
    // "x2" and "1.2.3" are names, not numbers.
    const bool name =
        (at > 0 && is_letter(text[at - 1])) || (end < text.size() && text[end] == '.' && digit_at(text, end + 1));
    if (name) {
      at = end;
      while (at < text.size() && (is_digit(text[at]) || text[at] == '.')) ++at;
      continue;
    }
    std::size_t first = at;
    // "10-5" has a five in it, and no minus five; "$-5" and "-$5" are the same amount.
    if (first > 0 && text[first - 1] == '$') --first;
    const bool sign =
        first > 0 && text[first - 1] == '-' &&
        (first < 2 || (!is_digit(text[first - 2]) && !is_letter(text[first - 2]) && text[first - 2] != '-'));
    if (auto number = number_of(text.substr(at, end - at))) {
      if (sign) *number = {.value = -number->value, .text = "-" + number->text};
      last = std::move(number);
    }
    at = end;
  }
  return last;
}

// What stands in the braces that open at `at`, as far as they are closed.
std::string_view in_braces(std::string_view text, std::size_t at) {
  std::size_t depth = 0;
  for (std::size_t i = at; i < text.size(); ++i) {
    if (text[i] == '{') ++depth;
    if (text[i] == '}' && --depth == 0) return text.substr(at + 1, i - at - 1);
  }
  return text.substr(std::min(at + 1, text.size()));
}

}  // namespace

std::optional<FoundNumber> last_number(std::string_view given) {
  const std::string text = plain_minus(given);
  constexpr std::string_view kBoxed = "\\boxed{";
  if (const std::size_t at = text.rfind(kBoxed); at != std::string::npos) {
    if (auto boxed = last_in(in_braces(text, at + kBoxed.size() - 1))) return boxed;
  }
  if (const std::size_t at = text.rfind("####"); at != std::string::npos) {
    const std::string_view rest = std::string_view(text).substr(at + 4);
    if (auto marked = last_in(rest.substr(0, rest.find('\n')))) return marked;
  }
  return last_in(text);
}

Grade grade_numeric(const GraderSettings& settings, const Gold& gold, std::string_view answer) {
  const auto said = last_number(answer);
  if (!said) return {.score = 0, .right = false, .why = "there is no number in it"};
  std::string wanted;
  for (const std::string& text : gold.answers) {
    const auto right = last_number(text);
    if (!right) continue;
    wanted = right->text;
    const double room = std::max(settings.tolerance, settings.relative_tolerance * std::abs(right->value));
    if (std::abs(said->value - right->value) <= room)
      return {.score = 1, .right = true, .why = fmt::format("its number is {}", said->text)};
  }
  return {.score = 0, .right = false, .why = fmt::format("its number is {} where {} is right", said->text, wanted)};
}

}  // namespace shoal::evaluation
