#include "shoal/learning/text_features.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "shoal/statistics/random.h"

namespace shoal::learning {
namespace {

constexpr std::string_view kQuestion =
    "Which of the following is NOT a prime number?\nA. 2\nB. 4 or 6\nC. Seven\nD. A prime number.\nAnswer:";

float shape_of(const TextFeatures& text, std::string_view name) {
  const auto& names = shape_names();
  const auto found = std::ranges::find(names, name);
  EXPECT_NE(found, names.end()) << name;
  return text.shape()[static_cast<std::size_t>(found - names.begin())];
}

std::map<std::uint32_t, float> buckets(TextFeatures& text) {
  std::map<std::uint32_t, float> out;
  for (const HashedFeature& one : text.words()) EXPECT_TRUE(out.emplace(one.bucket, one.value).second);
  return out;
}

TEST(TextFeatures, WordsInAnyCaseDigitsAndMarks) {
  TextFeatures text;
  text.read("Über x_y 12.5?");
  EXPECT_EQ(text.token_texts(), (std::vector<std::string_view>{"Über", "x", "y", "1", "2", ".", "5", "?"}))
      << "letters beyond ASCII stay as they are";
  EXPECT_EQ(text.tokens().size(), 8U);
  text.read("HELLO");
  const std::uint64_t upper = text.tokens()[0];
  text.read("hello");
  EXPECT_EQ(text.tokens()[0], upper);
  text.read("hell");
  EXPECT_NE(text.tokens()[0], upper);
}

TEST(TextFeatures, LongWordsAreHashedToTheirEnd) {
  TextFeatures text;
  text.read("abcdefghijklmnopq");
  const std::uint64_t one = text.tokens()[0];
  text.read("abcdefghijklmnopr");
  EXPECT_NE(text.tokens()[0], one);
  text.read("abcdefgh");
  const std::uint64_t eight = text.tokens()[0];
  text.read("abcdefgh xyz");
  EXPECT_EQ(text.tokens()[0], eight) << "what follows a word is no part of it";
}

TEST(TextFeatures, EachBucketOnceWithTheLogarithmOfItsCount) {
  TextFeatures text;
  text.read("alpha beta beta beta");
  const auto found = buckets(text);
  std::uint64_t beta = text.tokens()[1];
  EXPECT_FLOAT_EQ(std::abs(found.at(TextFeatures::bucket_of(beta))), std::log(4.0F));
  EXPECT_FLOAT_EQ(std::abs(found.at(TextFeatures::bucket_of(beta, beta))), std::log(3.0F));
  EXPECT_FLOAT_EQ(std::abs(found.at(TextFeatures::bucket_of(text.tokens()[0], beta))), std::log(2.0F));
  EXPECT_FALSE(found.contains(TextFeatures::bucket_of(beta, text.tokens()[0]))) << "in that order alone";
}

TEST(TextFeatures, SignsAreOfBothKinds) {
  TextFeatures text;
  std::string long_text;
  for (int i = 0; i < 100; ++i) long_text += "w" + std::string(static_cast<std::size_t>(i % 7), 'a') + " ";
  text.read(long_text);
  EXPECT_TRUE(std::ranges::any_of(text.words(), [](const HashedFeature& f) { return f.value > 0; }));
  EXPECT_TRUE(std::ranges::any_of(text.words(), [](const HashedFeature& f) { return f.value < 0; }));
}

TEST(TextFeatures, ChoicesAreReadApart) {
  TextFeatures text;
  text.read(kQuestion);
  EXPECT_EQ(shape_of(text, "choices"), 4);
  EXPECT_FLOAT_EQ(shape_of(text, "choices that are numbers"), 0.5F) << "2, and 4 or 6";
  EXPECT_FLOAT_EQ(shape_of(text, "choices with a capital"), 0.5F);
  EXPECT_FLOAT_EQ(shape_of(text, "choices with a full stop"), 0.25F);
  EXPECT_FLOAT_EQ(shape_of(text, "ln longest choice"), std::log1p(15.0F));
  EXPECT_FLOAT_EQ(shape_of(text, "ln shortest choice"), std::log1p(1.0F));
  EXPECT_EQ(shape_of(text, "ends with ?"), 1);
  EXPECT_EQ(shape_of(text, "says which of the following"), 1);
  EXPECT_EQ(shape_of(text, "says not"), 1) << "in any case";
  EXPECT_EQ(shape_of(text, "says never"), 0);
  // "a", "prime" of three words of D; none of A, B, C.
  EXPECT_FLOAT_EQ(shape_of(text, "words of choices in question"), 2.0F / 3 / 4);
  EXPECT_EQ(shape_of(text, "words shared by choices"), 0);
  text.read("x?\nA. one two\nB. two three");
  EXPECT_FLOAT_EQ(shape_of(text, "words shared by choices"), 1.0F / 3);
}

TEST(TextFeatures, PlainTextIsAQuestion) {
  TextFeatures text;
  text.read("How many apples, at $1,200.50 each (or 3*4)?");
  EXPECT_EQ(shape_of(text, "choices"), 0);
  EXPECT_FLOAT_EQ(shape_of(text, "ln numbers"), std::log1p(3.0F));
  EXPECT_FLOAT_EQ(shape_of(text, "ln digits"), std::log1p(8.0F));
  EXPECT_FLOAT_EQ(shape_of(text, "ln question words"), std::log1p(8.0F));
  EXPECT_EQ(shape_of(text, "says how many"), 1);
  EXPECT_FLOAT_EQ(shape_of(text, "ln brackets"), std::log1p(2.0F));
  EXPECT_FLOAT_EQ(shape_of(text, "ln operators"), std::log1p(1.0F));
  text.read("Fill the ____ in");
  EXPECT_EQ(shape_of(text, "says ____"), 1);
}

TEST(TextFeatures, OfALongTextHeadTailAndLength) {
  TextFeatures text;
  const std::string head(TextFeatures::kHeadBytes, 'h');
  const std::string tail(TextFeatures::kTailBytes, 't');
  text.read(head + std::string(100'000, 'm') + tail);
  EXPECT_EQ(text.token_texts(), (std::vector<std::string_view>{head, tail}));
  EXPECT_NEAR(shape_of(text, "ln question bytes"), std::log1p(100'000 + head.size() + tail.size() + 1), 1e-4);
  text.read(head + tail);
  EXPECT_EQ(text.token_texts().size(), 1U) << "all of it fits";
}

TEST(TextFeatures, NothingAndHostileTexts) {
  TextFeatures text;
  for (const std::string& one :
       {std::string(), std::string(" \n\t"), std::string(10'000, '?'), std::string("\nA. "),
        std::string("\0\xff\xfe", 3), std::string("\nA. \nB. \nC. \nD. \nE. \nF. \nG. \nH. \nA. ")}) {
    text.read(one);
    EXPECT_TRUE(std::ranges::all_of(text.shape(), [](float x) { return std::isfinite(x); }));
    buckets(text);
  }
  text.read("");
  EXPECT_TRUE(text.words().empty());
}

// Each mark a token of its own makes the most features that a text can have.
TEST(TextFeatures, TheMostFeaturesFit) {
  TextFeatures text;
  statistics::Random random(1);
  std::string marks;
  for (int i = 0; i < 3'000; ++i) marks += static_cast<char>('!' + random.index(15));
  text.read(marks);
  EXPECT_EQ(text.tokens().size(), TextFeatures::kHeadBytes + TextFeatures::kTailBytes);
  buckets(text);
}

// Stamps run out after 16,383 texts, those of words after 65,535.
TEST(TextFeatures, AHundredThousandTextsLaterATextReadsTheSame) {
  TextFeatures text;
  text.read(kQuestion);
  const auto words = buckets(text);
  const Shape shape = text.shape();
  for (int i = 0; i < 100'000; ++i) text.read(i % 2 == 0 ? "a b c" : "b c d e");
  text.read(kQuestion);
  EXPECT_EQ(buckets(text), words);
  EXPECT_EQ(text.shape(), shape);
}

TEST(TextFeatures, PartsOfTheTokens) {
  TextFeatures text;
  text.read("alpha beta gamma delta");
  const std::vector<std::uint64_t> tokens(text.tokens().begin(), text.tokens().end());
  std::set<std::uint32_t> found;
  for (const HashedFeature& one : text.words_between(1, 3)) found.insert(one.bucket);
  EXPECT_EQ(found, (std::set<std::uint32_t>{TextFeatures::bucket_of(tokens[1]), TextFeatures::bucket_of(tokens[2]),
                                            TextFeatures::bucket_of(tokens[1], tokens[2])}));
  EXPECT_TRUE(text.words_between(2, 2).empty());
}

}  // namespace
}  // namespace shoal::learning
