#include "shoal/routing/answer_gain_fit.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "shoal/learning/lbfgs.h"
#include "shoal/learning/nonnegative.h"
#include "shoal/learning/ridge.h"
#include "shoal/learning/sparse.h"
#include "shoal/routing/gain_fit.h"
#include "shoal/statistics/random.h"

namespace shoal::routing {
namespace {

using learning::HashedFeature;
using learning::kShapeFeatures;
using learning::Shape;
using learning::SparseValue;

constexpr std::size_t kFolds = 5;
constexpr double kQuestionPenalty = 4;
constexpr double kWordsPenalty = 3;
constexpr double kStackShrink = 30;  // rows' worth
constexpr double kMostWeight = 2;
constexpr std::size_t kLeastAnswers = 100;  // known ones, for their words to be weighed

using Rows = std::vector<std::size_t>;
using Column = std::vector<double>;

// A row, read once.
struct ReadRow {
  std::vector<HashedFeature> question;
  std::vector<HashedFeature> answer;
  Shape shape{};
  Checks checks{};
  Expectations targets{};
  double gain = 0;
  bool gains = false;
  bool wrong = false;
};

std::vector<ReadRow> read_rows(std::span<const AnswerRow> rows) {
  std::vector<ReadRow> out;
  AnswerGain::Scratch scratch;
  for (const AnswerRow& row : rows) {
    ReadRow& read = out.emplace_back();
    scratch.question.read(row.given.prompt);
    const auto question = scratch.question.words();
    read.question.assign(question.begin(), question.end());
    read.shape = scratch.question.shape();
    mask_digits(row.given.text, scratch.masked);
    scratch.answer.read(scratch.masked);
    const auto answer = scratch.answer.words();
    if (!row.given.text.empty()) read.answer.assign(answer.begin(), answer.end());
    read.checks = read_checks(row.given, scratch.reader);
    read.gain = row.strong - row.weak;
    read.gains = row.strong > row.weak;
    read.wrong = row.weak < 0.5;
    const auto set = [&](Expected what, double value) { read.targets[static_cast<std::size_t>(what)] = value; };
    set(Expected::kGain, read.gain);
    set(Expected::kWeakWrong, 1 - row.weak);
    set(Expected::kStrongWrong, 1 - row.strong);
    set(Expected::kDifficulty, row.difficulty.value_or(1 - (row.weak + row.strong) / 2));
    set(Expected::kBytes, value_of(read.checks, Check::kBytes));
    for (std::size_t i = 0; i < kFacts.size(); ++i)
      read.targets[static_cast<std::size_t>(Expected::kFact) + i] = value_of(read.checks, kFacts[i]);
  }
  return out;
}

// --- linear models of words

std::vector<float> rarity_of(std::span<const ReadRow> data, const Rows& rows,
                             std::vector<HashedFeature> ReadRow::* words) {
  std::vector<float> out(kAnswerBuckets);
  for (const std::size_t i : rows) {
    for (const HashedFeature& word : data[i].*words) out[word.bucket % kAnswerBuckets] += 1;
  }
  for (float& one : out)
    one = static_cast<float>(std::log((1.0 + static_cast<double>(rows.size())) / (1.0 + static_cast<double>(one))));
  return out;
}

// Rare words weighed up, of length 1.
void append_words(std::span<const HashedFeature> words, std::span<const float> rarity, std::vector<SparseValue>& row) {
  double squares = 0;
  row.clear();
  for (const HashedFeature& word : words) {
    const auto bucket = static_cast<std::uint32_t>(word.bucket % kAnswerBuckets);
    row.push_back({bucket, word.value * rarity[bucket]});
    squares += static_cast<double>(row.back().value) * static_cast<double>(row.back().value);
  }
  const auto length = static_cast<float>(std::sqrt(squares) + 1e-9);
  for (SparseValue& x : row) x.value /= length;
}

void scale_shape(std::span<const ReadRow> data, const Rows& rows, QuestionModel& out) {
  const auto n = static_cast<double>(rows.size());
  for (std::size_t j = 0; j < kShapeFeatures; ++j) {
    double sum = 0;
    double squares = 0;
    for (const std::size_t i : rows) sum += static_cast<double>(data[i].shape[j]);
    for (const std::size_t i : rows) squares += std::pow(static_cast<double>(data[i].shape[j]) - sum / n, 2);
    const double spread = std::sqrt(squares / n);
    out.center[j] = static_cast<float>(sum / n);
    out.spread[j] = static_cast<float>(spread > 1e-9 ? spread : 1);
  }
}

QuestionModel fit_question(std::span<const ReadRow> data, const Rows& rows) {
  QuestionModel out;
  out.words.rarity = rarity_of(data, rows, &ReadRow::question);
  scale_shape(data, rows, out);
  learning::SparseRows sparse;
  std::vector<SparseValue> row;
  for (const std::size_t i : rows) {
    append_words(data[i].question, out.words.rarity, row);
    for (std::size_t j = 0; j < kShapeFeatures; ++j) {
      const float x = std::clamp((data[i].shape[j] - out.center[j]) / out.spread[j], -kShapeMost, kShapeMost);
      row.push_back({static_cast<std::uint32_t>(kAnswerBuckets + j), x * kShapeScale});
    }
    sparse.append(row);
  }
  std::vector<float> targets(rows.size());
  for (std::size_t t = 0; t < kExpected; ++t) {
    for (std::size_t k = 0; k < rows.size(); ++k) targets[k] = static_cast<float>(data[rows[k]].targets[t]);
    const learning::Ridge ridge =
        learning::fit_ridge(sparse, targets, kAnswerBuckets + kShapeFeatures, {.penalty = kQuestionPenalty});
    out.words.weight.insert(out.words.weight.end(), ridge.weights.begin(), ridge.weights.begin() + kAnswerBuckets);
    std::copy_n(ridge.weights.begin() + kAnswerBuckets, kShapeFeatures, out.shape[t].begin());
    out.mean[t] = ridge.mean;
  }
  return out;
}

HashedWords fit_words(std::span<const ReadRow> data, const Rows& rows) {
  HashedWords out;
  out.rarity = rarity_of(data, rows, &ReadRow::answer);
  learning::SparseRows sparse;
  std::vector<SparseValue> row;
  std::vector<float> gains;
  for (const std::size_t i : rows) {
    append_words(data[i].answer, out.rarity, row);
    sparse.append(row);
    gains.push_back(static_cast<float>(data[i].gain));
  }
  out.weight = learning::fit_ridge(sparse, gains, kAnswerBuckets, {.penalty = kWordsPenalty}).weights;
  return out;
}

// --- heads and trees, over the features

struct HeadOptions {
  std::size_t features = kAnswerFeatures;  // the first so many
  double penalty = 0;
};

double softplus(double x) {
  return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
}

AnswerHead fit_head(std::span<const AnswerFeatures> features, std::span<const ReadRow> data, const Rows& rows,
                    bool ReadRow::* target, const HeadOptions& options) {
  const std::size_t n = options.features;
  std::vector<double> at(n + 1);
  const auto scored = [&](std::span<const double> w, const AnswerFeatures& x) {
    double out = w[n];
    for (std::size_t j = 0; j < n; ++j) out += w[j] * static_cast<double>(x[j]);
    return out;
  };
  learning::minimise(
      [&](std::span<const double> w, std::span<double> slope) {
        double loss = 0;
        std::ranges::fill(slope, 0.0);
        for (const std::size_t i : rows) {
          const double score = scored(w, features[i]);
          const double y = data[i].*target ? 1 : 0;
          loss += softplus(score) - y * score;
          const double error = 1 / (1 + std::exp(-score)) - y;
          for (std::size_t j = 0; j < n; ++j) slope[j] += error * static_cast<double>(features[i][j]);
          slope[n] += error;
        }
        for (std::size_t j = 0; j < n; ++j) {
          loss += options.penalty / 2 * w[j] * w[j];
          slope[j] += options.penalty * w[j];
        }
        return loss;
      },
      at, {.steps = 200, .memory = 10, .tolerance = 1e-3});
  AnswerHead out;
  for (std::size_t j = 0; j < n; ++j) out.weight[j] = static_cast<float>(at[j]);
  out.bias = at[n];
  return out;
}

learning::Trees fit_features(std::span<const AnswerFeatures> features, std::span<const ReadRow> data, const Rows& rows,
                             std::uint64_t seed) {
  std::vector<float> flat;
  std::vector<float> gains;
  for (const std::size_t i : rows) {
    flat.insert(flat.end(), features[i].begin(), features[i].end());
    gains.push_back(static_cast<float>(data[i].gain));
  }
  return learning::fit_trees(flat, kAnswerFeatures, gains,
                             {.trees = 120,
                              .leaves = 8,
                              .rate = 0.03,
                              .least_rows = 20,
                              .row_share = 0.7,
                              .feature_share = 0.5,
                              .seed = seed});
}

// --- who is fitted on whom

struct Split {
  Rows fitted;
  Rows held;
};

std::vector<Split> splits_of(std::span<const AnswerRow> rows, std::uint64_t seed) {
  std::map<std::string_view, std::size_t> groups;
  std::vector<std::size_t> group(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::string_view name = rows[i].group.empty() ? rows[i].given.prompt : rows[i].group;
    group[i] = groups.try_emplace(name, groups.size()).first->second;
  }
  const std::vector<std::size_t> order = statistics::Random(seed).permutation(groups.size());
  std::vector<Split> out(kFolds);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::size_t fold = 0; fold < kFolds; ++fold)
      (order[group[i]] % kFolds == fold ? out[fold].held : out[fold].fitted).push_back(i);
  }
  std::erase_if(out, [](const Split& split) { return split.held.empty() || split.fitted.empty(); });
  return out;
}

// What models say of rows that they were not fitted on.
struct HeldOut {
  std::vector<Expectations> expected;
  Column words;
};

HeldOut read_held_out(std::span<const AnswerRow> rows, std::span<const ReadRow> data, std::span<const Split> splits,
                      bool words) {
  HeldOut out{.expected = std::vector<Expectations>(rows.size()), .words = Column(rows.size())};
  learning::TextFeatures question;
  for (const Split& split : splits) {
    const QuestionModel model = fit_question(data, split.fitted);
    const HashedWords answers = words ? fit_words(data, split.fitted) : HashedWords{};
    for (const std::size_t i : split.held) {
      question.read(rows[i].given.prompt);
      out.expected[i] = expect(model, question);
      if (words) out.words[i] = weigh(answers, 0, data[i].answer);
    }
  }
  return out;
}

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

struct Chosen {
  HeadOptions options;
  Column held_out;  // probabilities
};

Chosen choose_head(std::span<const AnswerFeatures> features, std::span<const ReadRow> data,
                   std::span<const Split> splits, bool ReadRow::* target) {
  Chosen best;
  double least = 0;
  for (const std::size_t used : kHeadFeatures) {
    for (const double penalty : kHeadPenalties) {
      const HeadOptions options{.features = used, .penalty = penalty};
      Column held(data.size());
      double loss = 0;
      for (const Split& split : splits) {
        const AnswerHead head = fit_head(features, data, split.fitted, target, options);
        for (const std::size_t i : split.held) {
          const double score = log_odds(head, features[i]);
          loss += softplus(score) - (data[i].*target ? score : 0);
          held[i] = sigmoid(score);
        }
      }
      if (best.options.penalty == 0 || loss < least) {
        best = {.options = options, .held_out = std::move(held)};
        least = loss;
      }
    }
  }
  return best;
}

Column held_out_trees(std::span<const AnswerFeatures> features, std::span<const ReadRow> data,
                      std::span<const Split> splits, std::uint64_t seed) {
  Column out(data.size());
  for (const Split& split : splits) {
    const learning::Trees trees = fit_features(features, data, split.fitted, seed);
    for (const std::size_t i : split.held) out[i] = trees.predict(features[i]);
  }
  return out;
}

double mean_of(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

std::vector<AnswerFeatures> features_of(std::span<const ReadRow> data, std::span<const Expectations> expected,
                                        AnswerGain::Parts& parts) {
  std::vector<AnswerFeatures> out(data.size());
  for (std::size_t i = 0; i < data.size(); ++i) assemble(expected[i], data[i].checks, data[i].shape, out[i]);
  const auto n = static_cast<double>(data.size());
  for (std::size_t j = 0; j < kAnswerFeatures; ++j) {
    double sum = 0;
    double squares = 0;
    for (const AnswerFeatures& one : out) sum += static_cast<double>(one[j]);
    for (const AnswerFeatures& one : out) squares += std::pow(static_cast<double>(one[j]) - sum / n, 2);
    const double spread = std::sqrt(squares / n);
    parts.center[j] = static_cast<float>(sum / n);
    parts.spread[j] = static_cast<float>(spread > 1e-6 ? spread : 1);
  }
  for (AnswerFeatures& one : out) standardise(parts.center, parts.spread, one);
  return out;
}

Result<void> check(std::span<const AnswerRow> rows) {
  std::vector<GainRow> as_gain;
  for (const AnswerRow& row : rows)
    as_gain.push_back({.text = row.given.prompt, .topic = {}, .group = {}, .weak = row.weak, .strong = row.strong});
  SHOAL_TRY(check_gain_rows(as_gain));
  const auto known =
      std::ranges::count_if(rows, [](const AnswerRow& row) { return !row.given.text.empty() || row.given.bytes > 0; });
  if (known > 0) return {};
  return Error(ErrorCode::kInvalidData,
               "no answer of the weak model is known: the table needs its answers in a column NAME_response, or their "
               "lengths");
}

}  // namespace

Result<AnswerGain> fit_answer_gain(std::span<const AnswerRow> rows, const AnswerFitOptions& options) {
  SHOAL_TRY(check(rows));
  const std::vector<ReadRow> data = read_rows(rows);
  const std::vector<Split> splits = splits_of(rows, options.seed);
  const bool words = std::ranges::count_if(rows, [](const AnswerRow& r) { return !r.given.text.empty(); }) >=
                     static_cast<std::ptrdiff_t>(kLeastAnswers);
  Rows all(rows.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  const HeldOut held = read_held_out(rows, data, splits, words);
  AnswerGain::Parts parts;
  const std::vector<AnswerFeatures> features = features_of(data, held.expected, parts);
  const Chosen gains = choose_head(features, data, splits, &ReadRow::gains);
  const Chosen wrong = choose_head(features, data, splits, &ReadRow::wrong);
  parts.question = fit_question(data, all);
  if (words) parts.words = fit_words(data, all);
  parts.gains = fit_head(features, data, all, &ReadRow::gains, gains.options);
  parts.wrong = fit_head(features, data, all, &ReadRow::wrong, wrong.options);
  parts.trees = fit_features(features, data, all, options.seed);
  Column of_question;
  for (const Expectations& one : held.expected) of_question.push_back(one[static_cast<std::size_t>(Expected::kGain)]);
  const std::vector<Column> columns = {gains.held_out, wrong.held_out,
                                       held_out_trees(features, data, splits, options.seed), held.words,
                                       std::move(of_question)};
  Column targets;
  for (const ReadRow& row : data) targets.push_back(row.gain);
  parts.mean = mean_of(targets);
  const std::vector<double> weights = learning::nonnegative_weights(columns, targets, kStackShrink);
  Column stacked(rows.size(), parts.mean);
  for (std::size_t k = 0; k < kAnswerParts; ++k) {
    parts.weights[k] = {.weight = std::min(weights[k], kMostWeight), .center = mean_of(columns[k])};
    for (std::size_t i = 0; i < rows.size(); ++i)
      stacked[i] += parts.weights[k].weight * (columns[k][i] - parts.weights[k].center);
  }
  std::vector<GainRow> outcomes;
  for (const AnswerRow& row : rows)
    outcomes.push_back({.text = {}, .topic = {}, .group = {}, .weak = row.weak, .strong = row.strong});
  parts.curve = gain_curve(outcomes, stacked);
  parts.origin.rows = rows.size();
  for (const AnswerRow& row : rows) {
    parts.origin.weak_score += row.weak / static_cast<double>(rows.size());
    parts.origin.strong_score += row.strong / static_cast<double>(rows.size());
  }
  return AnswerGain(std::move(parts));
}

}  // namespace shoal::routing
