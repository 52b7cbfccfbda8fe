#include "shoal/base/suggest.h"

#include <array>

#include <gtest/gtest.h>

namespace shoal::base {
namespace {

constexpr std::array<std::string_view, 6> kNames = {"max_tokens", "temperature", "top_p", "top_k", "serve", "stop"};

TEST(Suggest, EqualButForCaseWins) {
  EXPECT_EQ(suggest("Top_K", kNames), "top_k");
}

TEST(Suggest, OneEditOfEachKind) {
  EXPECT_EQ(suggest("temprature", kNames), "temperature");    // deletion
  EXPECT_EQ(suggest("temperatture", kNames), "temperature");  // insertion
  EXPECT_EQ(suggest("tempirature", kNames), "temperature");   // substitution
  EXPECT_EQ(suggest("sevre", kNames), "serve");               // swap counts once
}

TEST(Suggest, SameWordsInAnotherOrder) {
  EXPECT_EQ(suggest("tokens_max", kNames), "max_tokens");
}

TEST(Suggest, NothingForWhatIsTooFar) {
  EXPECT_EQ(suggest("frequency", kNames), "");
  EXPECT_EQ(suggest("", kNames), "");
  EXPECT_EQ(suggest(std::string(100'000, 'a'), kNames), "");
}

TEST(Suggest, ShortNamesAllowOneEdit) {
  EXPECT_EQ(suggest("stp", kNames), "stop");
}

}  // namespace
}  // namespace shoal::base
