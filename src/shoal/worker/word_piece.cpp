#include "shoal/worker/word_piece.h"

#include <algorithm>

#include <utf8proc.h>

namespace shoal::worker {
namespace {

constexpr std::string_view kBeginning = "\xE2\x96\x81";
// Longer words are unknown. Source: max_input_chars_per_word of BERT's vocabularies.
constexpr std::size_t kMaxLetters = 100;

// Of one letter's canonical decomposition. The longest have 4 parts (U+1F82).
#ifdef SHOAL_PLANTED_BUG
constexpr utf8proc_ssize_t kMostParts = 2;
#else
constexpr utf8proc_ssize_t kMostParts = 8;
#endif

bool is_space(utf8proc_int32_t letter) {
  if (letter == '\t' || letter == '\n' || letter == '\r') return true;
  const auto category = utf8proc_category(letter);
  return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP;
}

bool is_left_out(utf8proc_int32_t letter) {
  if (letter == 0xFFFD) return true;
  const auto category = utf8proc_category(letter);
  return category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_CO;
}

bool is_punctuation(utf8proc_int32_t letter) {
  const bool ascii = (letter >= '!' && letter <= '/') || (letter >= ':' && letter <= '@') ||
                     (letter >= '[' && letter <= '`') || (letter >= '{' && letter <= '~');
  const auto category = utf8proc_category(letter);
  return ascii || (category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO);
}

// Source: the reference implementation of BERT, with the one bound (2B920) that huggingface/tokenizers mistyped.
bool is_ideograph(utf8proc_int32_t letter) {
  return (letter >= 0x4E00 && letter <= 0x9FFF) || (letter >= 0x3400 && letter <= 0x4DBF) ||
         (letter >= 0x20000 && letter <= 0x2A6DF) || (letter >= 0x2A700 && letter <= 0x2B73F) ||
         (letter >= 0x2B740 && letter <= 0x2B81F) || (letter >= 0x2B920 && letter <= 0x2CEAF) ||
         (letter >= 0xF900 && letter <= 0xFAFF) || (letter >= 0x2F800 && letter <= 0x2FA1F);
}

void append_utf8(std::string& text, utf8proc_int32_t letter) {
  utf8proc_uint8_t bytes[4];
  const auto size = utf8proc_encode_char(letter, bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
}

// Calls visit(letter) for each code point; what is no UTF-8 is passed over byte by byte.
template <typename Visit>
void each_letter(std::string_view text, Visit visit) {
  const auto* at = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  auto left = static_cast<utf8proc_ssize_t>(text.size());
  while (left > 0) {
    utf8proc_int32_t letter = 0;
    const utf8proc_ssize_t read = utf8proc_iterate(at, left, &letter);
    if (read > 0) visit(letter);
    at += std::max<utf8proc_ssize_t>(read, 1);
    left -= std::max<utf8proc_ssize_t>(read, 1);
  }
}

// Without control characters, with plain spaces, and with a space on either side of an ideograph.
std::string cleaned(std::string_view text) {
  std::string clean;
  clean.reserve(text.size());
  each_letter(text, [&clean](utf8proc_int32_t letter) {
    if (is_space(letter)) {
      clean += ' ';
    } else if (is_ideograph(letter)) {
      clean += ' ';
      append_utf8(clean, letter);
      clean += ' ';
    } else if (!is_left_out(letter)) {
      append_utf8(clean, letter);
    }
  });
  return clean;
}

// Canonically decomposed, without nonspacing marks.
std::string without_accents(std::string_view text) {
  std::string plain;
  plain.reserve(text.size());
  each_letter(text, [&plain](utf8proc_int32_t letter) {
    utf8proc_int32_t parts[kMostParts];
    int boundary = 0;
    const auto count = utf8proc_decompose_char(letter, parts, kMostParts, UTF8PROC_DECOMPOSE, &boundary);
    for (utf8proc_ssize_t i = 0; i < count; ++i) {
      if (utf8proc_category(parts[i]) != UTF8PROC_CATEGORY_MN) append_utf8(plain, parts[i]);
    }
  });
  return plain;
}

}  // namespace

WordPiece::WordPiece(std::span<const std::string> tokens, WordPieceOptions options) : options_(options) {
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    const std::string_view token = tokens[id];
    const bool begins = token.starts_with(kBeginning);
    const std::string_view spelling = begins ? token.substr(kBeginning.size()) : token;
    longest_ = std::max(longest_, spelling.size());
    if (!spelling.empty()) (begins ? beginnings_ : continuations_).emplace(spelling, static_cast<std::int32_t>(id));
  }
}

std::vector<std::int32_t> WordPiece::tokenize(std::string_view text) const {
  std::string clean = cleaned(text);
  if (options_.strip_accents) clean = without_accents(clean);
  std::vector<std::int32_t> ids;
  std::string word;
  std::size_t letters = 0;
  const auto end_word = [&] {
    append_word(word, letters, ids);
    word.clear();
    letters = 0;
  };
  each_letter(clean, [&](utf8proc_int32_t letter) {
    if (letter == ' ') return end_word();
    const bool alone = is_punctuation(letter);
    if (alone) end_word();
    append_utf8(word, options_.lowercase ? utf8proc_tolower(letter) : letter);
    ++letters;
    if (alone) end_word();
  });
  end_word();
  return ids;
}

void WordPiece::append_word(std::string_view word, std::size_t letters, std::vector<std::int32_t>& ids) const {
  if (word.empty()) return;
  if (letters > kMaxLetters) return ids.push_back(options_.unknown);
  const std::size_t before = ids.size();
  for (std::size_t at = 0; at < word.size();) {
    const Ids& known = at == 0 ? beginnings_ : continuations_;
    std::size_t length = std::min(longest_, word.size() - at);
    auto found = known.end();
    for (; length > 0 && found == known.end(); --length) found = known.find(word.substr(at, length));
    if (found == known.end()) {
      ids.resize(before);
      return ids.push_back(options_.unknown);
    }
    ids.push_back(found->second);
    at += found->first.size();
  }
}

}  // namespace shoal::worker
