// The judge after a draft: what it learns from answers, and that it learns nothing where there is nothing.
#include "shoal/routing/answer_gain.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "shoal/routing/answer_gain_file.h"
#include "shoal/routing/answer_gain_fit.h"
#include "shoal/statistics/random.h"

namespace shoal::routing {
namespace {

struct Table {
  std::vector<std::string> prompts;
  std::vector<std::string> answers;
  std::vector<AnswerRow> rows;
};

// Sums, of which the weak model's answers are right where what they state is: the strong one is right nine times of
// ten. `texts`: with answers; else their lengths alone, wrong answers being longer by `longer` of the usual.
Table sums(std::size_t rows, bool texts, double longer = 0) {
  statistics::Random random(7);
  Table out;
  const auto up_to = [&](int most) { return static_cast<int>(random.uniform() * most); };
  for (std::size_t i = 0; i < rows; ++i) {
    const int a = 10 + up_to(80);
    const int b = 10 + up_to(80);
    const bool wrong = random.uniform() < 0.4;
    out.prompts.push_back(fmt::format("Add {} and {} for {}.", a, b, i));
    out.answers.push_back(fmt::format("{} + {} = {}\n#### {}", a, b, a + b + (wrong ? 7 : 0), a + b + (wrong ? 7 : 0)));
    AnswerRow row;
    row.weak = wrong ? 0 : 1;
    row.strong = random.uniform() < 0.9 ? 1 : 0;
    row.given.bytes = 200 * (wrong ? 1 + longer : 1) * (0.8 + 0.4 * random.uniform());
    out.rows.push_back(row);
  }
  for (std::size_t i = 0; i < rows; ++i) {
    out.rows[i].given.prompt = out.prompts[i];
    if (texts) out.rows[i].given.text = out.answers[i];
  }
  return out;
}

TEST(AnswerGain, SeesASumThatDoesNotComeOut) {
  const Table table = sums(400, true);
  const auto model = fit_answer_gain(table.rows, {});
  ASSERT_TRUE(model.ok()) << model.error().message();
  AnswerGain::Scratch scratch;
  const GivenAnswer right{.prompt = "Add 21 and 34 for 7.", .text = "21 + 34 = 55\n#### 55"};
  const GivenAnswer wrong{.prompt = "Add 21 and 34 for 7.", .text = "21 + 34 = 62\n#### 62"};
  const AnswerScore good = model->score(right, scratch);
  const AnswerScore bad = model->score(wrong, scratch);
  EXPECT_GT(good.confidence, 0.9);
  EXPECT_LT(bad.confidence, 0.1);
  EXPECT_LT(good.gain, 0.1);
  EXPECT_GT(bad.gain, 0.7);
  double sum = model->parts().mean;
  for (const double part : bad.parts) sum += part;
  EXPECT_NEAR(sum, bad.gain, 1e-12);
  const auto why = model->explain(wrong, scratch, 6);
  ASSERT_EQ(why.size(), 6U);
  std::vector<std::string> names;
  for (const FeatureEffect& effect : why) names.push_back(effect.name);
  EXPECT_THAT(names, testing::Contains(testing::AnyOf("wrong", "wrong_share", "wrong_plain")));
  EXPECT_EQ(model->score(wrong, scratch).gain, bad.gain) << "a scratch forgets";
}

TEST(AnswerGain, IsTheSameBitForBit) {
  const Table table = sums(300, true);
  const auto one = fit_answer_gain(table.rows, {.seed = 3});
  const auto two = fit_answer_gain(table.rows, {.seed = 3});
  ASSERT_TRUE(one.ok() && two.ok());
  AnswerGain::Scratch a;
  AnswerGain::Scratch b;
  for (const AnswerRow& row : table.rows) EXPECT_EQ(one->score(row.given, a).gain, two->score(row.given, b).gain);
}

TEST(AnswerGain, WeighsALengthWhereThatIsAllThereIs) {
  const Table table = sums(400, false, 1.5);
  const auto model = fit_answer_gain(table.rows, {});
  ASSERT_TRUE(model.ok()) << model.error().message();
  AnswerGain::Scratch scratch;
  const auto confidence = [&](double bytes) {
    return model->score({.prompt = "Add 21 and 34 for 7.", .bytes = bytes}, scratch).confidence;
  };
  EXPECT_GT(confidence(200), 0.7);
  EXPECT_LT(confidence(500), 0.3);
  EXPECT_EQ(model->parts().weights[static_cast<std::size_t>(AnswerPart::kWords)].weight, 0);
}

TEST(AnswerGain, FindsNothingWhereNothingIs) {
  const Table table = sums(400, false, 0);
  const auto model = fit_answer_gain(table.rows, {});
  ASSERT_TRUE(model.ok()) << model.error().message();
  AnswerGain::Scratch scratch;
  for (const AnswerRow& row : table.rows) {
    const AnswerScore score = model->score(row.given, scratch);
    EXPECT_NEAR(score.confidence, 0.6, 0.25);
    EXPECT_NEAR(score.gain, model->parts().mean, 0.25);
  }
}

TEST(AnswerGain, RefusesWhatItCannotLearnFrom) {
  Table table = sums(100, true);
  EXPECT_THAT(fit_answer_gain(table.rows, {}).error().message(), testing::HasSubstr("100 rows are too few"));
  table = sums(300, false);
  for (AnswerRow& row : table.rows) row.given.bytes = 0;
  EXPECT_THAT(fit_answer_gain(table.rows, {}).error().message(), testing::HasSubstr("no answer of the weak model"));
  table = sums(300, true);
  for (AnswerRow& row : table.rows) row.strong = row.weak;
  EXPECT_THAT(fit_answer_gain(table.rows, {}).error().message(), testing::HasSubstr("0 of 300 rows"));
}

struct AnswerGainFile : testing::Test {
  void TearDown() override { std::filesystem::remove(path); }
  [[nodiscard]] std::string bytes() const {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void write(const std::string& text) const { std::ofstream(path, std::ios::binary) << text; }
  [[nodiscard]] std::string fault(std::string_view from, std::string_view to) const {
    std::string text = bytes();
    const std::string whole = text;
    text.replace(text.find(from), from.size(), to);
    write(text);
    const auto loaded = load_answer_gain(path);
    write(whole);
    return loaded.ok() ? "none" : loaded.error().message();
  }
  const std::filesystem::path path =
      std::filesystem::path(testing::TempDir()) / ("answers_" + std::to_string(::getpid()) + ".answer-router");
};

TEST_F(AnswerGainFile, ScoresTheSameBitForBit) {
  for (const bool texts : {true, false}) {
    const Table table = sums(300, texts, 0.5);
    const auto model = fit_answer_gain(table.rows, {});
    ASSERT_TRUE(model.ok());
    const auto saved = save_answer_gain(*model, path);
    ASSERT_TRUE(saved.ok()) << saved.error().message();
    const auto loaded = load_answer_gain(path);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message();
    EXPECT_EQ(loaded->sha256, *saved);
    AnswerGain::Scratch a;
    AnswerGain::Scratch b;
    for (const AnswerRow& row : table.rows) {
      const AnswerScore one = model->score(row.given, a);
      const AnswerScore two = loaded->model.score(row.given, b);
      EXPECT_EQ(one.gain, two.gain);
      EXPECT_EQ(one.confidence, two.confidence);
    }
    EXPECT_EQ(loaded->model.parts().curve, model->parts().curve);
    EXPECT_EQ(loaded->model.parts().origin, model->parts().origin);
  }
}

TEST_F(AnswerGainFile, WhatCannotBeIsNamed) {
  const auto model = fit_answer_gain(sums(300, true).rows, {});
  ASSERT_TRUE(model.ok());
  ASSERT_TRUE(save_answer_gain(*model, path).ok());
  EXPECT_EQ(fault("shoal-answer-gain-1", "shoal-answer-gain-1"), "none");
  EXPECT_THAT(fault("shoal-answer-gain-1", "shoal-answer-gain-9"), testing::HasSubstr("format"));
  EXPECT_THAT(fault("\"checks\": 1", "\"checks\": 2"), testing::HasSubstr("train it again"));
  EXPECT_THAT(fault("\"name\": \"trees\"", "\"name\": \"trees!"), testing::HasSubstr(path.string()));
  EXPECT_THAT(fault("words.weight", "words.weighs"), testing::HasSubstr("words.weight"));
  EXPECT_THAT(fault("shoal.answer_gain", "shoal.answer_loss"), testing::HasSubstr("judges no answers"));
  const std::string text = bytes();
  for (const std::size_t size : {std::size_t{0}, std::size_t{10}, text.size() / 2, text.size() - 1}) {
    write(text.substr(0, size));
    EXPECT_FALSE(load_answer_gain(path).ok()) << size;
  }
}

TEST(AnswerGain, NamesEveryFeature) {
  for (std::size_t i = 0; i < kAnswerFeatures; ++i) EXPECT_FALSE(feature_name(i).empty());
  EXPECT_EQ(feature_name(0), "expected_gain");
  EXPECT_EQ(feature_name(kExpected), "length");
  EXPECT_EQ(feature_name(kBriefFeatures), "cut");
  EXPECT_EQ(feature_name(kCheckedFeatures - 1), "final_apart");
  EXPECT_THAT(feature_name(kAnswerFeatures - 1), testing::StartsWith("question: "));
}

TEST(AnswerGain, MasksDigits) {
  std::string out;
  mask_digits("16 - 3 = 13.5", out);
  EXPECT_EQ(out, "0 - 0 = 0.0");
}

}  // namespace
}  // namespace shoal::routing
