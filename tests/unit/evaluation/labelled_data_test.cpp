// Labelled questions, and whether answers to them are right.
#include "shoal/evaluation/labelled_data.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "shoal/evaluation/normalise.h"

namespace shoal::evaluation {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

LabelledQuestion question(const std::string& line) {
  auto parsed = parse_labelled(line);
  EXPECT_TRUE(parsed.ok()) << line;
  return parsed.ok() ? *parsed : LabelledQuestion{};
}
bool right(Grader grader, const std::string& answer, const std::string& wanted) {
  return is_right(grader, answer, question(R"({"prompt":"q","answer":")" + wanted + "\"}"));
}

TEST(Labelled, IsAPromptOrMessagesWithOneAnswerOrMore) {
  const auto plain = question(R"({"prompt":"2+2=","answer":"4"})");
  EXPECT_FALSE(plain.chat());
  EXPECT_EQ(std::get<std::string>(plain.prompt), "2+2=");
  const auto chat =
      question(R"({"messages":[{"role":"system","content":"s"},{"role":"user","content":"u"}],"answers":["a","b"]})");
  ASSERT_TRUE(chat.chat());
  const auto& messages = std::get<std::vector<types::Message>>(chat.prompt);
  EXPECT_EQ(messages[0].role, types::Role::kSystem);
  EXPECT_EQ(messages[1].content, "u");
  EXPECT_EQ(chat.answers, (std::vector<std::string>{"a", "b"}));
}

TEST(Labelled, WhatIsMissingIsNamed) {
  const auto fault = [](const std::string& line) {
    const auto parsed = parse_labelled(line);
    return parsed.ok() ? std::string("none") : parsed.error().message();
  };
  EXPECT_THAT(fault("{"), HasSubstr("JSON"));
  EXPECT_THAT(fault(R"({"answer":"4"})"), HasSubstr("\"prompt\" or \"messages\""));
  EXPECT_THAT(fault(R"({"prompt":"q","messages":[],"answer":"4"})"), HasSubstr("either"));
  EXPECT_THAT(fault(R"({"prompt":7,"answer":"4"})"), HasSubstr("\"prompt\""));
  EXPECT_THAT(fault(R"({"messages":[],"answer":"4"})"), HasSubstr("messages"));
  EXPECT_THAT(fault(R"({"messages":[{"role":"judge","content":"x"}],"answer":"4"})"), HasSubstr("judge"));
  EXPECT_THAT(fault(R"({"prompt":"q"})"), HasSubstr("answer"));
  EXPECT_THAT(fault(R"({"prompt":"q","answers":[]})"), HasSubstr("answer"));
  EXPECT_THAT(fault(R"({"prompt":"q","answer":"..."})"), HasSubstr("letters or digits")) << "it would fit any answer";
  EXPECT_THAT(fault(R"({"prompt":"q","answers":["a",1]})"), HasSubstr("list of texts"));
}

TEST(Graders, NormaliseCaseMarksAndSpaces) {
  EXPECT_EQ(normalised("  \"The  Answer\nis\t42.\" "), "the answer is 42");
  EXPECT_EQ(normalised("-3.5"), "-3.5");
  EXPECT_EQ(normalised("- 3.5."), "3.5") << "of a list";
  EXPECT_EQ(normalised("(C++)."), "c++");
  EXPECT_EQ(normalised("F#, then."), "f#, then");
  EXPECT_EQ(normalised("5+"), "5");
  EXPECT_EQ(normalised("Zürich!"), "zürich");
  EXPECT_EQ(normalised(" ?! "), "");
}

TEST(Graders, ExactIsTheWholeAnswer) {
  EXPECT_TRUE(right(Grader::kExact, " Paris. ", "paris"));
  EXPECT_FALSE(right(Grader::kExact, "It is Paris", "paris"));
  EXPECT_FALSE(right(Grader::kExact, "Paris\nFrance", "paris"));
  EXPECT_TRUE(is_right(Grader::kExact, "b", question(R"({"prompt":"q","answers":["a","b"]})")));
}

TEST(Graders, ContainsLooksForWholeWords) {
  EXPECT_TRUE(right(Grader::kContains, "It is Paris, of course", "paris"));
  EXPECT_FALSE(right(Grader::kContains, "Parisian", "paris"));
  EXPECT_FALSE(right(Grader::kContains, "412", "12"));
  EXPECT_TRUE(right(Grader::kContains, "112, then 12", "12")) << "the second one is whole";
}

TEST(Graders, ANumberIsNotWithinAnother) {
  for (const char* const said : {"It is 5.", "5", "5, I think", "1-5", "(5)", "x=5"})
    EXPECT_TRUE(right(Grader::kContains, said, "5")) << said;
  for (const char* const said : {"It is -5.", "5.25", "1,500 or 5,000", "0.5", "-0.5"})
    EXPECT_FALSE(right(Grader::kContains, said, "5")) << said;
  EXPECT_FALSE(right(Grader::kExact, "-5", "5"));
  EXPECT_TRUE(right(Grader::kExact, "-5.", "-5"));
  EXPECT_FALSE(right(Grader::kExact, "C#", "C++"));
}

TEST(Graders, ALabelIsTheFirstLine) {
  EXPECT_TRUE(right(Grader::kLabel, " PlayMusic\nText: more", "PlayMusic"));
  EXPECT_TRUE(right(Grader::kLabel, "\n playmusic.", "PlayMusic"));
  EXPECT_FALSE(right(Grader::kLabel, "PlayMusics", "PlayMusic"));
  EXPECT_FALSE(right(Grader::kLabel, "", "PlayMusic"));
}

TEST(Labelled, CopiesShareAGroup) {
  EXPECT_EQ(question(R"({"prompt":"What  is it?","answer":"4"})").group(),
            question(R"({"prompt":"what is it","answer":"5"})").group());
  EXPECT_NE(question(R"({"prompt":"a","answer":"4"})").group(), question(R"({"prompt":"b","answer":"4"})").group());
}

struct FilesTest : testing::Test {
  void SetUp() override { fs::create_directories(folder); }
  void TearDown() override { fs::remove_all(folder); }
  const fs::path folder = fs::path(testing::TempDir()) / ("labels_" + std::to_string(::getpid()));
};

TEST_F(FilesTest, AFileHasAQuestionALineAndAFaultHasItsNumber) {
  const fs::path path = folder / "q.jsonl";
  std::ofstream(path) << "{\"prompt\":\"a\",\"answer\":\"1\"}\n\n{\"prompt\":\"b\",\"answer\":\"2\"}\n";
  const auto read = read_labelled(path);
  ASSERT_TRUE(read.ok()) << read.error().message();
  EXPECT_EQ(read->questions.size(), 2U);
  EXPECT_EQ(read->repeated, 0U);
  std::ofstream(path, std::ios::app) << "{\"prompt\":\"a\",\"answer\":\"1\"}\n";
  EXPECT_EQ(read_labelled(path)->questions.size(), 2U) << "a question that is repeated says nothing new";
  EXPECT_EQ(read_labelled(path)->repeated, 1U);
  EXPECT_EQ(read->sha256.size(), 64U);
  std::ofstream(path, std::ios::app) << "{\"prompt\":\"c\"}\n";
  EXPECT_THAT(read_labelled(path).error().message(), HasSubstr("line 5"));
  std::ofstream(path) << "{\"prompt\":\"a\",\"answer\":\"1\"}\n{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
                         "\"answer\":\"1\"}\n";
  EXPECT_THAT(read_labelled(path).error().message(), HasSubstr("two tasks"));
  EXPECT_FALSE(read_labelled(folder / "none").ok());
}

}  // namespace
}  // namespace shoal::evaluation
