#include "shoal/routing/scored_labels.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

namespace shoal::routing {
namespace {

TEST(ScoredLabels, ReadsALine) {
  const auto label =
      parse_scored_label(R"({"score": 0.1234567890123456789, "right": true, "group": "a \"q\" 1", "late": true})");
  ASSERT_TRUE(label.ok()) << label.error().message();
  EXPECT_EQ(label->score, 0.1234567890123456789);
  EXPECT_TRUE(label->right);
  EXPECT_TRUE(label->late);
  EXPECT_EQ(label->group, "a \"q\" 1");
  const auto least = parse_scored_label(R"({"score":-3e-2,"right":false})");
  ASSERT_TRUE(least.ok());
  EXPECT_EQ(least->score, -0.03);
  EXPECT_FALSE(least->late);
  EXPECT_FALSE(parse_scored_label(R"({"score":null,"right":false})")->score);
}

TEST(ScoredLabels, SaysWhatIsWrong) {
  const auto fault = [](std::string_view line) {
    const auto label = parse_scored_label(line);
    return label.ok() ? std::string("none") : label.error().message();
  };
  EXPECT_EQ(fault("[1]"), "it is not a JSON object");
  EXPECT_EQ(fault(R"({"right":true})"), "score: wanted a number from -1000000000 to 1000000000");
  EXPECT_EQ(fault(R"({"score":"0.5","right":true})"), "score: wanted a number from -1000000000 to 1000000000");
  EXPECT_EQ(fault(R"({"score":0.5,"right":1})"), "right: wanted true or false");
  EXPECT_EQ(fault(R"({"score":0.5,"right":true,"group":7})"), "group: wanted a text");
  EXPECT_EQ(fault(R"({"score":0.5,"right":true,"Late":true})"),
            "\"Late\" is none of score, right, group, late and out_of_scope");
  EXPECT_EQ(fault(R"({"score":0.5,"right":true,"out_of_scope":true})"),
            "out_of_scope: what belongs to no label cannot have a right one");
  EXPECT_EQ(fault(R"({"score":0.5,"right":false,"out_of_scope":true})"), "none");
}

TEST(ScoredLabels, ReadsAFile) {
  const std::filesystem::path path = std::filesystem::path(testing::TempDir()) / "scores.jsonl";
  std::ofstream(path) << "{\"score\":0.5,\"right\":true}\n\n{\"score\":0.25,\"right\":false}\n";
  const auto read = read_scored_labels(path);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->labels.size(), 2U);
  EXPECT_EQ(read->sha256.size(), 64U);
  std::ofstream(path) << "{\"score\":0.5,\"right\":true}\n{\"score\":0.5}\n";
  EXPECT_NE(read_scored_labels(path).error().message().find("line 2: right: wanted true or false"), std::string::npos);
  std::ofstream(path) << "\n";
  EXPECT_FALSE(read_scored_labels(path).ok());
  std::filesystem::remove(path);
  EXPECT_EQ(read_scored_labels(path).error().code(), ErrorCode::kIo);
}

}  // namespace
}  // namespace shoal::routing
