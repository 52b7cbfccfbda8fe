// What can be seen of an answer without a model.
#include "shoal/routing/answer_checks.h"

#include <cmath>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoal/routing/json_form.h"
#include "shoal/routing/language.h"

namespace shoal::routing {
namespace {

float of(Check check, std::string_view prompt, std::string_view answer) {
  AnswerReader reader;
  return value_of(reader.read({.prompt = prompt}, answer), check);
}
float of(Check check, std::string_view answer) {
  return of(check, "How many eggs are left of 16, when 3 are eaten?", answer);
}

TEST(Checks, EachHasANameOfItsOwn) {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < kChecks; ++i) names.insert(check_name(static_cast<Check>(i)));
  EXPECT_EQ(names.size(), kChecks);
  EXPECT_EQ(check_name(Check::kCut), "cut");
  EXPECT_EQ(check_name(Check::kFinalHuge), "final_huge");
  EXPECT_EQ(check_name(Check::kGivenWords), "given_words");
}

TEST(Checks, AGoodAnswerHasNothingAgainstIt) {
  AnswerReader reader;
  const Checks found = reader.read({.prompt = "How many eggs are left of 16, when 3 are eaten?"},
                                   "She eats 3 of the 16 eggs, so 16 - 3 = 13 are left.\n#### 13");
  for (const Check check : {Check::kCut,
                            Check::kOpen,
                            Check::kRefused,
                            Check::kOtherLanguage,
                            Check::kRepeated,
                            Check::kRepeatedLines,
                            Check::kFormat,
                            Check::kAsksOn,
                            Check::kEmpty,
                            Check::kWrong,
                            Check::kWrongShare,
                            Check::kUnmarked,
                            Check::kNoNumber,
                            Check::kNotWhole,
                            Check::kFinalGiven,
                            Check::kFinalNotLast,
                            Check::kFinalNotComputed,
                            Check::kFinalHuge,
                            Check::kUnused,
                            Check::kStray,
                            Check::kNoStatement})
    EXPECT_EQ(value_of(found, check), 0) << check_name(check);
  EXPECT_FLOAT_EQ(value_of(found, Check::kStatements), std::log1p(1.0F));
  EXPECT_FLOAT_EQ(value_of(found, Check::kFinal), std::log1p(13.0F));
  EXPECT_EQ(value_of(found, Check::kGiven), 2);
}

TEST(Checks, SumsThatDoNotComeOut) {
  EXPECT_EQ(of(Check::kWrong, "16 - 3 = 12"), 1);
  EXPECT_EQ(of(Check::kWrongShare, "16 - 3 = 12 and 1 + 1 = 2"), 0.5F);
  EXPECT_EQ(of(Check::kWrongPlain, "16 - 3 = 12"), 1);
  EXPECT_EQ(of(Check::kWrongNotes, "16 - 3 = 12"), 0);
  EXPECT_EQ(of(Check::kWrongNotes, "<<16-3=12>>12"), 1);
  EXPECT_EQ(of(Check::kNoStatement, "Thirteen."), 1);
  EXPECT_EQ(of(Check::kNegative, "3 - 16 = -13"), 1);
  EXPECT_EQ(of(Check::kBroken, "16 / 3 = 5.33"), 1);
}

TEST(Checks, TheNumberThatItEndsWith) {
  EXPECT_EQ(of(Check::kUnmarked, "16 - 3 = 13"), 1);
  for (const char* marked : {"#### 13", "The answer is 13.", "Answer: 13", "so \\boxed{13}", "THE ANSWER IS $13"}) {
    EXPECT_EQ(of(Check::kUnmarked, marked), 0) << marked;
    EXPECT_FLOAT_EQ(of(Check::kFinal, marked), std::log1p(13.0F)) << marked;
  }
  EXPECT_EQ(of(Check::kNoNumber, "none at all"), 1);
  EXPECT_EQ(of(Check::kNoNumber, "####"), 1);
  EXPECT_EQ(of(Check::kNotWhole, "#### 12.5"), 1);
  EXPECT_EQ(of(Check::kNotWhole, "it is 12.5"), 1);
  EXPECT_EQ(of(Check::kFinalGiven, "#### 16"), 1);
  EXPECT_EQ(of(Check::kFinalZero, "#### 0"), 1);
  EXPECT_EQ(of(Check::kFinalHuge, "#### 1601"), 1);
  EXPECT_EQ(of(Check::kFinalHuge, "#### 1600"), 0);
  EXPECT_EQ(of(Check::kFinalNotLast, "16 - 3 = 13\n1 + 1 = 2\n#### 13"), 1);
  EXPECT_EQ(of(Check::kFinalNotComputed, "16 - 3 = 13\n1 + 1 = 2\n#### 13"), 0);
  EXPECT_EQ(of(Check::kFinalNotComputed, "16 - 3 = 13\n#### 14"), 1);
  EXPECT_EQ(of(Check::kFinalNotLast, "3 - 16 = -13\n#### -13"), 0) << "the sign is part of it";
}

TEST(Checks, TheNumbersOfThePrompt) {
  const auto prompt = "A dozen eggs cost 3 dollars. I buy 24 and pay with 10.";
  EXPECT_EQ(of(Check::kGiven, prompt, ""), 3);
  EXPECT_EQ(of(Check::kGivenWords, prompt, ""), 1);
  EXPECT_EQ(of(Check::kUnused, prompt, "24 / 12 * 3 = 6"), 1);
  EXPECT_EQ(of(Check::kAnyUnused, prompt, "24 / 12 * 3 = 6"), 1);
  EXPECT_FLOAT_EQ(of(Check::kUnusedShare, prompt, "24 / 12 * 3 = 6"), 1.0F / 3);
  EXPECT_EQ(of(Check::kUnused, prompt, "24 / 12 * 3 = 6\n10 - 6 = 4"), 0);
  EXPECT_EQ(of(Check::kStray, prompt, "24 / 12 * 3 = 6"), 0) << "a dozen is twelve";
  EXPECT_EQ(of(Check::kStray, prompt, "24 / 13 * 3 = 5.5"), 1);
  EXPECT_FLOAT_EQ(of(Check::kLargestGiven, prompt, ""), std::log1p(24.0F));
  EXPECT_FLOAT_EQ(of(Check::kLeastGiven, prompt, ""), std::log1p(3.0F));
}

TEST(Checks, Declining) {
  for (const char* answer : {"I'm sorry, but I can't help.", "I\xE2\x80\x99m sorry.", "As an AI, I have no eggs.",
                             "I cannot answer that.", "Es tut mir leid.", "Lo siento", "Sure. But I don't know."})
    EXPECT_EQ(of(Check::kRefused, answer), 1) << answer;
  for (const char* answer : {"13 eggs.", "She said: cannot be.", "Multicannot", "I can."})
    EXPECT_EQ(of(Check::kRefused, answer), 0) << answer;
  EXPECT_EQ(of(Check::kRefused, std::string(300, 'a') + " I cannot"), 0) << "a refusal stands at the beginning";
  EXPECT_EQ(of(Check::kHedged, "Maybe 13, perhaps 14; assuming that"), 3);
  EXPECT_EQ(of(Check::kDenies, "It cannot be; it isn't."), 2);
  EXPECT_EQ(of(Check::kConcludes, "So, 13. Therefore 13."), 2);
  EXPECT_EQ(of(Check::kAsksOn, "13\n\nQuestion: how many ducks?"), 1);
}

TEST(Checks, WhereItEnds) {
  EXPECT_EQ(of(Check::kOpen, "The eggs that are left after breakfast are the ones that"), 1);
  EXPECT_EQ(of(Check::kOpen, "The eggs that are left after breakfast are thirteen."), 0);
  EXPECT_EQ(of(Check::kOpen, "Thirteen"), 0) << "a word is an answer";
  EXPECT_EQ(of(Check::kOpen, "```\ncode"), 1);
  EXPECT_EQ(of(Check::kOpen, "```\ncode\n```"), 0);
  EXPECT_EQ(of(Check::kEmpty, " \n ... "), 1);
  EXPECT_EQ(of(Check::kEmpty, "\xC3\xA9"), 0);
  AnswerReader reader;
  EXPECT_EQ(value_of(reader.read({.prompt = "a", .cut = true}, "b"), Check::kCut), 1);
}

TEST(Checks, Loops) {
  std::string loop;
  for (int i = 0; i < 20; ++i) loop += "The hens lay eggs and ";
  EXPECT_GT(of(Check::kRepeated, loop), 0.9);
  EXPECT_EQ(of(Check::kRepeated, "The hens lay eggs and the ducks lay eggs and geese do not."), 0);
  EXPECT_FLOAT_EQ(of(Check::kRepeated, "a b c d e a b c d"), 1.0F / 6);
  EXPECT_EQ(of(Check::kRepeatedLines, "one egg\n\none egg\nOne EGG\ntwo"), 2);
  AnswerReader reader;
  const Checks first = reader.read({.prompt = "a"}, loop);
  EXPECT_EQ(reader.read({.prompt = "a"}, loop), first) << "what was read before is forgotten";
  EXPECT_EQ(value_of(reader.read({.prompt = "a"}, "The hens lay eggs"), Check::kRepeated), 0);
}

TEST(Checks, Languages) {
  const auto english = "What is the capital of the country that is to the north of Spain, and how far is it?";
  const auto german = "Die Hauptstadt ist Paris, und das ist nicht weit von der Grenze mit der Schweiz.";
  EXPECT_EQ(language_of(english), Language::kEnglish);
  EXPECT_EQ(language_of(german), Language::kGerman);
  EXPECT_EQ(language_of("Quelle est la capitale? Elle est dans une r\xC3\xA9gion pour les touristes"),
            Language::kFrench);
  EXPECT_EQ(language_of("\xD0\x9F\xD0\xB0\xD1\x80\xD0\xB8\xD0\xB6 \xE2\x80\x94 "
                        "\xD1\x81\xD1\x82\xD0\xBE\xD0\xBB\xD0\xB8\xD1\x86\xD0\xB0"),
            Language::kCyrillic);
  EXPECT_EQ(language_of("\xE5\xB7\xB4\xE9\xBB\x8E\xE6\x98\xAF\xE9\xA6\x96\xE9\x83\xBD"), Language::kChinese);
  EXPECT_EQ(language_of("\xE3\x83\x91\xE3\x83\xAA\xE3\x81\xAF\xE9\xA6\x96\xE9\x83\xBD"), Language::kJapanese);
  EXPECT_EQ(language_of("16 - 3 = 13"), Language::kUnknown);
  EXPECT_EQ(language_of("\xFF\xFE\xC3"), Language::kUnknown);
  EXPECT_EQ(language_of("Paris Lyon Marseille"), Language::kLatin);
  EXPECT_TRUE(differ(Language::kEnglish, Language::kGerman) && differ(Language::kEnglish, Language::kChinese));
  EXPECT_FALSE(differ(Language::kEnglish, Language::kLatin) || differ(Language::kUnknown, Language::kThai));
  EXPECT_EQ(of(Check::kOtherLanguage, english, german), 1);
  EXPECT_EQ(of(Check::kOtherLanguage, english, english), 0);
  EXPECT_EQ(of(Check::kOtherLanguage, std::string("Translate this: ") + english, german), 0);
}

TEST(Checks, Forms) {
  AnswerReader reader;
  const auto format = [&](std::string_view schema, std::string_view answer) {
    return value_of(reader.read({.prompt = "a", .json = true, .schema = schema}, answer), Check::kFormat);
  };
  const auto schema = R"({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"},
      "c": {"enum": ["red", "blue"]}, "l": {"type": "array", "items": {"type": "string"}}}, "additionalProperties": false})";
  for (const char* good : {R"({"n": 1})", R"({"n": 1.0, "c": "red", "l": ["a"]})", " {\"n\": -2}\n"})
    EXPECT_EQ(format(schema, good), 0) << good;
  for (const char* bad : {"", "13", R"({"n": 1.5})", R"({"c": "red"})", R"({"n": 1, "c": "green"})",
                          R"({"n": 1, "x": 2})", R"({"n": 1, "l": [1]})", R"({"n": 1)", R"(Here: {"n": 1})"})
    EXPECT_EQ(format(schema, bad), 1) << bad;
  EXPECT_EQ(format("", "[1]"), 0);
  EXPECT_EQ(format("", "one"), 1);
  EXPECT_EQ(format("{", "[1]"), 0) << "a schema that is none asks for JSON alone";
  EXPECT_EQ(of(Check::kFormat, "one"), 0) << "nobody asked for JSON";
  EXPECT_FALSE(has_json_form(R"({"a": 1})", R"({"properties": {"a": false}})"));
  EXPECT_FALSE(has_json_form("2", R"({"const": 1})"));
  EXPECT_TRUE(has_json_form("null", R"({"type": ["string", "null"]})"));
  EXPECT_FALSE(has_json_form("true", R"({"type": ["string", "null"]})"));
  std::string deep;
  for (int i = 0; i < 500; ++i) deep += R"({"items": )";
  EXPECT_TRUE(has_json_form("[1]", deep));
}

TEST(Checks, AreFiniteForAnyBytes) {
  AnswerReader reader;
  std::string bytes;
  std::uint32_t state = 1;
  for (int i = 0; i < 300'000; ++i) bytes += static_cast<char>((state = state * 1664525U + 1013904223U) >> 24U);
  const std::string cases[] = {"",
                               bytes,
                               std::string(300'000, '9'),
                               std::string(200'000, '\n'),
                               std::string(100'000, '`'),
                               std::string(100'000, '#'),
                               std::string("\0\0", 2),
                               "#### " + std::string(400, '9'),
                               "1e999 = nan + inf"};
  for (const std::string& answer : cases) {
    for (const float value : reader.read({.prompt = bytes, .json = true}, answer)) EXPECT_TRUE(std::isfinite(value));
    for (const float value : reader.read({.prompt = answer}, answer)) EXPECT_TRUE(std::isfinite(value));
  }
}

TEST(Checks, OfLongTextsBothEndsCount) {
  const std::string filler(2 * kMostAnswer, ' ');
  EXPECT_EQ(of(Check::kRefused, "I cannot help." + filler + "#### 13"), 1);
  EXPECT_EQ(of(Check::kUnmarked, "I cannot help." + filler + "#### 13"), 0);
  EXPECT_EQ(of(Check::kUnused, "7 " + std::string(2 * kMostPrompt, ' ') + "8", "7 + 1 = 8"), 0);
  EXPECT_EQ(of(Check::kGiven, "7 " + std::string(2 * kMostPrompt, ' ') + "8", "7 + 1 = 8"), 2);
}

}  // namespace
}  // namespace shoal::routing
