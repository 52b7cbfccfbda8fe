// Which candidate is chosen on which terms, and that the store changes a name's file and changes it back without a
// file too many or too few.
#include "shoal/models/rewrite.h"

#include <algorithm>
#include <fstream>
#include <limits>

#include <gtest/gtest.h>
#include <unistd.h>

#include "shoal/models/store.h"

namespace shoal::models {
namespace {

namespace fs = std::filesystem;

// Twice as fast in everything, with as much memory, and as good.
RewriteCandidate candidate(std::string type) {
  RewriteCandidate out;
  out.type = std::move(type);
  out.source = {100, 1000, 400, 100, 200, 20};
  out.figures = {100, 1000, 800, 200, 400, 20};
  out.prefill_ratio = out.decode_ratio = out.streams_ratio = 2;
  out.kl = 0.0005;
  out.agreement = 0.99;
  return out;
}

TEST(RewriteRule, WhatIsFreeAndFasterIsTaken) {
  EXPECT_EQ(objection(candidate("Q8_0"), {}), "");
  EXPECT_EQ(choose({candidate("Q8_0")}, {}), 0U);
  EXPECT_EQ(choose({}, {}), std::nullopt);
}

TEST(RewriteRule, EachTermObjectsWithItsNumbers) {
  RewriteCandidate far = candidate("Q4_0");
  far.kl = 0.02;
  EXPECT_EQ(objection(far, {}), "KL 0.0200, at most 0.001");
  RewriteCandidate large = candidate("Q8_0");
  large.figures.resident_bytes = 1150;
  EXPECT_EQ(objection(large, {}), "+15 % memory, at most +10 %");
  RewriteCandidate slow = candidate("Q8_0");
  slow.prefill_ratio = slow.decode_ratio = slow.streams_ratio = 1.2;
  EXPECT_EQ(objection(slow, {}), "1.20x as fast, at least 1.3x");
  RewriteCandidate uneven = candidate("Q8_0");
  uneven.decode_ratio = 0.8;
  EXPECT_EQ(objection(uneven, {}), "decode 0.80x as fast, at least 0.95x");
  RewriteCandidate broken = candidate("Q8_0");
  broken.kl = std::numeric_limits<double>::quiet_NaN();
  EXPECT_NE(objection(broken, {}), "");
  EXPECT_EQ(choose({far, large, slow, uneven, broken}, {}), std::nullopt);
}

TEST(RewriteRule, TheUserMayAgreeToMore) {
  RewriteCandidate large = candidate("Q8_0");
  large.figures.resident_bytes = 1400;
  RewriteTerms terms;
  terms.most_memory_percent = 50;
  EXPECT_FALSE(terms.are_default());
  EXPECT_EQ(choose({large}, terms), 0U);
}

TEST(RewriteRule, TheFastestIsChosenAndOfEqualsTheNearest) {
  RewriteCandidate fast = candidate("Q4_0");
  fast.prefill_ratio = 4;
  EXPECT_EQ(choose({candidate("Q8_0"), fast}, {}), 1U);
  RewriteCandidate nearer = candidate("Q5_0");
  nearer.kl = 0.0001;
  nearer.prefill_ratio = 1.95;
  EXPECT_EQ(choose({candidate("Q8_0"), nearer}, {}), 1U);
  RewriteCandidate untested = candidate("Q4_K");
  untested.not_tested = "rows of 288";
  EXPECT_EQ(choose({untested, candidate("Q8_0")}, {}), 1U);
}

class RewriteStoreTest : public testing::Test {
 protected:
  RewriteStoreTest()
      : folder(fs::temp_directory_path() / ("shoal-rewrite-" + std::to_string(getpid()))), store(folder) {
    fs::create_directories(folder);
  }
  ~RewriteStoreTest() override { fs::remove_all(folder); }

  fs::path file(const std::string& text) const {
    std::ofstream(folder / text, std::ios::binary) << text;
    return folder / text;
  }
  void install(const std::string& name, const std::string& content) const {
    Installed entry;
    entry.name = name;
    entry.sha256 = content;
    ASSERT_TRUE(store.adopt(file(content), entry).ok());
  }
  Installed rewrite(const std::string& name, const std::string& content) const {
    Rewrite lineage;
    lineage.source_type = "Q4_1";
    lineage.chosen = candidate("Q8_0");
    lineage.terms = "free";
    lineage.machine = "a machine";
    auto done = store.rewrite(name, file(content), content, lineage);
    EXPECT_TRUE(done.ok()) << done.error().message();
    return done.ok() ? *done : Installed();
  }
  std::vector<std::string> blobs() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder / "models/blobs")) names.push_back(entry.path().filename());
    std::ranges::sort(names);
    return names;
  }

  const fs::path folder;
  const Store store;
};

TEST_F(RewriteStoreTest, TheNameMeansTheNewFileAndKeepsTheLineage) {
  install("m", "old");
  const Installed done = rewrite("m", "new");
  const Installed found = *store.find("m");
  EXPECT_EQ(found.path, store.blob("new"));
  EXPECT_EQ(found.sha256, "new");
  EXPECT_EQ(found.bytes, 3U);
  ASSERT_TRUE(found.rewrite);
  EXPECT_EQ(found.rewrite->source_path, store.blob("old"));
  EXPECT_EQ(found.source_sha256(), "old");
  EXPECT_EQ(found.source_bytes(), 3U);
  EXPECT_EQ(found.rewrite->source_type, "Q4_1");
  EXPECT_EQ(found.rewrite->machine, "a machine");
  EXPECT_EQ(found.rewrite->made_at, done.rewrite->made_at);
  EXPECT_EQ(found.rewrite->chosen.type, "Q8_0");
  EXPECT_EQ(found.rewrite->chosen.kl, 0.0005);
  EXPECT_EQ(found.rewrite->chosen.figures.prefill, 800);
  EXPECT_EQ(found.rewrite->chosen.source.resident_bytes, 1000U);
  EXPECT_EQ(blobs(), (std::vector<std::string>{"sha256-new", "sha256-old"}));
}

TEST_F(RewriteStoreTest, UndoingGoesBackAndLeavesNothing) {
  install("m", "old");
  rewrite("m", "new");
  const auto undone = store.undo_rewrite("m");
  ASSERT_TRUE(undone.ok()) << undone.error().message();
  EXPECT_EQ(store.find("m")->sha256, "old");
  EXPECT_FALSE(store.find("m")->rewrite);
  EXPECT_EQ(blobs(), (std::vector<std::string>{"sha256-old"}));
  EXPECT_EQ(store.undo_rewrite("m").error().code(), ErrorCode::kInvalidRequest);
}

TEST_F(RewriteStoreTest, ASecondRewriteIsOfTheDeliveredFileToo) {
  install("m", "old");
  rewrite("m", "new");
  EXPECT_EQ(rewrite("m", "newer").source_sha256(), "old");
  EXPECT_EQ(blobs(), (std::vector<std::string>{"sha256-newer", "sha256-old"}));
  EXPECT_EQ(rewrite("m", "newer").sha256, "newer") << "the same again";
  EXPECT_EQ(blobs(), (std::vector<std::string>{"sha256-newer", "sha256-old"}));
}

TEST_F(RewriteStoreTest, RemovingTakesBothFilesButNotWhatAnotherNameUses) {
  install("m", "old");
  install("n", "old");
  rewrite("m", "new");
  ASSERT_TRUE(store.remove("n").ok());
  EXPECT_EQ(blobs(), (std::vector<std::string>{"sha256-new", "sha256-old"})) << "m goes back to it";
  ASSERT_TRUE(store.remove("m").ok());
  EXPECT_EQ(blobs(), std::vector<std::string>());
}

TEST_F(RewriteStoreTest, AFileInPlaceIsLeftWhereItIs) {
  Installed entry;
  entry.name = "m";
  entry.sha256 = "there";
  ASSERT_TRUE(store.link(file("there"), entry).ok());
  rewrite("m", "new");
  ASSERT_TRUE(store.remove("m").ok());
  EXPECT_EQ(blobs(), std::vector<std::string>());
  EXPECT_TRUE(fs::exists(folder / "there"));
}

}  // namespace
}  // namespace shoal::models
