#include "shoal/learning/class_features.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace shoal::learning {
namespace {

constexpr std::size_t kShortestRun = 2;
constexpr std::size_t kLongestRun = 5;
constexpr std::uint64_t kWordSeed = 0x8f3a51d27c94be61ULL;
constexpr std::uint64_t kPairSeed = 0xd6e8feb86659fd93ULL;
constexpr std::uint64_t kRunSeed = 0x51c7e60b3d82f9a5ULL;

constexpr std::uint64_t joined(std::uint64_t hash, std::uint64_t next) {
  hash = (hash ^ next) * 0x9e3779b97f4a7c15ULL;
  return hash ^ (hash >> 32U);
}
constexpr std::uint64_t finished(std::uint64_t hash) {
  return joined(hash, 0x2545f4914f6cdd1dULL) * 0xbf58476d1ce4e5b9ULL;
}

enum class Kind : std::uint8_t { kSpace, kLetter, kDigit, kMark };

constexpr bool between(char32_t c, char32_t first, char32_t last) {
  return first <= c && c <= last;
}

// Latin, Greek and Cyrillic capitals; others have none, or are rare.
constexpr char32_t lower(char32_t c) {
  if (between(c, U'A', U'Z')) return c + 32;
  if (c < 0xc0) return c;
  if ((between(c, 0xc0, 0xde) && c != 0xd7) || between(c, 0x391, 0x3a9) || between(c, 0x410, 0x42f)) return c + 32;
  if (between(c, 0x400, 0x40f)) return c + 80;
  if (between(c, 0x100, 0x177)) return between(c, 0x139, 0x148) ? c + (c & 1U) : c | 1U;
  return c;
}

constexpr Kind kind_of(char32_t c) {
  if (between(c, U'a', U'z')) return Kind::kLetter;
  if (c <= U' ' || c == 0x7f || c == 0xa0 || c == 0x3000 || between(c, 0x2000, 0x200b) || between(c, 0x80, 0x9f)) {
    return Kind::kSpace;
  }
  if (between(c, U'0', U'9')) return Kind::kDigit;
  if (c < 0x80 || between(c, 0xa1, 0xbf) || between(c, 0x2010, 0x206f) || between(c, 0x3001, 0x303f)) {
    return Kind::kMark;
  }
  return Kind::kLetter;
}

// The character that begins at `at`, which moves behind it; a byte that is no UTF-8 is one of its own.
char32_t next_character(std::string_view text, std::size_t& at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at++);
  if (first < 0x80) return first;
  const int more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : first >= 0xc2 ? 1 : 0;
  if (more == 0 || first > 0xf4 || at + static_cast<std::size_t>(more) > text.size()) return 0xfffdU;
  char32_t out = first & (0x3fU >> static_cast<unsigned>(more));
  for (int i = 0; i < more; ++i) {
    const unsigned char next = byte(at + static_cast<std::size_t>(i));
    if ((next & 0xc0U) != 0x80U) return 0xfffdU;
    out = (out << 6U) | (next & 0x3fU);
  }
  at += static_cast<std::size_t>(more);
  return out;
}

}  // namespace

void ColumnWeights::count(std::span<const SparseValue> row) {
  ++texts_;
  for (const SparseValue& one : row) ++counts_[one.column];
}

void ColumnWeights::finish() {
  if (texts_ == 0) return;
  const auto all = static_cast<double>(1 + texts_);
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    weights_[i] = static_cast<float>(std::log(all / static_cast<double>(1 + counts_[i])));
  }
}

// A character begins at most kLongestRun runs, and the space before its word too; a token and a pair each.
ClassFeatures::ClassFeatures() : stamps_(kSlots), places_(kSlots), row_(kSlots) {
  for (std::size_t i = 0; i < logs_.size(); ++i) logs_[i] = static_cast<float>(std::log1p(static_cast<double>(i)));
}

void ClassFeatures::decode(std::string_view text) {
  // A character has at most four bytes: enough of both ends to have so many characters.
  constexpr std::size_t kHalfBytes = 4 * kHalfCharacters;
  size_ = 0;
  std::size_t at = 0;
  while (at < text.size() && size_ < kHalfCharacters) text_[size_++] = lower(next_character(text, at));
  if (at == text.size()) return;
  std::string_view rest = text.substr(at);
  if (rest.size() > kHalfBytes) {
    rest.remove_prefix(rest.size() - kHalfBytes);
    while (!rest.empty() && (static_cast<unsigned char>(rest.front()) & 0xc0U) == 0x80U) rest.remove_prefix(1);
  }
  std::size_t characters = 0;
  for (std::size_t i = 0; i < rest.size(); ++characters) static_cast<void>(next_character(rest, i));
  std::size_t skipped = 0;
  std::size_t i = 0;
  const bool gap = characters > kHalfCharacters || rest.size() < text.size() - at;
  for (; skipped + kHalfCharacters < characters; ++skipped) static_cast<void>(next_character(rest, i));
  if (gap) text_[size_++] = U' ';
  while (i < rest.size() && size_ < kMostCharacters) text_[size_++] = lower(next_character(rest, i));
}

void ClassFeatures::add(std::uint32_t column, bool negative) {
  const float sign = negative ? -1.0F : 1.0F;
  for (std::size_t slot = (column * 0x9e3779b1U) >> 7U;; ++slot) {
    slot &= mask_;
    if (stamps_[slot] != stamp_) {
      if (count_ == row_.size()) return;
      stamps_[slot] = stamp_;
      places_[slot] = static_cast<std::uint16_t>(count_);
      row_[count_++] = {column, sign};
      return;
    }
    SparseValue& there = row_[places_[slot]];
    if (there.column != column) continue;
    there.value += sign;
    return;
  }
}

// Runs of letters, each digit and each mark; alone and with the one before.
void ClassFeatures::add_words() {
  const auto emit = [this](std::uint64_t hash) {
    const std::uint64_t mixed = finished(hash);
    add(static_cast<std::uint32_t>(mixed >> 48U), (mixed & 0x8000'0000U) != 0);
  };
  std::uint64_t before = 0;
  for (std::size_t i = 0; i < size_;) {
    const Kind kind = kind_of(text_[i]);
    std::uint64_t hash = joined(kWordSeed, text_[i++]);
    if (kind == Kind::kSpace) continue;
    if (kind == Kind::kLetter) {
      while (i < size_ && kind_of(text_[i]) == Kind::kLetter) hash = joined(hash, text_[i++]);
    }
    emit(hash);
    if (before != 0) emit(joined(joined(kPairSeed, before), hash));
    before = hash;
  }
}

void ClassFeatures::add_runs() {
  const auto emit = [this](std::uint64_t hash) {
    const std::uint64_t mixed = finished(hash);
    add(static_cast<std::uint32_t>(kClassWordBuckets + (mixed >> 47U)), (mixed & 0x4000'0000U) != 0);
  };
  for (std::size_t i = 0; i < size_;) {
    if (kind_of(text_[i]) == Kind::kSpace) {
      ++i;
      continue;
    }
    std::size_t end = i;
    while (end < size_ && kind_of(text_[end]) != Kind::kSpace) ++end;
    // Of " word ": position 0 and `length` - 1 are the spaces.
    const std::size_t length = end - i + 2;
    const auto character = [&](std::size_t k) { return k == 0 || k + 1 == length ? U' ' : text_[i + k - 1]; };
    for (std::size_t begin = 0; begin + kShortestRun <= length; ++begin) {
      std::uint64_t hash = kRunSeed;
      const std::size_t longest = std::min(kLongestRun, length - begin);
      for (std::size_t n = 0; n < longest; ++n) {
        hash = joined(hash, character(begin + n));
        if (n + 1 >= kShortestRun) emit(hash);
      }
    }
    i = end;
  }
}

std::span<const SparseValue> ClassFeatures::read(std::string_view text) {
  decode(text);
  if (++stamp_ == 0) {
    std::ranges::fill(stamps_, 0U);
    stamp_ = 1;
  }
  // At most 2 + 5 features for a character and the spaces beside it, in a table that stays half empty.
  mask_ = std::min(kSlots, std::bit_ceil(std::max<std::size_t>(64, 14 * (size_ + 1)))) - 1;
  count_ = 0;
  add_words();
  add_runs();
  for (std::size_t i = 0; i < count_; ++i) {
    float& value = row_[i].value;
    const float size = std::abs(value);
    const float log =
        size < static_cast<float>(logs_.size()) ? logs_[static_cast<std::size_t>(size)] : std::log1p(size);
    value = std::copysign(log, value);
  }
  return {row_.data(), count_};
}

void ClassFeatures::weigh(std::span<SparseValue> row, const ColumnWeights& weights) {
  float of_words = 0;
  float of_runs = 0;
  for (SparseValue& one : row) {
    one.value *= weights[one.column];
    (one.column < kClassWordBuckets ? of_words : of_runs) += one.value * one.value;
  }
  const auto scale = [](float squares) { return squares > 0 ? 1 / std::sqrt(squares) : 0.0F; };
  const float words = scale(of_words);
  const float runs = scale(of_runs);
  for (SparseValue& one : row) one.value *= one.column < kClassWordBuckets ? words : runs;
}

std::span<const SparseValue> ClassFeatures::read(std::string_view text, const ColumnWeights& weights) {
  static_cast<void>(read(text));
  weigh({row_.data(), count_}, weights);
  return {row_.data(), count_};
}

}  // namespace shoal::learning
