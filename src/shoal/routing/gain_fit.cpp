#include "shoal/routing/gain_fit.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "shoal/learning/nonnegative.h"
#include "shoal/learning/ridge.h"
#include "shoal/learning/sparse.h"
#include "shoal/statistics/random.h"

namespace shoal::routing {
namespace {

using learning::HashedFeature;
using learning::kShapeFeatures;
using learning::kWordBuckets;
using learning::Shape;
using learning::SparseValue;

constexpr std::size_t kFolds = 3;
// Of the linear models; what each is worth the stack finds out. On other topics the last one alone.
constexpr std::array<double, 2> kPenalties = {4, 8};
constexpr double kStackShrink = 30;               // rows' worth
constexpr double kMostWeight = 2;                 // of a part: one that says nearly nothing is not blown up
constexpr std::size_t kLeastTopics = 3 * kFolds;  // to hold whole ones out
constexpr std::size_t kPoints = 101;              // of the curve

// A row, read once.
struct ReadRow {
  std::vector<HashedFeature> words;
  std::vector<std::uint64_t> tokens;
  Shape shape{};
  std::size_t topic = 0;
  float gain = 0;
};

struct Data {
  std::vector<ReadRow> rows;
  std::size_t topics = 0;  // 0: not known
};

using Rows = std::vector<std::size_t>;

Data read_rows(std::span<const GainRow> rows, const GainFitOptions& options) {
  Data out;
  std::map<std::string_view, std::size_t> topics;
  const bool known = options.scope == GainScope::kSameTopics &&
                     std::ranges::none_of(rows, [](const GainRow& row) { return row.topic.empty(); });
  learning::TextFeatures features;
  for (const GainRow& row : rows) {
    ReadRow read;
    features.read(row.text);
    read.tokens.assign(features.tokens().begin(), features.tokens().end());
    read.shape = features.shape();
    // Phrases count wherever they stand: whoever puts words in front would have them.
    if (options.segments != 1) std::fill(read.shape.begin() + learning::kFirstPhrase, read.shape.end(), 0.0F);
    // Thirds of a text know nothing of its beginning and its end: the weights must not lean on them.
    const auto words = options.segments == 1 ? features.words() : features.words_between(0, read.tokens.size());
    read.words.assign(words.begin(), words.end());
    read.gain = static_cast<float>(row.strong - row.weak);
    if (known) read.topic = topics.try_emplace(row.topic, topics.size()).first->second;
    out.rows.push_back(std::move(read));
  }
  // One topic tells nothing.
  out.topics = topics.size() > 1 ? topics.size() : 0;
  return out;
}

void scale_shape(const Data& data, const Rows& rows, WordsAndShape& out) {
  const auto n = static_cast<double>(rows.size());
  for (std::size_t j = 0; j < kShapeFeatures; ++j) {
    double sum = 0;
    double squares = 0;
    for (const std::size_t i : rows) sum += data.rows[i].shape[j];
    const double mean = sum / n;
    for (const std::size_t i : rows) squares += std::pow(data.rows[i].shape[j] - mean, 2);
    const double spread = std::sqrt(squares / n);
    out.center[j] = static_cast<float>(mean);
    out.spread[j] = static_cast<float>(spread > 1e-9 ? spread : 1);
  }
}

// Rows as ridge regression takes them: rare words weighed up, of length 1, with the shape beside them.
learning::SparseRows sparse_rows(const Data& data, const Rows& rows, const WordsAndShape& scale) {
  learning::SparseRows out;
  std::vector<SparseValue> row;
  for (const std::size_t i : rows) {
    const ReadRow& read = data.rows[i];
    row.clear();
    double squares = 0;
    for (const HashedFeature& word : read.words) {
      row.push_back({word.bucket, word.value * scale.words[word.bucket].rarity});
      squares += std::pow(static_cast<double>(row.back().value), 2);
    }
    const auto length = static_cast<float>(std::sqrt(squares) + 1e-9);
    for (SparseValue& x : row) x.value /= length;
    for (std::size_t j = 0; j < kShapeFeatures; ++j) {
      const float x = std::clamp((read.shape[j] - scale.center[j]) / scale.spread[j], -kShapeMost, kShapeMost);
      row.push_back({static_cast<std::uint32_t>(kWordBuckets + j), x * kShapeScale});
    }
    out.append(row);
  }
  return out;
}

// One for each penalty, on the same scale.
std::vector<WordsAndShape> fit_words(const Data& data, const Rows& rows, std::span<const double> penalties) {
  WordsAndShape scale;
  scale.words.resize(kWordBuckets);
  for (const std::size_t i : rows) {
    for (const HashedFeature& word : data.rows[i].words) scale.words[word.bucket].rarity += 1;
  }
  for (WordWeight& word : scale.words)
    word.rarity = static_cast<float>(std::log((1.0 + static_cast<double>(rows.size())) / (1.0 + word.rarity)));
  scale_shape(data, rows, scale);
  const learning::SparseRows sparse = sparse_rows(data, rows, scale);
  std::vector<float> gains;
  for (const std::size_t i : rows) gains.push_back(data.rows[i].gain);
  std::vector<WordsAndShape> out;
  for (const double penalty : penalties) {
    const learning::Ridge ridge =
        learning::fit_ridge(sparse, gains, kWordBuckets + kShapeFeatures, {.penalty = penalty});
    WordsAndShape& model = out.emplace_back(scale);
    for (std::size_t b = 0; b < kWordBuckets; ++b) model.words[b].weight = ridge.weights[b];
    std::copy_n(ridge.weights.begin() + static_cast<std::ptrdiff_t>(kWordBuckets), kShapeFeatures,
                model.weight.begin());
  }
  return out;
}

// A sum of linear models on one scale is one of them.
WordsAndShape sum_of(std::vector<WordsAndShape> models, std::span<const double> weights) {
  WordsAndShape out = models.front();
  for (WordWeight& word : out.words) word.weight = 0;
  out.weight = {};
  for (std::size_t k = 0; k < models.size(); ++k) {
    const auto share = static_cast<float>(weights[k]);
    for (std::size_t b = 0; b < kWordBuckets; ++b) out.words[b].weight += share * models[k].words[b].weight;
    for (std::size_t j = 0; j < kShapeFeatures; ++j) out.weight[j] += share * models[k].weight[j];
  }
  return out;
}

learning::Trees fit_shape(const Data& data, const Rows& rows, std::uint64_t seed) {
  std::vector<float> shapes;
  std::vector<float> gains;
  for (const std::size_t i : rows) {
    shapes.insert(shapes.end(), data.rows[i].shape.begin(), data.rows[i].shape.end());
    gains.push_back(data.rows[i].gain);
  }
  return learning::fit_trees(shapes, kShapeFeatures, gains, {.seed = seed});
}

learning::TopicTable fit_topic(const Data& data, const Rows& rows) {
  std::vector<learning::TopicRow> read;
  for (const std::size_t i : rows) read.push_back({data.rows[i].tokens, data.rows[i].topic, data.rows[i].gain});
  return learning::fit_topics(read, data.topics, {});
}

// What is stacked: a linear model for each penalty, then the trees and the topics where there are some.
struct Bases {
  std::vector<WordsAndShape> words;
  std::optional<learning::Trees> trees;
  std::optional<learning::TopicTable> topics;

  [[nodiscard]] std::size_t count() const {
    return words.size() + static_cast<std::size_t>(trees.has_value()) + static_cast<std::size_t>(topics.has_value());
  }
};

std::span<const double> penalties_of(GainScope scope) {
  return scope == GainScope::kSameTopics ? std::span<const double>(kPenalties) : std::span(kPenalties).last(1);
}

Bases fit_bases(const Data& data, const Rows& rows, const GainFitOptions& options) {
  Bases out;
  out.words = fit_words(data, rows, penalties_of(options.scope));
  if (options.scope == GainScope::kSameTopics) out.trees = fit_shape(data, rows, options.seed);
  if (data.topics > 0) out.topics = fit_topic(data, rows);
  return out;
}

// Whether whole topics can be held out, as what is fitted for new ones must be.
bool splits_topics(std::span<const GainRow> rows, GainScope scope) {
  if (scope != GainScope::kNewTopics) return false;
  std::set<std::string_view> topics;
  for (const GainRow& row : rows) topics.insert(row.topic);
  return !topics.contains("") && topics.size() >= kLeastTopics;
}

// Which fold each row is in, drawn by the seed: rows of one topic, or of one group, in the same.
std::vector<std::size_t> folds_of(std::span<const GainRow> rows, const GainFitOptions& options) {
  const bool by_topic = splits_topics(rows, options.scope);
  std::map<std::string_view, std::size_t> groups;
  std::vector<std::size_t> group(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::string_view of_group = rows[i].group.empty() ? rows[i].text : rows[i].group;
    group[i] = groups.try_emplace(by_topic ? rows[i].topic : of_group, groups.size()).first->second;
  }
  const std::vector<std::size_t> order = statistics::Random(options.seed).permutation(groups.size());
  std::vector<std::size_t> out(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) out[i] = order[group[i]] % kFolds;
  return out;
}

// By base, what it says of each row when it was fitted on the other folds.
std::vector<std::vector<double>> held_out_columns(std::span<const GainRow> rows, const Data& data,
                                                  const GainFitOptions& options) {
  std::vector<std::vector<double>> out;
  const std::vector<std::size_t> folds = folds_of(rows, options);
  GainModel::Scratch scratch;
  for (std::size_t fold = 0; fold < kFolds; ++fold) {
    Rows fitted;
    Rows held;
    for (std::size_t i = 0; i < rows.size(); ++i) (folds[i] == fold ? held : fitted).push_back(i);
    if (fitted.empty()) continue;
    const Bases bases = fit_bases(data, fitted, options);
    out.resize(bases.count(), std::vector<double>(rows.size()));
    for (const std::size_t i : held) {
      std::size_t at = 0;
      scratch.features.read(rows[i].text);
      for (const WordsAndShape& words : bases.words)
        out[at++][i] = words_and_shape(words, scratch.features, options.segments);
      if (bases.trees) out[at++][i] = bases.trees->predict(scratch.features.shape());
      if (bases.topics) out[at++][i] = topic_gain(*bases.topics, scratch.features, options.segments, scratch.topics);
    }
  }
  return out;
}

double mean_of(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

}  // namespace

std::vector<GainPoint> gain_curve(std::span<const GainRow> rows, const std::vector<double>& gains) {
  Rows order(rows.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::ranges::greater{}, [&](std::size_t i) { return gains[i]; });
  const auto n = static_cast<double>(rows.size());
  double score = 0;
  for (const GainRow& row : rows) score += row.weak / n;
  std::vector<GainPoint> out;
  std::size_t next = 0;
  for (std::size_t k = 0; k < order.size(); ++k) {
    const GainRow& row = rows[order[k]];
    score += (row.strong - row.weak) / n;
    const std::size_t due = next * (order.size() - 1) / (kPoints - 1);
    if (k < due) continue;
    out.push_back({gains[order[k]], static_cast<double>(k + 1) / n, score});
    while (next * (order.size() - 1) / (kPoints - 1) <= k) ++next;
  }
  return out;
}

Result<void> check_gain_rows(std::span<const GainRow> rows) {
  if (rows.size() < kLeastGainRows) {
    return Error(ErrorCode::kInvalidData,
                 fmt::format("{} rows are too few to learn from: at least {} are needed, {} more; with 500 a router is "
                             "barely better than the length of the text",
                             rows.size(), kLeastGainRows, kLeastGainRows - rows.size()));
  }
  const auto differ =
      static_cast<std::size_t>(std::ranges::count_if(rows, [](const GainRow& r) { return r.weak != r.strong; }));
  if (differ < kLeastDifferences) {
    return Error(ErrorCode::kInvalidData,
                 fmt::format("the two models do differently on {} of {} rows: at least {} are needed to learn which "
                             "requests gain",
                             differ, rows.size(), kLeastDifferences));
  }
  return {};
}

Result<GainModel> fit_gain(std::span<const GainRow> rows, const GainFitOptions& options) {
  SHOAL_TRY(check_gain_rows(rows));
  const Data data = read_rows(rows, options);
  Rows all(rows.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  Bases bases = fit_bases(data, all, options);
  const std::vector<std::vector<double>> columns = held_out_columns(rows, data, options);
  std::vector<double> gains;
  for (const ReadRow& row : data.rows) gains.push_back(row.gain);
  std::vector<double> weights = learning::nonnegative_weights(columns, gains, kStackShrink);
  for (double& weight : weights) weight = std::min(weight, kMostWeight);
  GainModel::Parts parts;
  parts.segments = options.segments;
  parts.mean = mean_of(gains);
  std::vector<double> stacked(rows.size(), parts.mean);
  for (std::size_t k = 0; k < columns.size(); ++k) {
    const double center = mean_of(columns[k]);
    for (std::size_t i = 0; i < rows.size(); ++i) stacked[i] += weights[k] * (columns[k][i] - center);
  }
  const std::size_t linear = bases.words.size();
  PartWeight& words = parts.weights[static_cast<std::size_t>(GainPart::kWords)];
  for (std::size_t k = 0; k < linear; ++k) words.center += weights[k] * mean_of(columns[k]);
  words.weight = 1;
  parts.words = sum_of(std::move(bases.words), weights);
  std::size_t at = linear;
  if (bases.trees) {
    parts.weights[static_cast<std::size_t>(GainPart::kShape)] = {weights[at], mean_of(columns[at])};
    parts.trees = *std::move(bases.trees);
    ++at;
  }
  if (bases.topics) {
    parts.weights[static_cast<std::size_t>(GainPart::kTopic)] = {weights[at], mean_of(columns[at])};
    parts.topics = *std::move(bases.topics);
  }
  parts.curve = gain_curve(rows, stacked);
  parts.origin.rows = rows.size();
  for (const GainRow& row : rows) {
    parts.origin.weak_score += row.weak / static_cast<double>(rows.size());
    parts.origin.strong_score += row.strong / static_cast<double>(rows.size());
  }
  return GainModel(std::move(parts));
}

}  // namespace shoal::routing
