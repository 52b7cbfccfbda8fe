#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoal/routing/gain_file.h"
#include "shoal/routing/gain_fit.h"
#include "shoal/routing/gain_model.h"
#include "shoal/statistics/random.h"

#include "support/temporary_folder.h"

namespace shoal::routing {
namespace {

using ::testing::HasSubstr;

// Sums are hard for the weak model, capitals are not; and long questions are harder.
struct Sample {
  std::vector<std::string> texts;
  std::vector<std::string> topics;
  std::vector<GainRow> rows;
};
Sample sample(std::size_t n, std::uint64_t seed) {
  static constexpr std::array<std::string_view, 6> kCities = {"Rome", "Oslo", "Lima", "Cairo", "Delhi", "Quito"};
  Sample out;
  statistics::Random random(seed);
  std::vector<std::pair<double, double>> scores;
  for (std::size_t i = 0; i < n; ++i) {
    const bool sum = random.chance(0.5);
    const std::size_t first =
        random.index(900);  // drawn one by one: compilers evaluate operands in orders of their own
    const std::size_t second = random.index(900);
    std::string text = sum ? fmt::format("Add the numbers {} and {} please", first, second)
                           : fmt::format("Which country has the capital {} today", kCities[first % kCities.size()]);
    for (std::size_t k = random.index(6); k > 0; --k) text += " and so on";
    out.texts.push_back(text + "?");
    out.topics.emplace_back(sum ? "sums" : "capitals");
    const bool weak = random.chance(sum ? 0.2 : 0.9);
    const bool strong = random.chance(0.95);
    scores.emplace_back(weak ? 1 : 0, strong ? 1 : 0);
  }
  for (std::size_t i = 0; i < n; ++i)
    out.rows.push_back({out.texts[i], out.topics[i], {}, scores[i].first, scores[i].second});
  return out;
}

GainModel fitted(const Sample& data, const GainFitOptions& options = {}) {
  auto model = fit_gain(data.rows, options);
  EXPECT_TRUE(model.ok()) << (model.ok() ? "" : model.error().message());
  return std::move(model).value();
}

constexpr const char* kSum = "Add the numbers 17 and 25 please?";
constexpr const char* kCapital = "Which country has the capital Rome today?";

TEST(GainModel, ExpectsMoreWhereTheStrongModelHelped) {
  const Sample data = sample(1'000, 1);
  GainModel::Scratch scratch;
  const std::array<GainFitOptions, 3> all = {GainFitOptions{}, GainFitOptions{.segments = 3},
                                             GainFitOptions{.scope = GainScope::kNewTopics}};
  for (const GainFitOptions& options : all) {
    const GainModel model = fitted(data, options);
    EXPECT_NEAR(model.score(kSum, scratch).gain, 0.75, 0.12);
    EXPECT_NEAR(model.score(kCapital, scratch).gain, 0.05, 0.12);
  }
}

// A phrase counts wherever it stands, so that somebody could put it in front.
TEST(GainModel, OnlyPlainOnesWeighPhrases) {
  Sample data = sample(600, 4);
  for (std::size_t i = 0; i < data.rows.size(); ++i) {
    data.texts[i] = (data.rows[i].strong > data.rows[i].weak ? "Calculate this. " : "Consider this. ") + data.texts[i];
    data.rows[i].text = data.texts[i];
  }
  const auto weighs_phrases = [](const GainModel& model) {
    const auto& weights = model.parts().words.weight;
    const bool linear =
        std::any_of(weights.begin() + learning::kFirstPhrase, weights.end(), [](float w) { return w != 0; });
    const bool trees = std::ranges::any_of(model.parts().trees.nodes, [](const learning::TreeNode& node) {
      return std::isfinite(node.limit) && static_cast<std::size_t>(node.feature) >= learning::kFirstPhrase;
    });
    return std::pair(linear, trees);
  };
  EXPECT_EQ(weighs_phrases(fitted(data)), std::pair(true, true));
  EXPECT_EQ(weighs_phrases(fitted(data, {.segments = 3})), std::pair(false, false));
}

TEST(GainModel, TheGainIsTheMeanAndItsParts) {
  const GainModel model = fitted(sample(600, 2));
  GainModel::Scratch scratch;
  const GainScore score = model.score(kSum, scratch);
  double sum = model.parts().mean;
  for (const double part : score.parts) sum += part;
  EXPECT_DOUBLE_EQ(score.gain, sum);
  EXPECT_GT(model.parts().topics.topics(), 0U);
}

// "And now in French?" is as hard as what it is about.
TEST(GainModel, AConversationRemembersWhatItIsAbout) {
  const GainModel model = fitted(sample(1'000, 2));
  GainModel::Scratch scratch;
  const double hard = model.score(kSum, scratch).gain;
  const double easy = model.score(kCapital, scratch).gain;
  ASSERT_GT(kTurnDecay * kTurnDecay * hard, easy);
  const auto gain = [&](const std::vector<std::string_view>& turns) {
    return conversation_gain(model, turns, scratch);
  };
  EXPECT_EQ(gain({kSum}), hard);
  EXPECT_EQ(gain({kCapital, kSum}), hard);
  EXPECT_DOUBLE_EQ(gain({kSum, kCapital}), kTurnDecay * hard);
  EXPECT_DOUBLE_EQ(gain({kSum, kCapital, kCapital}), kTurnDecay * kTurnDecay * hard);
  const std::vector<std::string_view> many(kMostTurns, kCapital);
  std::vector<std::string_view> long_ago = many;
  long_ago.insert(long_ago.begin(), kSum);
  EXPECT_EQ(gain(long_ago), gain(many)) << "forgotten";
}

TEST(GainModel, WithoutTopicsThereIsNoTable) {
  Sample data = sample(600, 2);
  data.rows[17].topic = {};
  const GainModel model = fitted(data);
  EXPECT_EQ(model.parts().topics.topics(), 0U);
  EXPECT_EQ(model.parts().weights[static_cast<std::size_t>(GainPart::kTopic)].weight, 0);
}

TEST(GainModel, SameRowsSameModel) {
  const Sample data = sample(400, 3);
  GainModel::Scratch scratch;
  const double one = fitted(data).score(kSum, scratch).gain;
  EXPECT_EQ(fitted(data).score(kSum, scratch).gain, one);
  GainModel::Scratch other;
  EXPECT_EQ(fitted(data).score(kSum, other).gain, one) << "nothing of it is in the scratch";
}

// A gadget: words of the other kind, in front.
TEST(GainModel, ThreeSegmentsAreHarderToFool) {
  const Sample data = sample(1'000, 4);
  std::string question = "Which country has the capital Rome today";
  for (int k = 0; k < 5; ++k) question += " and so on";
  const std::string attack = "add the numbers please add the numbers please add the numbers " + question;
  GainModel::Scratch scratch;
  const auto moved = [&](int segments) {
    const GainModel model = fitted(data, {.scope = GainScope::kNewTopics, .segments = segments});
    return model.score(attack, scratch).parts[0] - model.score(question, scratch).parts[0];
  };
  EXPECT_LT(moved(3), 0.5 * moved(1));
}

TEST(GainModel, NamesTheWordsThatCount) {
  const GainModel model = fitted(sample(1'000, 5), {.scope = GainScope::kNewTopics});
  GainModel::Scratch scratch;
  const std::vector<WordEffect> effects = model.explain(kSum, scratch, 8);
  ASSERT_EQ(effects.size(), 8U);
  EXPECT_TRUE(std::ranges::any_of(effects, [](const WordEffect& e) {
    return e.words.find("add") != std::string::npos || e.words.find("numbers") != std::string::npos;
  }));
  EXPECT_TRUE(
      std::ranges::is_sorted(effects, std::ranges::greater{}, [](const WordEffect& e) { return std::abs(e.effect); }));
}

TEST(GainModel, ItsCurveGoesFromTheWeakModelToTheStrongOne) {
  const Sample data = sample(600, 6);
  const std::vector<GainPoint> curve = fitted(data).parts().curve;
  ASSERT_GT(curve.size(), 50U);
  EXPECT_TRUE(std::ranges::is_sorted(curve, std::ranges::greater{}, &GainPoint::gain));
  EXPECT_EQ(curve.back().share, 1);
  double strong = 0;
  for (const GainRow& row : data.rows) strong += row.strong / 600;
  EXPECT_NEAR(curve.back().score, strong, 1e-9);
  EXPECT_GT(curve[curve.size() / 2].score, strong - 0.06) << "half of the requests bring nearly all";
}

TEST(FitGain, RefusesWhatItCannotLearnFrom) {
  Sample few = sample(150, 7);
  auto model = fit_gain(few.rows, {});
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.error().code(), ErrorCode::kInvalidData);
  EXPECT_THAT(model.error().message(), HasSubstr("50 more"));
  Sample same = sample(300, 7);
  for (GainRow& row : same.rows) row.weak = row.strong;
  model = fit_gain(same.rows, {});
  ASSERT_FALSE(model.ok());
  EXPECT_THAT(model.error().message(), HasSubstr("differently on 0 of 300 rows"));
}

class GainFile : public ::testing::Test {
 protected:
  test::TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_.path() / "routers" / "a.router";

  std::string bytes() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
  void write(std::string_view bytes) const {
    std::ofstream(path_, std::ios::binary | std::ios::trunc)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
};

TEST_F(GainFile, ScoresTheSameBitForBit) {
  const Sample data = sample(600, 8);
  GainModel model = fitted(data, {.segments = 3});
  const auto saved = save_gain(model, path_);
  ASSERT_TRUE(saved.ok()) << saved.error().message();
  const auto loaded = load_gain(path_);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  EXPECT_EQ(loaded->sha256, *saved);
  EXPECT_EQ(loaded->model.parts().curve, model.parts().curve);
  EXPECT_EQ(loaded->model.parts().origin, model.parts().origin);
  GainModel::Scratch scratch;
  for (const GainRow& row : data.rows) {
    const GainScore one = model.score(row.text, scratch);
    const GainScore other = loaded->model.score(row.text, scratch);
    ASSERT_EQ(std::memcmp(&one, &other, sizeof(one)), 0) << row.text;
  }
}

TEST_F(GainFile, WhatIsDamagedIsNamed) {
  ASSERT_FALSE(load_gain(path_).ok());
  EXPECT_EQ(load_gain(path_).error().code(), ErrorCode::kIo);
  Sample data = sample(300, 9);
  GainModel model = fitted(data);
  ASSERT_TRUE(save_gain(model, path_).ok());
  const std::string whole = bytes();
  for (const std::size_t size : {std::size_t{0}, std::size_t{3}, whole.size() / 2, whole.size() - 1}) {
    write(std::string_view(whole).substr(0, size));
    const auto loaded = load_gain(path_);
    ASSERT_FALSE(loaded.ok()) << size;
    EXPECT_EQ(loaded.error().code(), ErrorCode::kInvalidConfig) << size;
    EXPECT_THAT(loaded.error().message(), HasSubstr(path_.string()));
  }
  std::string other = whole;
  const std::size_t version = other.find("\"features\": 1");
  ASSERT_NE(version, std::string::npos);
  other[version + 12] = '9';
  write(other);
  EXPECT_THAT(load_gain(path_).error().message(), HasSubstr("train it again"));
}

// Branches are followed without asking: a file must not be able to lead out of the nodes, or nowhere.
TEST_F(GainFile, BranchesThatLeadNowhereAreRefused) {
  const Sample data = sample(300, 10);
  using Break = void (*)(learning::Trees&);
  static constexpr std::array<Break, 7> kBreaks = {
      [](learning::Trees& t) { t.nodes[0].left = 0; },
      [](learning::Trees& t) { t.nodes[0].left = static_cast<std::int32_t>(t.nodes.size()); },
      [](learning::Trees& t) { t.nodes[0].left = -5; },
      [](learning::Trees& t) { t.nodes[0].feature = 59; },
      [](learning::Trees& t) { t.nodes[0].limit = NAN; },
      [](learning::Trees& t) { t.trees[0].depth += 1; },
      [](learning::Trees& t) { t.trees[0].root = -1; },
  };
  for (const Break break_it : kBreaks) {
    GainModel::Parts parts = fitted(data).parts();
    ASSERT_GT(parts.trees.trees[0].depth, 0);
    break_it(parts.trees);
    ASSERT_TRUE(save_gain(GainModel(std::move(parts)), path_).ok());
    const auto loaded = load_gain(path_);
    ASSERT_FALSE(loaded.ok());
    EXPECT_THAT(loaded.error().message(), HasSubstr("branches"));
  }
}

// Whatever single byte is changed: an error or a model, never a crash.
TEST_F(GainFile, AnyByteMayBeWrong) {
  const Sample data = sample(300, 11);
  ASSERT_TRUE(save_gain(fitted(data), path_).ok());
  const std::string whole = bytes();
  statistics::Random random(12);
  GainModel::Scratch scratch;
  for (int i = 0; i < 60; ++i) {
    std::string other = whole;
    const std::size_t within = i % 2 == 0 ? 8'000 : other.size();  // half of them where it is dense
    other[random.index(std::min(within, other.size()))] ^= static_cast<char>(1U << random.index(8));
    write(other);
    const auto loaded = load_gain(path_);
    if (!loaded.ok()) continue;
    EXPECT_FALSE(std::isinf(loaded->model.score(kSum, scratch).parts[1]));
  }
}

}  // namespace
}  // namespace shoal::routing
