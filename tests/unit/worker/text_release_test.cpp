// Text is released as soon as it is certain, and never a byte more.
#include "shoal/worker/text_release.h"

#include <gtest/gtest.h>

namespace shoal::worker {
namespace {

// Feeds `pieces`; returns what came out before the end, and with it.
std::pair<std::string, std::string> run(const std::vector<std::string>& pieces, std::vector<std::string> stops) {
  TextRelease release(std::move(stops));
  std::string early;
  for (const std::string& piece : pieces) {
    early += release.feed(piece);
    if (release.stopped()) return {early, early};
  }
  return {early, early + release.finish()};
}

// Every way to cut `text` into three pieces.
template <class Check>
void for_each_cut(const std::string& text, Check check) {
  for (std::size_t a = 0; a <= text.size(); ++a) {
    for (std::size_t b = a; b <= text.size(); ++b) check({text.substr(0, a), text.substr(a, b - a), text.substr(b)});
  }
}

TEST(TextRelease, WholeTextSurvivesEveryCut) {
  const std::string text = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x90\x9F z";
  for_each_cut(text, [&](const std::vector<std::string>& pieces) { EXPECT_EQ(run(pieces, {}).second, text); });
}

TEST(TextRelease, NeverReleasesHalfACharacter) {
  TextRelease release({});
  EXPECT_EQ(release.feed("a\xF0\x9F"), "a");
  EXPECT_EQ(release.feed("\x90"), "");
  EXPECT_EQ(release.feed("\x9F!"), "\xF0\x9F\x90\x9F!");
}

TEST(TextRelease, StopIsCutExactlyAtEveryCut) {
  const std::string text = "one \xE2\x82\xAC STOP two";
  for_each_cut(text, [&](const std::vector<std::string>& pieces) {
    EXPECT_EQ(run(pieces, {" STOP"}).first, "one \xE2\x82\xAC");
  });
}

TEST(TextRelease, StopInsideACharacterCutsBeforeTheCharacter) {
  // The stop string is the last two bytes of the euro sign, as a token split would give it.
  for_each_cut("x\xE2\x82\xACy", [&](const std::vector<std::string>& pieces) {
    EXPECT_EQ(run(pieces, {"\x82\xAC"}).first, "x\xEF\xBF\xBD");
  });
}

TEST(TextRelease, TheEarliestOfSeveralStopsWins) {
  for_each_cut("abcdef",
               [&](const std::vector<std::string>& pieces) { EXPECT_EQ(run(pieces, {"ef", "cd", "de"}).first, "ab"); });
}

TEST(TextRelease, WhatOnlyBeganLikeAStopIsReleasedAtTheEnd) {
  for_each_cut("abab", [&](const std::vector<std::string>& pieces) {
    const auto [early, whole] = run(pieces, {"abac"});
    EXPECT_EQ(whole, "abab");
    EXPECT_EQ(early, "ab") << "the second half could still become the stop string";
  });
}

TEST(TextRelease, AFalseStartIsReleasedAsSoonAsItIsCertain) {
  TextRelease release({"aab"});
  EXPECT_EQ(release.feed("aa"), "");
  EXPECT_EQ(release.feed("a"), "a");
  EXPECT_EQ(release.feed("c"), "aac");
}

TEST(TextRelease, BytesThatCannotBeTextBecomeReplacementCharacters) {
  for (const std::string bad : {"\xFF", "\xC0", "\x80", "\xED\xA0\x80", "\xF5"}) {
    std::string expected;
    for (std::size_t i = 0; i < bad.size(); ++i) expected += "\xEF\xBF\xBD";
    for_each_cut("a" + bad + "b", [&](const std::vector<std::string>& pieces) {
      EXPECT_EQ(run(pieces, {}).second, "a" + expected + "b");
    });
  }
}

TEST(TextRelease, ACharacterCutByTheEndIsVisible) {
  EXPECT_EQ(run({"a\xE2\x82"}, {}).second, "a\xEF\xBF\xBD\xEF\xBF\xBD");
}

}  // namespace
}  // namespace shoal::worker
