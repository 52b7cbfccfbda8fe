// Classes of texts: the features, the models, how they are trained, and the file.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "shoal/learning/class_features.h"
#include "shoal/learning/class_file.h"
#include "shoal/learning/class_fit.h"
#include "shoal/learning/class_model.h"
#include "shoal/learning/typos.h"
#include "shoal/statistics/random.h"

namespace shoal::learning {
namespace {

std::vector<SparseValue> read(std::string_view text) {
  ClassFeatures features;
  const auto row = features.read(text);
  std::vector<SparseValue> out(row.begin(), row.end());
  std::ranges::sort(out, {}, &SparseValue::column);
  return out;
}
bool same(const std::vector<SparseValue>& a, const std::vector<SparseValue>& b) {
  return std::ranges::equal(
      a, b, [](const SparseValue& x, const SparseValue& y) { return x.column == y.column && x.value == y.value; });
}

// Four words apart: "card lost"-like sentences of three kinds, with noise words.
ClassData some_data(std::size_t per_label, bool embedded) {
  const std::vector<std::vector<std::string>> words = {{"card", "lost", "stolen", "freeze"},
                                                       {"weather", "rain", "sunny", "forecast"},
                                                       {"music", "play", "song", "album"}};
  ClassData out;
  out.labels = {"card", "weather", "music"};
  statistics::Random random(3);
  out.embeddings.width = embedded ? 8 : 0;
  for (std::size_t i = 0; i < per_label * words.size(); ++i) {
    const auto label = static_cast<std::uint32_t>(i % words.size());
    const auto& of = words[label];
    out.texts.push_back(fmt::format("please {} my {} number {} now", of[random.index(4)], of[random.index(4)], i));
    out.classes.push_back(label);
    if (!embedded) continue;
    std::vector<float> row(8);
    for (float& one : row) one = static_cast<float>(0.1 * random.normal());
    row[label] += 1;
    out.embeddings.append(row);
  }
  return out;
}

TEST(ClassFeatures, AreWordsPairsAndRuns) {
  // Two words, one pair; runs of " ab ": 4 + 3 + 2 - ... counted by hand: of length 2: 3, 3: 2, 4: 1; of " c ": 2, 1.
  EXPECT_EQ(read("ab c").size(), 3U + (3 + 2 + 1) + (2 + 1));
  EXPECT_TRUE(same(read("Card LOST"), read("card lost")));
  EXPECT_TRUE(same(read("  card \t lost\n"), read("card lost")));
  EXPECT_TRUE(same(read("\xc3\x89T\xc3\x89"), read("\xc3\xa9t\xc3\xa9")));
  EXPECT_FALSE(same(read("card lost"), read("lost card")));
  EXPECT_TRUE(read("").empty());
  EXPECT_TRUE(read(" \n").empty());
}

TEST(ClassFeatures, WeighedBlocksHaveLengthOne) {
  ClassFeatures features;
  ColumnWeights columns;
  columns.count(features.read("one two"));
  columns.count(features.read("two three"));
  columns.finish();
  double words = 0;
  double runs = 0;
  for (const SparseValue& one : features.read("two three four", columns)) {
    (one.column < kClassWordBuckets ? words : runs) += static_cast<double>(one.value) * static_cast<double>(one.value);
  }
  EXPECT_NEAR(words, 1, 1e-5);
  EXPECT_NEAR(runs, 1, 1e-5);
}

TEST(ClassFeatures, LongTextsCountWithBothEnds) {
  const std::string middle(5000, 'x');
  const std::string head(600, 'a');
  const std::string tail(600, 'b');
  EXPECT_TRUE(same(read(head + middle + tail), read(head + middle + "yyyy" + tail)));
  EXPECT_FALSE(same(read(head + middle + tail), read(head + middle + "c" + tail.substr(1) + "c")));
  // Bytes that are no UTF-8, and characters of four bytes at the edge.
  std::string emoji;
  for (int i = 0; i < 3000; ++i) emoji += "\xf0\x9f\x98\x80";
  EXPECT_FALSE(read(emoji).empty());
  EXPECT_FALSE(read("\xff\xfe\xf0\x9f").empty());
}

TEST(Typos, AreOneInFiveWordsAndSpareShortOnes) {
  statistics::Random random(1);
  const std::string text = "where is the card that was ordered a week ago";
  for (int i = 0; i < 50; ++i) {
    const std::string spoiled = with_typos(text, Typos::kSwaps, random);
    EXPECT_EQ(spoiled.size(), text.size());
    std::size_t other = 0;
    for (std::size_t k = 0; k < text.size(); ++k) other += spoiled[k] != text[k] ? 1U : 0U;
    EXPECT_LE(other, 4U);
  }
  EXPECT_EQ(with_typos("a is to \xc3\xa9t\xc3\xa9s", Typos::kMixed, random), "a is to \xc3\xa9t\xc3\xa9s");
}

TEST(ClassFit, LearnsAndIsTheSameAgainWithMoreThreads) {
  const ClassData data = some_data(40, true);
  ClassModel one;
  ClassModel two;
  one.name = two.name = "t";
  one.embedder = two.embedder = Embedder{"e", "", 1, 8};
  one.report = two.report = "{}";
  const auto report = fit_classes(data, {.seed = 7, .threads = 1}, one);
  ASSERT_TRUE(report.ok());
  ASSERT_TRUE(fit_classes(data, {.seed = 7, .threads = 4}, two).ok());
  EXPECT_EQ(print_class_model(one), print_class_model(two));
  EXPECT_GT(report->hashed.accuracy, 0.9);
  EXPECT_GT(report->fused.accuracy, 0.95);
  EXPECT_LT(report->hashed.interval.low, report->hashed.accuracy);

  ClassScorer scorer;
  const ClassAnswer known = scorer.classify(one, "forecast of rain");
  EXPECT_EQ(one.labels[known.best], "weather");
  EXPECT_FALSE(known.fused);
  float sum = 0;
  for (const float p : known.probabilities) sum += p;
  EXPECT_NEAR(sum, 1, 1e-4);
  const double ordinary = scorer.classify(one, "please play my song number 3 now", data.embeddings[2]).outside;
  const std::vector<float> strange = {-0.5F, -0.5F, -0.5F, 0.5F, 0, 0, 0, 0};
  EXPECT_GT(scorer.classify(one, "quantum chromodynamics", strange).outside, ordinary);
}

TEST(ClassFit, ATextOfAnotherKindIsToldByItsExamples) {
  ClassData data = some_data(40, false);
  for (int i = 0; i < 30; ++i) data.outside.push_back(fmt::format("zebra {} quark vexing", i));
  ClassModel model;
  const auto report = fit_classes(data, {}, model);
  ASSERT_TRUE(report.ok());
  EXPECT_GT(report->hashed.outside_auroc, 0.9);
  ClassScorer scorer;
  EXPECT_GT(scorer.classify(model, "vexing zebra quark").outside, 0.5);
  EXPECT_LT(scorer.classify(model, "please freeze my card number 5 now").outside, 0.5);
}

TEST(ClassFit, RefusesTooLittleByName) {
  ClassModel model;
  ClassData data = some_data(2, false);
  const auto few = fit_classes(data, {}, model);
  ASSERT_FALSE(few.ok());
  EXPECT_NE(few.error().message().find("card (2)"), std::string::npos) << few.error().message();
  data.labels = {"only"};
  data.classes.assign(data.texts.size(), 0);
  const auto one = fit_classes(data, {}, model);
  ASSERT_FALSE(one.ok());
  EXPECT_NE(one.error().message().find("one label, only"), std::string::npos) << one.error().message();
  // Copies that differ in case are no second text.
  ClassData copies;
  copies.labels = {"a", "b"};
  copies.texts = {"Lost card", "lost card!", "LOST  card", "x y", "y z", "z w"};
  copies.classes = {0, 0, 0, 1, 1, 1};
  EXPECT_FALSE(fit_classes(copies, {}, model).ok());
}

TEST(ClassFile, KeepsEveryBitAndTellsDamage) {
  const ClassData data = some_data(20, true);
  ClassModel model;
  ASSERT_TRUE(fit_classes(data, {.typos = true}, model).ok());
  model.name = "three-kinds";
  model.embedder = Embedder{"mini", "ab", 12, 8};
  model.report = R"({"accuracy":0.5})";
  const std::string bytes = print_class_model(model);
  const auto again = parse_class_model(bytes);
  ASSERT_TRUE(again.ok()) << again.error().message();
  EXPECT_EQ(print_class_model(*again), bytes);
  EXPECT_EQ(again->embedder, model.embedder);
  ClassScorer first;
  ClassScorer second;
  const auto a = first.classify(model, "rain on my album", data.embeddings[4]);
  const auto b = second.classify(*again, "rain on my album", data.embeddings[4]);
  EXPECT_TRUE(std::ranges::equal(a.probabilities, b.probabilities));
  EXPECT_EQ(a.right, b.right);
  EXPECT_EQ(a.outside, b.outside);

  for (const std::size_t at : {std::size_t{3}, bytes.size() / 2, bytes.size() - 3}) {
    std::string broken = bytes;
    broken[at] = static_cast<char>(broken[at] ^ 1);
    EXPECT_FALSE(parse_class_model(broken).ok()) << at;
  }
  for (const std::size_t length : {std::size_t{0}, std::size_t{20}, bytes.size() / 2, bytes.size() - 1}) {
    EXPECT_FALSE(parse_class_model(std::string_view(bytes).substr(0, length)).ok()) << length;
  }
  EXPECT_FALSE(is_task_name("../x"));
  EXPECT_FALSE(is_task_name(""));
  EXPECT_TRUE(is_task_name("banking-77.v2"));
}

}  // namespace
}  // namespace shoal::learning
