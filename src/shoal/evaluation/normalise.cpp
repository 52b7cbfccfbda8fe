#include "shoal/evaluation/normalise.h"

namespace shoal::evaluation {
namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

// Letters, digits, and whatever is not ASCII.
bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         (static_cast<unsigned char>(c) & 0x80U) != 0;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// A minus of a number, and no dash: "-5", "-.5".
bool is_sign(std::string_view text, std::size_t at) {
  if (text[at] != '-' || (at > 0 && is_word(text[at - 1]))) return false;
  const std::size_t digit = at + 1 < text.size() && text[at + 1] == '.' ? at + 2 : at + 1;
  return digit < text.size() && is_digit(text[digit]);
}

// Whether a number goes on there: "5" is not in "5.25", "1,500" or "-5".
bool within_number(std::string_view text, std::size_t at, std::size_t end) {
  const auto joins = [&](std::size_t i) {
    return (text[i] == '.' || text[i] == ',') && i > 0 && is_digit(text[i - 1]) && i + 1 < text.size() &&
           is_digit(text[i + 1]);
  };
  return (at > 0 && is_digit(text[at]) && (joins(at - 1) || is_sign(text, at - 1))) ||
         (end < text.size() && joins(end));
}

// What is part of a name at its end: "C++", "F#".
bool ends_name(std::string_view text) {
  const std::size_t mark = text.find_last_not_of("+#");
  return mark != std::string_view::npos && mark + 1 < text.size() && is_word(text[mark]) && !is_digit(text[mark]);
}

bool is_punctuation(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte > 32 && byte < 127 && !is_word(c);
}

}  // namespace

std::string normalised(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (is_space(c)) {
      if (!out.empty() && out.back() != ' ') out += ' ';
    } else {
      out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
  }
  std::size_t first = 0;
  while (first < out.size() && !is_word(out[first]) && !is_sign(out, first)) ++first;
  out.erase(0, first);
  while (!out.empty() && !is_word(out.back()) && !ends_name(out)) out.pop_back();
  return out;
}

bool has_words(std::string_view text, std::string_view words) {
  for (std::size_t at = text.find(words); at != std::string_view::npos; at = text.find(words, at + 1)) {
    const std::size_t end = at + words.size();
    const bool whole = (at == 0 || !is_word(text[at - 1])) && (end == text.size() || !is_word(text[end]));
    if (whole && !within_number(text, at, end)) return true;
  }
  return false;
}

std::string_view first_line(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  return text.substr(0, text.find('\n'));
}

std::vector<std::string> squad_tokens(std::string_view text) {
  std::vector<std::string> out;
  std::string token;
  const auto end_token = [&] {
    if (!token.empty() && token != "a" && token != "an" && token != "the") out.push_back(token);
    token.clear();
  };
  for (const char c : text) {
    if (is_space(c)) {
      end_token();
    } else if (!is_punctuation(c)) {
      token += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
  }
  end_token();
  return out;
}

}  // namespace shoal::evaluation
