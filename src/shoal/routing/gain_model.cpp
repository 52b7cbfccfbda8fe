#include "shoal/routing/gain_model.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <span>

namespace shoal::routing {
namespace {

constexpr double kNoLength = 1e-9;  // keeps a text without words from dividing by 0

double weighed(const WordsAndShape& model, std::span<const learning::HashedFeature> words) {
  double sum = 0;
  double squares = 0;
  // They are far apart: each is asked for some time before it is needed.
  constexpr std::size_t kAhead = 32;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i + kAhead < words.size()) __builtin_prefetch(&model.words[words[i + kAhead].bucket]);
    const learning::HashedFeature& feature = words[i];
    const WordWeight& word = model.words[feature.bucket];
    const double x = static_cast<double>(feature.value) * word.rarity;
    squares += x * x;
    sum += x * word.weight;
  }
  return sum / (std::sqrt(squares) + kNoLength);
}

double middle_of(double a, double b, double c) {
  return std::max(std::min(a, b), std::min(std::max(a, b), c));
}

// `of(begin, end)` of the whole text, or the middle one of its thirds.
template <class Of>
double over_segments(std::size_t tokens, int segments, Of of) {
  if (segments == 1) return of(0, tokens);
  const std::size_t third = (tokens + 2) / 3;
  const std::size_t one = std::min(third, tokens);
  const std::size_t two = std::min(2 * third, tokens);
  return middle_of(of(0, one), of(one, two), of(two, tokens));
}

}  // namespace

double words_and_shape(const WordsAndShape& model, learning::TextFeatures& text, int segments) {
  const double words = segments == 1
                           ? weighed(model, text.words())
                           : over_segments(text.tokens().size(), segments, [&](std::size_t begin, std::size_t end) {
                               return weighed(model, text.words_between(begin, end));
                             });
  double shape = 0;
  for (std::size_t i = 0; i < learning::kShapeFeatures; ++i) {
    const float x = std::clamp((text.shape()[i] - model.center[i]) / model.spread[i], -kShapeMost, kShapeMost);
    shape += static_cast<double>(x * kShapeScale) * model.weight[i];
  }
  return words + shape;
}

double topic_gain(const learning::TopicTable& table, const learning::TextFeatures& text, int segments,
                  learning::TopicTable::Scratch& scratch) {
  const std::span<const std::uint64_t> tokens = text.tokens();
  return over_segments(tokens.size(), segments, [&](std::size_t begin, std::size_t end) {
    return table.expected(tokens.subspan(begin, end - begin), scratch);
  });
}

GainScore GainModel::score(std::string_view text, Scratch& scratch) const {
  GainScore out{.gain = parts_.mean};
  const auto add = [&](GainPart part, auto value) {
    const auto i = static_cast<std::size_t>(part);
    const PartWeight& weight = parts_.weights[i];
    if (weight.weight <= 0) return;
    out.parts[i] = weight.weight * (value() - weight.center);
    out.gain += out.parts[i];
  };
  scratch.features.read(text);
  add(GainPart::kWords, [&] { return words_and_shape(parts_.words, scratch.features, parts_.segments); });
  add(GainPart::kShape, [&] { return parts_.trees.predict(scratch.features.shape()); });
  add(GainPart::kTopic, [&] { return topic_gain(parts_.topics, scratch.features, parts_.segments, scratch.topics); });
  return out;
}

double conversation_gain(const GainModel& model, std::span<const std::string_view> turns, GainModel::Scratch& scratch) {
  if (turns.size() > kMostTurns) turns = turns.last(kMostTurns);
  double state = model.score(turns.front(), scratch).gain;
  for (const std::string_view turn : turns.subspan(1))
    state = std::max(model.score(turn, scratch).gain, kTurnDecay * state);
  return state;
}

std::vector<WordEffect> GainModel::explain(std::string_view text, Scratch& scratch, std::size_t most) const {
  scratch.features.read(text);
  double squares = 0;
  std::map<std::uint32_t, double> effects;  // by bucket
  for (const learning::HashedFeature& feature : scratch.features.words()) {
    const WordWeight& word = parts_.words.words[feature.bucket];
    const double x = static_cast<double>(feature.value) * word.rarity;
    squares += x * x;
    effects[feature.bucket] = x * word.weight;
  }
  const double scale =
      parts_.weights[static_cast<std::size_t>(GainPart::kWords)].weight / (std::sqrt(squares) + kNoLength);
  const std::vector<std::string_view> texts = scratch.features.token_texts();
  const std::span<const std::uint64_t> tokens = scratch.features.tokens();
  std::vector<WordEffect> out;
  const auto note = [&](std::uint32_t bucket, std::string words) {
    const auto found = effects.find(bucket);
    if (found == effects.end()) return;
    out.push_back({std::move(words), found->second * scale});
    effects.erase(found);
  };
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (texts[i].empty()) continue;
    note(learning::TextFeatures::bucket_of(tokens[i]), std::string(texts[i]));
    if (i + 1 == tokens.size() || texts[i + 1].empty()) continue;
    note(learning::TextFeatures::bucket_of(tokens[i], tokens[i + 1]),
         std::string(texts[i]) + " " + std::string(texts[i + 1]));
  }
  std::ranges::stable_sort(out, std::ranges::greater{}, [](const WordEffect& e) { return std::abs(e.effect); });
  if (out.size() > most) out.resize(most);
  return out;
}

}  // namespace shoal::routing
