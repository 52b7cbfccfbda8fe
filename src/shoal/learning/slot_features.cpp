#include "shoal/learning/slot_features.h"

#include <algorithm>
#include <array>
#include <initializer_list>

namespace shoal::learning {
namespace {

constexpr std::uint64_t joined(std::uint64_t hash, std::uint64_t next) {
  hash = (hash ^ next) * 0x9e3779b97f4a7c15ULL;
  return hash ^ (hash >> 32U);
}
std::uint64_t hash_of(std::string_view text) {
  std::uint64_t out = 0xcbf29ce484222325ULL;
  for (const char c : text) out = (out ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return joined(out, text.size());
}

enum class Kind : std::uint8_t { kSpace, kLetter, kDigit, kMark };

Kind kind_of(char32_t c) {
  const auto between = [c](char32_t first, char32_t last) { return first <= c && c <= last; };
  if (between(U'0', U'9')) return Kind::kDigit;
  if (between(U'a', U'z') || between(U'A', U'Z')) return Kind::kLetter;
  if (c <= U' ' || between(0x7f, 0xa0) || between(0x2000, 0x200b) || c == 0x2028 || c == 0x2029 || c == 0x3000) {
    return Kind::kSpace;
  }
  if (c < 0x80 || between(0xa1, 0xbf) || between(0x2010, 0x206f) || between(0x3001, 0x303f) || c > 0xffff) {
    return Kind::kMark;
  }
  return Kind::kLetter;
}

// The character at `at`, and how many bytes it has: what is no UTF-8 is a mark of one byte.
struct Character {
  char32_t value = 0;
  std::size_t bytes = 1;
};
Character character_at(std::string_view text, std::size_t at) {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(at);
  if (lead < 0x80) return {lead, 1};
  const std::size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 1;
  if (size == 1 || lead > 0xf4 || at + size > text.size()) return {0xa1, 1};
  char32_t out = lead & (0x7fU >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(at + i) & 0xc0U) != 0x80U) return {0xa1, 1};
    out = (out << 6U) | (byte(at + i) & 0x3fU);
  }
  return {out, size};
}

std::string lower(std::string_view word) {
  std::string out(word);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return out;
}

// "Table" is "Aa+", "2015" is "0+": a run of one kind is its first sign and '+'.
std::string shape_of(std::string_view word) {
  std::string out;
  char last = 0;
  for (const char c : word) {
    const bool upper = c >= 'A' && c <= 'Z';
    const bool small = (c >= 'a' && c <= 'z') || (static_cast<unsigned char>(c) & 0x80U) != 0;
    const char sign = upper ? 'A' : small ? 'a' : c >= '0' && c <= '9' ? '0' : c;
    if (sign != last) {
      out += sign;
    } else if (out.back() != '+') {
      out += '+';
    }
    last = sign;
  }
  return out;
}

// What a number may be: an hour, a day of the month, minutes, a price or a time without a colon, a year.
std::uint64_t size_of_number(std::string_view word) {
  std::uint64_t value = 0;
  for (const char c : word.substr(0, 6)) {
    if (c < '0' || c > '9') return 0;
    value = 10 * value + static_cast<std::uint64_t>(c - '0');
  }
  if (value > 1900 && value < 2100) return 5;
  return value > 99 ? 4 : value > 31 ? 3 : value > 12 ? 2 : 1;
}

constexpr std::uint64_t kNowhere = 0x5bd1e9955bd1e995ULL;

class Reader {
 public:
  Reader(std::string_view text, std::span<const SlotToken> tokens, std::span<const std::string> asked) {
    for (const SlotToken& token : tokens) {
      words_.push_back(lower(text.substr(token.begin, token.end - token.begin)));
      word_hashes_.push_back(hash_of(words_.back()));
      shape_hashes_.push_back(hash_of(shape_of(text.substr(token.begin, token.end - token.begin))));
    }
    for (std::size_t i = 0; i <= tokens.size(); ++i) {
      glued_.push_back(i > 0 && i < tokens.size() && tokens[i - 1].end == tokens[i].begin ? 2 : 1);
    }
    for (const std::string& slot : asked) asked_.push_back(hash_of(slot));
    if (asked_.empty()) asked_.push_back(kNowhere);
  }

  std::vector<std::uint32_t> features(std::size_t i) {
    out_.clear();
    template_ = 0;
    add({});
    places(i);
    const auto at = static_cast<std::ptrdiff_t>(i);
    for (std::ptrdiff_t by = -3; by <= 3; ++by) add({word(at + by)});
    for (std::ptrdiff_t by = -2; by <= 2; ++by) add({shape(at + by)});
    letters(words_[i]);
    add({word(at - 1), word(at)});
    add({word(at), word(at + 1)});
    add({glued_[i], glued_[i + 1]});
    add({glued_[i], word(at)});
    add({glued_[i + 1], word(at)});
    add({glued_[i], word(at), shape(at - 1)});
    add({glued_[i + 1], word(at + 1), shape(at)});
    add({shape(at - 1), shape(at), shape(at + 1)});
    add({word(at - 1), shape(at)});
    add({shape(at), word(at + 1)});
    add({word(at - 2), word(at - 1)});
    add({word(at + 1), word(at + 2)});
    ++template_;
    for (const std::uint64_t slot : asked_) {
      put(template_, joined(slot, shape(at)));
      put(template_ + 1, joined(slot, word(at)));
      put(template_ + 2, slot);
      put(template_ + 3, joined(joined(slot, word(at - 1)), word(at + 1)));
    }
    template_ += 3;
    add({size_of_number(words_[i])});
    std::ranges::sort(out_);
    const auto repeated = std::ranges::unique(out_);
    out_.erase(repeated.begin(), repeated.end());
    return out_;
  }

 private:
  void put(std::uint64_t which, std::uint64_t value) {
    const std::uint64_t hash = joined(joined(0x1b873593cc9e2d51ULL, which), value) * 0xbf58476d1ce4e5b9ULL;
    out_.push_back(static_cast<std::uint32_t>((hash ^ (hash >> 29U)) % kSlotBuckets));
  }
  // Each call is another kind of feature.
  void add(std::initializer_list<std::uint64_t> parts) {
    std::uint64_t value = 1;
    for (const std::uint64_t part : parts) value = joined(value, part);
    put(++template_, value);
  }
  std::uint64_t word(std::ptrdiff_t at) const { return in_place(word_hashes_, at); }
  std::uint64_t shape(std::ptrdiff_t at) const { return in_place(shape_hashes_, at); }
  static std::uint64_t in_place(const std::vector<std::uint64_t>& of, std::ptrdiff_t at) {
    return at < 0 || at >= static_cast<std::ptrdiff_t>(of.size()) ? kNowhere : of[static_cast<std::size_t>(at)];
  }
  void places(std::size_t i) {
    add({std::min<std::uint64_t>(words_.size(), 6)});
    add({std::min<std::uint64_t>(i, 3)});
    add({std::min<std::uint64_t>(words_.size() - 1 - i, 3)});
  }
  void letters(std::string_view word) {
    for (const std::size_t n : {2U, 3U}) add({hash_of(word.substr(0, n))});
    for (const std::size_t n : {2U, 3U, 4U}) add({hash_of(word.substr(word.size() - std::min(n, word.size())))});
    add({word.size()});
  }

  std::vector<std::string> words_;
  std::vector<std::uint64_t> word_hashes_;
  std::vector<std::uint64_t> shape_hashes_;
  std::vector<std::uint64_t> asked_;
  std::vector<std::uint64_t> glued_;  // by token: 2 where no space is before it, else 1
  std::vector<std::uint32_t> out_;
  std::uint64_t template_ = 0;
};

}  // namespace

std::vector<SlotToken> slot_tokens(std::string_view text) {
  std::vector<SlotToken> out;
  Kind last = Kind::kSpace;
  for (std::size_t at = 0; at < text.size();) {
    const Character character = character_at(text, at);
    const Kind kind = kind_of(character.value);
    if (kind != Kind::kSpace) {
      if (kind != last || kind == Kind::kMark) {
        if (out.size() == kMostSlotTokens) return out;
        out.push_back({at, at});
      }
      out.back().end = at + character.bytes;
    }
    last = kind;
    at += character.bytes;
  }
  return out;
}

std::vector<std::vector<std::uint32_t>> slot_features(std::string_view text, std::span<const SlotToken> tokens,
                                                      std::span<const std::string> asked) {
  Reader reader(text, tokens, asked);
  std::vector<std::vector<std::uint32_t>> out;
  out.reserve(tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) out.push_back(reader.features(i));
  return out;
}

}  // namespace shoal::learning
