// Blind comparisons: nobody can tell the sides, what was said counts for the right route, and it goes on another day.
#include "shoal/evaluation/blind.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <unistd.h>

namespace shoal::evaluation {
namespace {

namespace fs = std::filesystem;
using statistics::Preferred;

struct BlindTest : testing::Test {
  void SetUp() override {
    fs::create_directories(folder);
    for (int i = 0; i < 60; ++i) {
      SuiteRow row;
      row.id = "q" + std::to_string(i);
      row.prompt = "question " + row.id;
      suite.rows.push_back(row);
      a.answers[row.id] = "a" + row.id;
      b.answers[row.id] = i < 10 ? a.answers[row.id] : "b" + row.id;
    }
    a.route = "a";
    b.route = "b";
  }
  void TearDown() override { fs::remove_all(folder); }
  Result<BlindComparison> open(std::uint64_t seed = 1) {
    return BlindComparison::open(suite, a, b, seed, 0.05, folder / "j.jsonl");
  }
  // Judges until the test ends or the pairs do; the person likes the answers of `liked`.
  static void judge_all(BlindComparison& comparison, char liked) {
    for (const BlindPair& pair : comparison.pairs()) {
      if (comparison.test().winner() != Preferred::kNeither) return;
      ASSERT_TRUE(comparison.judge(pair, pair.left[0] == liked ? Choice::kLeft : Choice::kRight).ok());
    }
  }
  const fs::path folder = fs::path(testing::TempDir()) / ("blind_" + std::to_string(::getpid()));
  Suite suite;
  Results a;
  Results b;
};

TEST_F(BlindTest, SidesAreDrawnAndTheSameAnswersAreNotAsked) {
  const auto comparison = open();
  ASSERT_TRUE(comparison.ok());
  EXPECT_EQ(comparison->pairs().size(), 50U);
  EXPECT_EQ(comparison->same(), 10U);
  std::size_t swapped = 0;
  for (const BlindPair& pair : comparison->pairs()) {
    EXPECT_EQ(pair.swapped, pair.left[0] == 'b');
    EXPECT_EQ(pair.left.substr(1), pair.id);
    EXPECT_EQ(pair.right.substr(1), pair.id);
    if (pair.swapped) ++swapped;
  }
  EXPECT_GT(swapped, 12U);
  EXPECT_LT(swapped, 38U);
}

TEST_F(BlindTest, WhoIsLikedWinsWhicheverSideItIsOn) {
  auto comparison = open();
  ASSERT_TRUE(comparison.ok());
  judge_all(*comparison, 'b');
  EXPECT_EQ(comparison->test().winner(), Preferred::kSecond);
  EXPECT_EQ(comparison->test().first_wins(), 0U);
  EXPECT_LT(comparison->test().second_wins(), 15U) << "it stops early";
}

TEST_F(BlindTest, WhoAlwaysTakesTheLeftOneTellsNothing) {
  auto comparison = open();
  for (const BlindPair& pair : comparison->pairs()) ASSERT_TRUE(comparison->judge(pair, Choice::kLeft).ok());
  EXPECT_EQ(comparison->test().winner(), Preferred::kNeither);
}

TEST_F(BlindTest, GoesOnWhereItWasAndOnlyThere) {
  std::string third;
  {
    auto comparison = open();
    ASSERT_TRUE(comparison->judge(comparison->pairs()[0], Choice::kTie).ok());
    const BlindPair& pair = comparison->pairs()[1];
    ASSERT_TRUE(comparison->judge(pair, pair.left[0] == 'a' ? Choice::kLeft : Choice::kRight).ok());
    third = comparison->pairs()[2].id;
  }
  std::ofstream(folder / "j.jsonl", std::ios::app) << R"({"id":"q1)";
  const auto again = open();
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->pairs().size(), 48U);
  EXPECT_EQ(again->pairs()[0].id, third);
  EXPECT_EQ(again->ties(), 1U);
  EXPECT_EQ(again->test().first_wins(), 1U);
  EXPECT_FALSE(open(2).ok()) << "another order is another comparison";
  b.answers["q50"] = "new";
  EXPECT_FALSE(open().ok()) << "other answers";
}

TEST_F(BlindTest, WithoutAPairThereIsNothingToAsk) {
  b = a;
  EXPECT_FALSE(open().ok());
}

}  // namespace
}  // namespace shoal::evaluation
