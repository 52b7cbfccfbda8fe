// Texts are split as BERT's own tokenizer splits them; tests/e2e/test_minilm.py has what it answers for whole
// sentences.
#include "shoal/worker/word_piece.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace shoal::worker {
namespace {

const std::vector<std::string> kTokens = {
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁un", "aff", "able", "▁cafe",       "▁i", "▁.", "▁[", "▁cl", "s",
    "▁]",    "▁日",   "▁本",   "▁が",   "▁か", "▁ᄒ", "ᅡ",    "ᆫ",           "▁क", "ि",  "▁a", "b",   "▁b",
    "▁$",    "▁³",    "▁ß",    "▁ο",    "σ",   "a",   "▁É",   "▁cafe\u0301", "▁ক", "ে",  "া"};

WordPiece make(WordPieceOptions options = {.unknown = 1}) {
  return WordPiece(kTokens, options);
}

// The tokens of a text, separated by spaces, with "##" before those that continue a word.
std::string split(const std::string& text, WordPieceOptions options = {.unknown = 1}) {
  std::string line;
  for (const std::int32_t id : make(options).tokenize(text)) {
    const std::string& token = kTokens.at(static_cast<std::size_t>(id));
    line += line.empty() ? "" : " ";
    line += token.starts_with("▁") ? token.substr(3) : token.starts_with("[") ? token : "##" + token;
  }
  return line;
}

TEST(WordPiece, TakesTheLongestTokenFirst) {
  EXPECT_EQ(split("Unaffable"), "un ##aff ##able");
  EXPECT_EQ(split("unaffablé"), "un ##aff ##able");
}

TEST(WordPiece, AWordThatCannotBeSpelledIsUnknownAsAWhole) {
  EXPECT_EQ(split("unaffx a"), "[UNK] a");
  EXPECT_EQ(split("xun"), "[UNK]");
}

TEST(WordPiece, PunctuationAndIdeographsStandAlone) {
  EXPECT_EQ(split("a.b$a"), "a . b $ a");
  EXPECT_EQ(split("a日本b"), "a 日 本 b");
}

TEST(WordPiece, SpecialTokensAreNotReadFromText) {
  EXPECT_EQ(split("[CLS]"), "[ cl ##s ]");
}

TEST(WordPiece, AccentsGoHoweverTheyAreWritten) {
  EXPECT_EQ(split("CAF\u00C9 cafe\u0301"), "cafe cafe");
  EXPECT_EQ(split("\u0130"), "i");
  EXPECT_EQ(split("が"), "か");
}

TEST(WordPiece, HangulIsDecomposedIntoAllItsLetters) {
  EXPECT_EQ(split("한"), "ᄒ ##ᅡ ##ᆫ");
  EXPECT_EQ(split("하"), "ᄒ ##ᅡ");
}

TEST(WordPiece, SpacingVowelSignsAreNoAccents) {
  EXPECT_EQ(split("कि"), "क ##ि");
  EXPECT_EQ(split("ক\u09CB"), "ক ##ে ##া");  // decomposes into two spacing signs
}

TEST(WordPiece, ControlCharactersAreLeftOutAndDoNotSplit) {
  const std::string left_out = std::string(1, '\0') + "\x01\x0B\x0C\x7F\u0085\u200B\uFEFF\uFFFD\uE000";
  EXPECT_EQ(split("a" + left_out + "b"), "a ##b");
  EXPECT_EQ(split("a\tb\nb\r\nb\u00A0b\u2028b\u3000b"), "a b b b b b b");
}

TEST(WordPiece, BytesThatAreNoUtf8AreLeftOut) {
  EXPECT_EQ(split("a\xFF\xC3"
                  "b\xE2\x82"),
            "a ##b");
}

TEST(WordPiece, WordsOfMoreThanAHundredLettersAreUnknown) {
  EXPECT_EQ(make().tokenize(std::string(100, 'a')).size(), 100U);
  EXPECT_EQ(split(std::string(101, 'a')), "[UNK]");
  EXPECT_EQ(make().tokenize("か" + std::string(99, 'a')).size(), 100U) << "letters are counted, not bytes";
}

TEST(WordPiece, CasedVocabulariesKeepCaseAndAccents) {
  const WordPieceOptions cased{.lowercase = false, .strip_accents = false, .unknown = 1};
  EXPECT_EQ(split("\u00C9", cased), "\u00C9");
  EXPECT_EQ(split("cafe\u0301", cased), "cafe\u0301");
  EXPECT_EQ(split("Un", cased), "[UNK]");
}

TEST(WordPiece, NothingGivesNothing) {
  EXPECT_TRUE(make().tokenize("").empty());
  EXPECT_TRUE(make().tokenize(" \n\u200B").empty());
  EXPECT_EQ(WordPiece({}, {.unknown = 7}).tokenize("a b"), (std::vector<std::int32_t>{7, 7}));
}

}  // namespace
}  // namespace shoal::worker
