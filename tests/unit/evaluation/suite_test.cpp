// Suites: what they say, and every fault at its place.
#include "shoal/evaluation/suite.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace shoal::evaluation {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

struct SuiteTest : testing::Test {
  void SetUp() override { fs::create_directories(folder); }
  void TearDown() override { fs::remove_all(folder); }
  Result<Suite> read(const std::string& toml, const std::string& rows) {
    std::ofstream(folder / "suite.toml") << toml;
    std::ofstream(folder / "rows.jsonl") << rows;
    return read_suite(folder);
  }
  const fs::path folder = fs::path(testing::TempDir()) / ("suite_" + std::to_string(::getpid()));
};

constexpr auto kToml = R"(name = "small"
description = "d"
data = "rows.jsonl"
slices = ["topic"]
margin = 0.02

[grader]
kind = "label"

[request]
max_tokens = 8
system = "Be brief."
stop = ["\n"]
)";

TEST_F(SuiteTest, IsTomlAndRows) {
  const auto suite =
      read(kToml,
           "{\"id\":\"a\",\"prompt\":\"q1\",\"answer\":\"yes\",\"topic\":\"x\"}\n\n"
           "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"q2\"}],"
           "\"answers\":[\"no\",\"nay\"],\"topic\":3}\n");
  ASSERT_TRUE(suite.ok()) << suite.error().message();
  EXPECT_EQ(suite->name, "small");
  EXPECT_EQ(suite->margin, 0.02);
  EXPECT_FALSE(suite->by_score);
  ASSERT_EQ(suite->rows.size(), 2U);
  EXPECT_EQ(suite->rows[0].id, "a");
  EXPECT_EQ(suite->rows[1].id.size(), 16U);
  EXPECT_THAT(suite->rows[0].slices, testing::ElementsAre("x"));
  EXPECT_THAT(suite->rows[1].slices, testing::ElementsAre("3"));
  EXPECT_THAT(suite->rows[1].gold.answers, testing::ElementsAre("no", "nay"));
  EXPECT_THAT(suite->labels(), testing::ElementsAre("no", "yes"));
  EXPECT_EQ(chat_body(*suite, suite->rows[0], "r"),
            R"({"model":"r","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"q1"}],)"
            R"("max_tokens":8,"temperature":0E0,"stop":["\n"]})");
  EXPECT_THAT(chat_body(*suite, suite->rows[1], "r"), testing::Not(HasSubstr("Be brief"))) << "it has its own";
}

TEST_F(SuiteTest, OneFileIsASuiteTooAndItsHashIsOfAllOfIt) {
  const std::string row = "{\"prompt\":\"q\",\"answer\":\"a\"}\n";
  const auto first = read(kToml, row);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(read_suite(folder / "suite.toml")->sha256, first->sha256);
  EXPECT_NE(read(kToml, row + "{\"prompt\":\"r\",\"answer\":\"a\"}\n")->sha256, first->sha256);
  EXPECT_FALSE(read_suite(folder / "none.toml").ok());
}

TEST_F(SuiteTest, EveryFaultIsToldAtItsPlace) {
  const auto suite = read(
      "nmae = \"x\"\ndata = \"rows.jsonl\"\nmargin = 2\nslices = [\"t\"]\n[grader]\nkind = \"lable\"\nright_from = "
      "\"a\"\n[request]\n"
      "max_tokens = 0\n",
      "{\"prompt\":\"q\",\"answer\":\"a\"}\nnot json\n{\"prompt\":\"q\"}\n{\"prompt\":\"q\",\"answer\":\"a\"}\n"
      "{\"prompt\":1,\"answer\":\"a\"}\n{\"prompt\":\"z\",\"answer\":\"a\",\"t\":[]}\n");
  ASSERT_FALSE(suite.ok());
  EXPECT_EQ(suite.error().code(), ErrorCode::kInvalidConfig);
  const std::string& all = suite.error().message();
  for (const char* const part :
       {"suite.toml:1: unknown key `nmae`; did you mean `name`?", "suite.toml:3: `margin`: wanted a number from 0 to 1",
        "suite.toml:6: `grader.kind`", "did you mean `label`?", "suite.toml:7: `grader.right_from`",
        "suite.toml:9: `request.max_tokens`", "rows.jsonl:2: it is not a JSON object",
        "rows.jsonl:3: the grader normalised needs \"answer\"", "rows.jsonl:4: the id",
        "rows.jsonl:5: \"prompt\" is not a text", "rows.jsonl:6: \"t\""}) {
    EXPECT_THAT(all, HasSubstr(part));
  }
}

TEST_F(SuiteTest, MissingPartsAndBadTomlAreTold) {
  EXPECT_THAT(read("", "").error().message(), HasSubstr("`grader`: missing"));
  EXPECT_THAT(read("name = ", "").error().message(), HasSubstr("suite.toml:1"));
  EXPECT_THAT(read(kToml, "").error().message(), HasSubstr("no question"));
  EXPECT_THAT(read("name = \"a/b\"\ndata = \"rows.jsonl\"\n[grader]\nkind = \"exact\"\n", "").error().message(),
              HasSubstr("`name`"));
  EXPECT_THAT(
      read("name = \"a\"\ndata = \"rows.jsonl\"\n[grader]\nkind = \"exact\"\nextract = \"(\"\n", "").error().message(),
      HasSubstr("`grader.extract`"));
}

TEST_F(SuiteTest, ManyFaultsAreCut) {
  std::string rows;
  for (int i = 0; i < 50; ++i) rows += "x\n";
  EXPECT_THAT(read(kToml, rows).error().message(), HasSubstr("and 30 more"));
}

constexpr auto kJudgeToml = R"(name = "letters"
data = "rows.jsonl"
[grader]
kind = "judge"
judge = "large/model"
rubric = "polite"
gold = "gold.jsonl"
)";

std::string gold_lines(int pairs) {
  std::string out;
  for (int i = 0; i < pairs; ++i)
    out +=
        "{\"prompt\":\"q" + std::to_string(i) + R"(","a":"x","b":"y","better":")" + (i % 2 == 0 ? "a" : "b") + "\"}\n";
  return out;
}

TEST_F(SuiteTest, AJudgeComesWithPairsThatPeopleLabelled) {
  const std::string row = "{\"prompt\":\"q\",\"answer\":\"r\"}\n";
  const auto with = [&](const std::string& gold, const std::string& toml = kJudgeToml) {
    std::ofstream(folder / "gold.jsonl") << gold;
    return read(toml, row);
  };
  const auto good = with(gold_lines(200));
  ASSERT_TRUE(good.ok()) << good.error().message();
  EXPECT_EQ(good->judge->gold.size(), 200U);
  EXPECT_TRUE(good->judge->pairwise);
  EXPECT_TRUE(good->by_score);
  EXPECT_EQ(good->grader.right_from, 0.5);
  EXPECT_THAT(with(gold_lines(199)).error().message(), HasSubstr("people decided 199 pairs"));
  // The same pair the other way round is the same pair.
  EXPECT_THAT(
      with(gold_lines(200) + "{\"prompt\":\"q7\",\"a\":\"y\",\"b\":\"x\",\"better\":\"a\"}\n").error().message(),
      HasSubstr("gold.jsonl:201: the same pair"));
  EXPECT_THAT(
      with(gold_lines(200) + "{\"prompt\":\"p\",\"a\":\"y\",\"b\":\"x\",\"better\":\"first\"}\n").error().message(),
      HasSubstr("gold.jsonl:201: \"better\""));
  const std::string sha = with(gold_lines(200))->sha256;
  EXPECT_NE(with(gold_lines(201))->sha256, sha);
  std::string toml = kJudgeToml;
  toml.replace(toml.find("rubric = \"polite\""), 17, "mode = \"both\"");
  const std::string faults = with(gold_lines(200), toml).error().message();
  EXPECT_THAT(faults, HasSubstr("`grader.mode`"));
  EXPECT_THAT(faults, HasSubstr("`grader.rubric`: missing"));
  EXPECT_THAT(
      read("name = \"x\"\ndata = \"rows.jsonl\"\n[grader]\nkind = \"exact\"\nrubric = \"r\"\n", row).error().message(),
      HasSubstr("suite.toml:5: `grader.rubric`"));
}

TEST_F(SuiteTest, FilesOfOtherSystemsAreReadAndOthersFaultsAreTold) {
  const std::string toml = "name = \"x\"\ndata = \"rows.jsonl\"\n[grader]\nkind = \"exact\"\n";
  const std::string plain = "{\"prompt\":\"a\",\"answer\":\"b\"}\n{\"prompt\":\"c\",\"answer\":\"d\"}\n";
  const auto unix_lines = read(toml, plain);
  ASSERT_TRUE(unix_lines.ok());
  std::string windows = "\xEF\xBB\xBF";
  for (const char c : plain) windows += c == '\n' ? "\r\n" : std::string(1, c);
  const auto windows_lines = read("\xEF\xBB\xBF" + toml, windows);
  ASSERT_TRUE(windows_lines.ok()) << windows_lines.error().message();
  EXPECT_EQ(windows_lines->rows[0].id, unix_lines->rows[0].id) << "the same questions have the same names";
  EXPECT_EQ(windows_lines->rows[1].id, unix_lines->rows[1].id);
  const std::string deep = "{\"prompt\":\"a\",\"answer\":" + std::string(5000, '[') + std::string(5000, ']') + "}\n";
  const std::string faults =
      read(toml, plain + "{\"prompt\":\"\xFF\",\"answer\":\"b\"}\n" + deep + plain + "{} {}\n{\"prompt\":")
          .error()
          .message();
  EXPECT_THAT(faults, HasSubstr("rows.jsonl:3: it is not a JSON object: "));
  EXPECT_THAT(faults, HasSubstr("at byte"));
  EXPECT_THAT(faults, HasSubstr("rows.jsonl:4: it is not a JSON object: "));
  EXPECT_THAT(faults, HasSubstr("rows.jsonl:5: the id"));
  EXPECT_THAT(faults, HasSubstr("rows.jsonl:7: it is not a JSON object alone"));
  EXPECT_THAT(faults, HasSubstr("rows.jsonl:8: it is not a JSON object: incomplete"));
}

TEST_F(SuiteTest, AFolderIsNoFile) {
  const auto folder_as_data = read("name = \"x\"\ndata = \".\"\n[grader]\nkind = \"exact\"\n", "");
  ASSERT_FALSE(folder_as_data.ok());
  EXPECT_EQ(folder_as_data.error().code(), ErrorCode::kIo);
  EXPECT_THAT(folder_as_data.error().message(), HasSubstr("Is a directory"));
}

}  // namespace
}  // namespace shoal::evaluation
