#include "shoal/routing/answer_gain.h"

#include <algorithm>
#include <cmath>
#include <span>

#include <fmt/format.h>

namespace shoal::routing {
namespace {

constexpr double kNoLength = 1e-9;  // keeps a text without words from dividing by 0
constexpr float kMostDeviations = 4;
constexpr std::array<std::string_view, static_cast<std::size_t>(Expected::kFact)> kExpectedNames = {
    "expected_gain", "expected_wrong", "expected_strong_wrong", "expected_difficulty", "expected_bytes"};
constexpr std::array<std::string_view, kLengthFeatures> kLengthNames = {"length", "length_squared", "length_beyond",
                                                                        "length_apart", "length_beyond_hard"};

double of(const Expectations& expected, Expected what) {
  return expected[static_cast<std::size_t>(what)];
}

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

}  // namespace

void mask_digits(std::string_view text, std::string& out) {
  // TextFeatures looks at no more than its two ends.
  constexpr std::size_t kEnough = 16'384;
  out.clear();
  if (text.size() > kEnough) text.remove_prefix(text.size() - kEnough);
  bool digits = false;
  for (const char c : text) {
    const bool digit = c >= '0' && c <= '9';
    if (!digit || !digits) out += digit ? '0' : c;
    digits = digit;
  }
}

double weigh(const HashedWords& model, std::size_t target, std::span<const learning::HashedFeature> words) {
  const std::span<const float> weights = std::span(model.weight).subspan(target * kAnswerBuckets, kAnswerBuckets);
  double sum = 0;
  double squares = 0;
  for (const learning::HashedFeature& word : words) {
    const std::size_t bucket = word.bucket % kAnswerBuckets;
    const double x = static_cast<double>(word.value) * model.rarity[bucket];
    squares += x * x;
    sum += x * weights[bucket];
  }
  return sum / (std::sqrt(squares) + kNoLength);
}

Expectations expect(const QuestionModel& model, learning::TextFeatures& question) {
  const std::span<const learning::HashedFeature> words = question.words();
  Expectations out = model.mean;
  learning::Shape shape{};
  for (std::size_t j = 0; j < learning::kShapeFeatures; ++j)
    shape[j] = std::clamp((question.shape()[j] - model.center[j]) / model.spread[j], -kShapeMost, kShapeMost);
  for (std::size_t t = 0; t < kExpected; ++t) {
    out[t] += weigh(model.words, t, words);
    for (std::size_t j = 0; j < learning::kShapeFeatures; ++j)
      out[t] += static_cast<double>(shape[j] * kShapeScale) * model.shape[t][j];
  }
  return out;
}

void assemble(const Expectations& expected, const Checks& checks, const learning::Shape& shape, AnswerFeatures& out) {
  std::size_t next = 0;
  const auto add = [&](double value) { out[next++] = static_cast<float>(value); };
  for (const double value : expected) add(value);
  const double length = value_of(checks, Check::kBytes);
  const double beyond = length - of(expected, Expected::kBytes);
  add(length);
  add(length * length / 10);
  add(beyond);
  add(std::abs(beyond));
  add(beyond * of(expected, Expected::kDifficulty));
  for (const float value : checks) add(value);
  constexpr auto kFirst = static_cast<std::size_t>(Expected::kFact);
  for (std::size_t i = 0; i < kFacts.size(); ++i) add(value_of(checks, kFacts[i]) - expected[kFirst + i]);
  add(std::abs(value_of(checks, Check::kFinal) - expected[kFirst + kFacts.size() - 1]));
  for (const float value : shape) add(value);
}

std::string feature_name(std::size_t feature) {
  if (feature < kExpectedNames.size()) return std::string(kExpectedNames[feature]);
  const auto fact = [](std::size_t i) { return std::string(check_name(kFacts[i])); };
  if (feature < kExpected) return "expected_" + fact(feature - kExpectedNames.size());
  feature -= kExpected;
  if (feature < kLengthFeatures) return std::string(kLengthNames[feature]);
  feature -= kLengthFeatures;
  if (feature < kChecks) return std::string(check_name(static_cast<Check>(feature)));
  feature -= kChecks;
  if (feature < kFacts.size()) return fact(feature) + "_beyond";
  if (feature == kFacts.size()) return "final_apart";
  return "question: " + std::string(learning::shape_names()[feature - kFacts.size() - 1]);
}

void standardise(const AnswerFeatures& center, const AnswerFeatures& spread, AnswerFeatures& features) {
  for (std::size_t j = 0; j < kAnswerFeatures; ++j)
    features[j] = std::clamp((features[j] - center[j]) / spread[j], -kMostDeviations, kMostDeviations);
}

double log_odds(const AnswerHead& head, const AnswerFeatures& standardised) {
  double out = head.bias;
  for (std::size_t j = 0; j < kAnswerFeatures; ++j)
    out += static_cast<double>(head.weight[j]) * static_cast<double>(standardised[j]);
  return out;
}

namespace {

// Reads it, and leaves the standardised features in the scratch. What is expected is returned.
Expectations look_at(const AnswerGain::Parts& parts, const GivenAnswer& given, AnswerGain::Scratch& scratch) {
  scratch.question.read(given.prompt);
  const Expectations expected = expect(parts.question, scratch.question);
  assemble(expected, read_checks(given, scratch.reader), scratch.question.shape(), scratch.features);
  standardise(parts.center, parts.spread, scratch.features);
  return expected;
}

}  // namespace

Checks read_checks(const GivenAnswer& given, AnswerReader& reader) {
  Checks out = reader.read({.prompt = given.prompt, .cut = given.cut}, given.text);
  if (!given.text.empty()) return out;
  // Nothing is known of it: no check may say that it is empty.
  for (std::size_t i = 0; i < static_cast<std::size_t>(Check::kGiven); ++i) out[i] = 0;
  for (const Check check : {Check::kUnused, Check::kAnyUnused, Check::kUnusedShare})
    out[static_cast<std::size_t>(check)] = 0;
  out[static_cast<std::size_t>(Check::kCut)] = given.cut ? 1.0F : 0.0F;
  out[static_cast<std::size_t>(Check::kBytes)] = static_cast<float>(std::log1p(given.bytes));
  return out;
}

AnswerScore AnswerGain::score(const GivenAnswer& given, Scratch& scratch) const {
  const Expectations expected = look_at(parts_, given, scratch);
  AnswerScore out{.gain = parts_.mean, .confidence = sigmoid(-log_odds(parts_.wrong, scratch.features))};
  const auto add = [&](AnswerPart part, auto value) {
    const auto i = static_cast<std::size_t>(part);
    if (parts_.weights[i].weight <= 0) return;
    out.parts[i] = parts_.weights[i].weight * (value() - parts_.weights[i].center);
    out.gain += out.parts[i];
  };
  add(AnswerPart::kGains, [&] { return sigmoid(log_odds(parts_.gains, scratch.features)); });
  add(AnswerPart::kWrong, [&] { return 1 - out.confidence; });
  add(AnswerPart::kTrees, [&] { return parts_.trees.predict(scratch.features); });
  add(AnswerPart::kWords, [&] {
    mask_digits(given.text, scratch.masked);
    scratch.answer.read(scratch.masked);
    return weigh(parts_.words, 0, scratch.answer.words());
  });
  add(AnswerPart::kQuestion, [&] { return of(expected, Expected::kGain); });
  return out;
}

std::vector<FeatureEffect> AnswerGain::explain(const GivenAnswer& given, Scratch& scratch, std::size_t most) const {
  static_cast<void>(look_at(parts_, given, scratch));
  std::vector<FeatureEffect> out;
  for (std::size_t j = 0; j < kAnswerFeatures; ++j) {
    const double effect = static_cast<double>(parts_.wrong.weight[j]) * static_cast<double>(scratch.features[j]);
    const double value = static_cast<double>(scratch.features[j]) * static_cast<double>(parts_.spread[j]) +
                         static_cast<double>(parts_.center[j]);
    if (effect != 0) out.push_back({feature_name(j), value, effect});
  }
  std::ranges::stable_sort(out, std::ranges::greater{}, [](const FeatureEffect& e) { return std::abs(e.effect); });
  if (out.size() > most) out.resize(most);
  return out;
}

}  // namespace shoal::routing
