// Fuzzes the tokenizer of BERT models, which reads texts of strangers. Input: 1 byte, the options, then the text. Every
// id is one of the vocabulary, there are no more of them than letters, and a blank ends a word: a text cut at a blank
// gives the tokens of its halves, whatever stands around it.
// SHOAL_PLANTED_BUG has room for two parts of a letter (worker/word_piece.cpp); no letter of the seeds has three.
#include "shoal/worker/word_piece.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

using shoal::worker::WordPiece;

constexpr std::int32_t kUnknown = 1;

void require(bool condition) {
  if (!condition) std::abort();
}

// Every ASCII letter, so that most words can be spelled, and a few of several bytes.
std::vector<std::string> vocabulary() {
  std::vector<std::string> tokens = {"[PAD]", "[UNK]", "▁the", "ing", "▁ᄒ", "ᅡ", "ᆫ",
                                     "▁か",   "▁क",    "ि",    "▁日", "▁é",  "é"};
  for (char letter = '!'; letter <= '~'; ++letter) {
    tokens.push_back(std::string("▁") + letter);
    tokens.emplace_back(1, letter);
  }
  return tokens;
}

void check(const WordPiece& pieces, std::string_view text, std::size_t tokens) {
  const std::vector<std::int32_t> ids = pieces.tokenize(text);
  for (const std::int32_t id : ids) require(id > 0 && static_cast<std::size_t>(id) < tokens);
  require(ids.size() <= 3 * text.size());  // a Hangul syllable of 3 bytes has 3 letters, and no byte has more
  for (std::size_t cut = text.find(' '); cut != text.npos; cut = text.find(' ', cut + 1)) {
    std::vector<std::int32_t> halves = pieces.tokenize(text.substr(0, cut));
    const std::vector<std::int32_t> rest = pieces.tokenize(text.substr(cut + 1));
    halves.insert(halves.end(), rest.begin(), rest.end());
    require(halves == ids);
    if (cut > 200) break;  // quadratic otherwise
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::vector<std::string> kTokens = vocabulary();
  static const WordPiece kPlain(kTokens, {.unknown = kUnknown});
  static const WordPiece kCased(kTokens, {.lowercase = false, .strip_accents = false, .unknown = kUnknown});
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  check((data[0] & 1U) != 0 ? kCased : kPlain, text, kTokens.size());
  return 0;
}
