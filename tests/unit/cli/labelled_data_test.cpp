// Labelled questions, graders, and answers that are kept.
#include "shoal/cli/labelled_data.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "shoal/cli/answer_cache.h"
#include "shoal/cli/demo_cascade.h"

namespace shoal::cli {
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
  EXPECT_EQ(normalised("-3.5"), "3.5");
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
  EXPECT_EQ(read->sha256.size(), 64U);
  std::ofstream(path, std::ios::app) << "{\"prompt\":\"c\"}\n";
  EXPECT_THAT(read_labelled(path).error().message(), HasSubstr("line 4"));
  std::ofstream(path) << "{\"prompt\":\"a\",\"answer\":\"1\"}\n{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
                         "\"answer\":\"1\"}\n";
  EXPECT_THAT(read_labelled(path).error().message(), HasSubstr("two tasks"));
  EXPECT_FALSE(read_labelled(folder / "none").ok());
}

TEST_F(FilesTest, AnswersAreThereAgainAfterAKill) {
  {
    auto cache = AnswerCache::open(folder, "a");
    ASSERT_TRUE(cache.ok());
    ASSERT_TRUE(cache->add(3, {"yes\n\"\xc3\xbc", {-0.25F, -1e-7F}}).ok());
    ASSERT_TRUE(cache->add(0, {"", {}}).ok());
  }
  fs::path file;
  for (const auto& entry : fs::directory_iterator(folder)) file = entry.path();
  std::ofstream(file, std::ios::app) << "{\"question\":7,\"text\":\"cut o";
  {
    auto cache = AnswerCache::open(folder, "a");
    ASSERT_TRUE(cache.ok());
    EXPECT_EQ(cache->answers().size(), 2U);
    EXPECT_EQ(cache->answers().at(3), (CachedAnswer{"yes\n\"\xc3\xbc", {-0.25F, -1e-7F}}));
    ASSERT_TRUE(cache->add(7, {"whole", {-1}}).ok()) << "behind a line that was cut off";
  }
  auto cache = AnswerCache::open(folder, "a");
  EXPECT_EQ(cache->answers().at(7).text, "whole");
  EXPECT_TRUE(AnswerCache::open(folder, "b")->answers().empty()) << "another model or file";
}

TEST(Demo, ItsTablesLoadAndAreOfItsRoute) {
  config::Config config;
  amend_for_demo(config, 8080);
  ASSERT_EQ(demo_tables().size(), 2U);
  for (const routing::Table& table : demo_tables()) {
    EXPECT_EQ(table.key.task, config.routes.at(0).task);
    EXPECT_EQ(table.key.sampler, "greedy");
    EXPECT_EQ(table.key.chat_template, "none");
    EXPECT_EQ(table.model, kDemoSmall);
  }
  EXPECT_EQ(demo_tables()[0].key.tokens, 0);
  EXPECT_EQ(demo_tables()[1].key.tokens, config.routes.at(0).commit_tokens);
  EXPECT_EQ(config.providers.at(0).base_url, "http://127.0.0.1:8080/v1");
}

TEST(Demo, AModelThatWasRewrittenIsTold) {
  EXPECT_THAT(demo_text("http://x", "other"), HasSubstr("every question escalates"));
  EXPECT_THAT(demo_text("http://x", demo_tables()[0].key.weights), testing::Not(HasSubstr("NOTE")));
  EXPECT_THAT(demo_text("http://x", ""), HasSubstr("http://x/v1/completions"));
}

}  // namespace
}  // namespace shoal::cli
