// Answers that are kept, and what the demo comes with.
#include "shoal/cli/answer_cache.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "shoal/cli/demo_cascade.h"

namespace shoal::cli {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

struct AnswersTest : testing::Test {
  void SetUp() override { fs::create_directories(folder); }
  void TearDown() override { fs::remove_all(folder); }
  const fs::path folder = fs::path(testing::TempDir()) / ("answers_" + std::to_string(::getpid()));
};

TEST_F(AnswersTest, AnswersAreThereAgainAfterAKill) {
  {
    auto cache = AnswerCache::open(folder, "a");
    ASSERT_TRUE(cache.ok());
    ASSERT_TRUE(cache->add(3, {"yes\n\"\xc3\xbc", {-0.25F, -1e-7F}, true}).ok());
    ASSERT_TRUE(cache->add(0, {"", {}}).ok());
  }
  fs::path file;
  for (const auto& entry : fs::directory_iterator(folder)) file = entry.path();
  std::ofstream(file, std::ios::app)
      << "{\"question\":5,\"text\":\"of before\",\"logprobs\":[-1]}\n{\"question\":7,\"text\":\"cut o";
  {
    auto cache = AnswerCache::open(folder, "a");
    ASSERT_TRUE(cache.ok());
    EXPECT_EQ(cache->answers().size(), 2U) << "one of which it is not known whether it was cut off is asked again";
    EXPECT_EQ(cache->answers().at(3), (CachedAnswer{"yes\n\"\xc3\xbc", {-0.25F, -1e-7F}, true}));
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
