#include "shoal/learning/class_fit.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <functional>
#include <map>
#include <set>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "shoal/learning/typos.h"
#include "shoal/statistics/binomial.h"
#include "shoal/statistics/random.h"

namespace shoal::learning {
namespace {

constexpr std::array<double, 11> kGrid = {0, .1, .2, .3, .4, .6, .8, 1, 1.3, 1.7, 2.2};
constexpr double kRightLooseness = 0.1;
constexpr double kOutsideLooseness = 0.03;
constexpr std::size_t kEpochs = 8;
constexpr std::size_t kEpochsWithTypos = 5;  // of twice as many rows

// The same for texts that differ in case, marks and spaces only.
std::string plain_words(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool upper = c >= 'A' && c <= 'Z';
    const bool word = upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || static_cast<signed char>(c) < 0;
    if (word) out += upper ? static_cast<char>(c + 32) : c;
    if (!word && !out.empty() && out.back() != ' ') out += ' ';
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

std::vector<std::string> plain_texts(const ClassData& data) {
  std::vector<std::string> out;
  for (const std::string& text : data.texts) out.push_back(plain_words(text));
  return out;
}

std::uint64_t hash_of(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

Result<void> check(const ClassData& data, std::span<const std::string> plain) {
  if (data.labels.size() < 2) {
    return Error(ErrorCode::kInvalidData,
                 fmt::format("the data have {}; a classifier tells two labels or more apart",
                             data.labels.empty() ? "no label" : fmt::format("one label, {}", data.labels.front())));
  }
  std::vector<std::set<std::string_view>> texts(data.labels.size());
  for (std::size_t i = 0; i < plain.size(); ++i) texts[data.classes[i]].insert(plain[i]);
  std::string few;
  std::size_t count = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].size() >= kFewestPerLabel) continue;
    if (++count <= 5) few += fmt::format("{}{} ({})", few.empty() ? "" : ", ", data.labels[i], texts[i].size());
  }
  if (count == 0) return {};
  return Error(ErrorCode::kInvalidData,
               fmt::format("each label needs {} different texts, so that one can be held out; {} of {} labels have "
                           "fewer: {}{}. Label more texts, or leave these labels out",
                           kFewestPerLabel, count, data.labels.size(), few, count > 5 ? ", ..." : ""));
}

// Texts of a label are dealt out in turn, so that none is without some in each fold; equal texts go together.
std::vector<std::uint8_t> folds_of(const ClassData& data, std::span<const std::string> plain, std::uint64_t seed) {
  std::map<std::string_view, std::uint8_t> of;
  std::vector<std::size_t> next(data.labels.size());
  statistics::Random random(seed);
  for (std::size_t label = 0; label < next.size(); ++label) next[label] = random.index(kClassFolds);
  for (const std::size_t i : random.permutation(plain.size())) {
    const auto [at, added] = of.try_emplace(plain[i], std::uint8_t{0});
    if (added) at->second = static_cast<std::uint8_t>(next[data.classes[i]]++ % kClassFolds);
  }
  std::vector<std::uint8_t> out;
  out.reserve(plain.size());
  for (const std::string& text : plain) out.push_back(of.at(text));
  return out;
}

ClassParts fit_parts(const ClassData& data, std::span<const std::size_t> rows, const ClassFitSettings& settings) {
  ClassParts parts;
  ClassFeatures features;
  std::vector<std::uint32_t> classes;
  for (const std::size_t i : rows) {
    parts.columns.count(features.read(data.texts[i]));
    classes.push_back(data.classes[i]);
  }
  parts.columns.finish();
  SparseRows sparse;
  for (const std::size_t i : rows) sparse.append(features.read(data.texts[i], parts.columns));
  std::vector<std::uint32_t> all = classes;
  if (settings.typos) {
    for (const std::size_t i : rows) {
      sparse.append(features.read(typo_copy(data.texts[i], settings.seed), parts.columns));
    }
    all.insert(all.end(), classes.begin(), classes.end());
  }
  SoftmaxSettings softmax;
  softmax.epochs = settings.typos ? kEpochsWithTypos : kEpochs;
  softmax.seed = settings.seed;
  parts.hashed = Softmax::fit(sparse, all, data.labels.size(), kClassColumns, softmax);
  if (data.embeddings.size() == 0) return parts;
  EmbeddingRows embeddings{data.embeddings.width, {}};
  for (const std::size_t i : rows) embeddings.append(data.embeddings[i]);
  // Neighbours are what is ordinary: texts as they are.
  parts.neighbours = Neighbours::fit(embeddings, classes, data.labels.size(), kShrink);
  const std::set<std::size_t> in_rows(rows.begin(), rows.end());
  for (std::size_t k = 0; k < data.typo_rows.size(); ++k) {
    if (!in_rows.contains(data.typo_rows[k])) continue;
    embeddings.append(data.typo_embeddings[k]);
    classes.push_back(data.classes[data.typo_rows[k]]);
  }
  parts.probe = Probe::fit(embeddings, classes, data.labels.size(), kProbeLooseness);
  return parts;
}

// What models that did not see a row say of it.
struct Outcome {
  std::vector<float> hashed;  // logits
  std::vector<float> probe;
  Neighbours::Distances distances{};
};

class Scores {
 public:
  Scores(const ClassParts& parts, std::size_t labels) : parts_(parts), labels_(labels) {}

  std::vector<float> hashed_of(std::string_view text) {
    std::vector<float> out(labels_);
    parts_.hashed.logits(features_.read(text, parts_.columns), out);
    return out;
  }
  Outcome of(std::string_view text, std::span<const float> embedding) {
    Outcome out;
    out.hashed = hashed_of(text);
    if (!parts_.probe) return out;
    out.probe.resize(labels_);
    parts_.probe->logits(embedding, out.probe);
    out.distances = parts_.neighbours->measure(embedding, scratch_);
    return out;
  }

 private:
  const ClassParts& parts_;
  const std::size_t labels_;
  ClassFeatures features_;
  std::vector<float> scratch_;
};

struct CrossValidation {
  std::vector<std::uint8_t> folds;
  std::vector<Outcome> inside;                            // [texts]
  std::array<std::vector<Outcome>, kClassFolds> outside;  // by each fold's model
  std::vector<std::uint8_t> right_with_typo;              // of the hashed part
  std::vector<Outcome> typos;                             // [typo_rows]
};

std::size_t best_of(std::span<const float> logits) {
  return static_cast<std::size_t>(std::ranges::max_element(logits) - logits.begin());
}

std::span<const float> row_of(const EmbeddingRows& rows, std::size_t i) {
  return rows.size() == 0 ? std::span<const float>() : rows[i];
}

void run_fold(const ClassData& data, const ClassFitSettings& settings, std::size_t fold, CrossValidation& out) {
  std::vector<std::size_t> rows;
  for (std::size_t i = 0; i < data.texts.size(); ++i) {
    if (out.folds[i] != fold) rows.push_back(i);
  }
  const ClassParts parts = fit_parts(data, rows, settings);
  Scores scores(parts, data.labels.size());
  for (std::size_t i = 0; i < data.texts.size(); ++i) {
    if (out.folds[i] != fold) continue;
    out.inside[i] = scores.of(data.texts[i], row_of(data.embeddings, i));
    statistics::Random random(statistics::mixed(~settings.seed ^ hash_of(data.texts[i])));
    const std::string typo = with_typos(data.texts[i], Typos::kSwaps, random);
    out.right_with_typo[i] = best_of(scores.hashed_of(typo)) == data.classes[i] ? 1 : 0;
  }
  for (std::size_t k = 0; k < data.typo_rows.size(); ++k) {
    const std::size_t i = data.typo_rows[k];
    if (out.folds[i] != fold) continue;
    out.typos[k] = scores.of(typo_copy(data.texts[i], settings.seed), data.typo_embeddings[k]);
  }
  for (std::size_t i = 0; i < data.outside.size(); ++i) {
    out.outside[fold].push_back(scores.of(data.outside[i], row_of(data.outside_embeddings, i)));
  }
}

void run_all(std::span<const std::function<void()>> jobs, std::size_t threads) {
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t job = next++; job < jobs.size(); job = next++) jobs[job]();
  };
  std::vector<std::jthread> others;
  for (std::size_t i = 1; i < std::min(threads, jobs.size()); ++i) others.emplace_back(work);
  work();
}

std::vector<float> fused_logits(const Outcome& of, double hashed, double probe) {
  std::vector<float> out(of.hashed.size());
  for (std::size_t i = 0; i < out.size(); ++i) {
    double sum = hashed * static_cast<double>(of.hashed[i]);
    if (!of.probe.empty()) sum += probe * static_cast<double>(of.probe[i]);
    out[i] = static_cast<float>(sum);
  }
  return out;
}

double log_loss(const Outcome& of, std::uint32_t right, double hashed, double probe) {
  std::vector<float> logits = fused_logits(of, hashed, probe);
  to_log_probabilities(logits);
  return -static_cast<double>(logits[right]);
}

// Of the texts, and of those with typing errors that there are for both parts.
double mean_log_loss(const CrossValidation& tried, const ClassData& data, double hashed, double probe) {
  double sum = 0;
  for (std::size_t i = 0; i < tried.inside.size(); ++i) {
    sum += log_loss(tried.inside[i], data.classes[i], hashed, probe);
  }
  for (std::size_t k = 0; k < tried.typos.size(); ++k) {
    sum += log_loss(tried.typos[k], data.classes[data.typo_rows[k]], hashed, probe);
  }
  return sum / static_cast<double>(tried.inside.size() + tried.typos.size());
}

// The pair of the grid with the least log-loss: one row of it for the hashed part alone.
void choose_weights(const CrossValidation& tried, const ClassData& data, bool fused, ClassQuality& out) {
  out.log_loss = HUGE_VAL;
  for (const double hashed : kGrid) {
    for (const double probe : kGrid) {
      if (hashed + probe == 0 || (!fused && probe > 0)) continue;
      const double loss = mean_log_loss(tried, data, hashed, probe);
      if (loss >= out.log_loss) continue;
      out.log_loss = loss;
      out.of_hashed = hashed;
      out.of_probe = probe;
    }
  }
}

std::vector<float> log_probabilities(std::vector<float> logits) {
  to_log_probabilities(logits);
  return logits;
}

struct Judged {
  ClassSignals signals;
  std::size_t best = 0;
};

Judged judge(const Outcome& of, const ClassHead& head, bool fused) {
  std::vector<float> both = fused_logits(of, head.of_hashed, fused ? head.of_probe : 0);
  std::vector<float> probabilities(both.size());
  to_log_probabilities(both, probabilities);
  const std::vector<float> hashed = log_probabilities(of.hashed);
  std::vector<float> probe;
  if (fused) {
    for (const float one : of.probe) probe.push_back(static_cast<float>(head.of_probe * static_cast<double>(one)));
    to_log_probabilities(probe);
  }
  const LogProbabilities all{both, probabilities, hashed, of.hashed, probe};
  return {signals_of(all, fused ? &of.distances : nullptr), best_of(both)};
}

DetectorExample example(const ClassSignals& signals, bool positive) {
  return {{signals.all().begin(), signals.all().end()}, positive};
}

// How ordinary the training's own texts look to models that did not see them.
void fit_ordinary(const std::vector<Judged>& judged, ClassHead& head) {
  const std::size_t width = judged.front().signals.count;
  const auto n = static_cast<double>(judged.size());
  head.ordinary_means.assign(width, 0);
  head.ordinary_scales.assign(width, 0);
  for (std::size_t k = 0; k < width; ++k) {
    double squares = 0;
    for (const Judged& one : judged) head.ordinary_means[k] += one.signals.values[k] / n;
    for (const Judged& one : judged) squares += std::pow(one.signals.values[k] - head.ordinary_means[k], 2) / n;
    head.ordinary_scales[k] = 1 / (std::sqrt(squares) + 1e-9);
  }
  std::vector<double> scores;
  for (const Judged& one : judged) scores.push_back(ordinary_score(head, one.signals));
  std::ranges::sort(scores);
  head.ordinary_quantiles.clear();
  constexpr std::size_t kSteps = 100;
  for (std::size_t i = 0; i < kSteps; ++i) {
    head.ordinary_quantiles.push_back(scores[i * (scores.size() - 1) / (kSteps - 1)]);
  }
}

// Scores of examples by detectors that were fitted to the other folds.
std::vector<statistics::Scored> cross_scored(const std::vector<DetectorExample>& examples,
                                             const std::vector<std::uint8_t>& folds, double looseness) {
  std::vector<statistics::Scored> out(examples.size());
  for (std::size_t fold = 0; fold < kClassFolds; ++fold) {
    std::vector<DetectorExample> others;
    for (std::size_t i = 0; i < examples.size(); ++i) {
      if (folds[i] != fold) others.push_back(examples[i]);
    }
    const Detector detector = Detector::fit(others, looseness);
    for (std::size_t i = 0; i < examples.size(); ++i) {
      if (folds[i] == fold) out[i] = {detector.probability(examples[i].signals), examples[i].positive};
    }
  }
  return out;
}

void fit_outside(const CrossValidation& tried, const std::vector<Judged>& judged, bool fused, ClassHead& head,
                 ClassQuality& out) {
  std::vector<DetectorExample> examples;
  std::vector<std::uint8_t> folds = tried.folds;
  for (const Judged& one : judged) examples.push_back(example(one.signals, false));
  // Each model of a fold saw none of them; a text is always on one side of the detector's own folds.
  for (const auto& by_model : tried.outside) {
    for (std::size_t i = 0; i < by_model.size(); ++i) {
      examples.push_back(example(judge(by_model[i], head, fused).signals, true));
      folds.push_back(static_cast<std::uint8_t>(i % kClassFolds));
    }
  }
  if (tried.outside.front().size() < kClassFolds) return;
  out.outside_auroc = statistics::auroc(cross_scored(examples, folds, kOutsideLooseness));
  head.outside = Detector::fit(examples, kOutsideLooseness);
}

ClassQuality fit_head(const CrossValidation& tried, const ClassData& data, bool fused, ClassHead& head) {
  ClassQuality out;
  choose_weights(tried, data, fused, out);
  head = ClassHead{};
  head.of_hashed = out.of_hashed;
  head.of_probe = out.of_probe;
  std::vector<Judged> judged;
  std::vector<DetectorExample> examples;
  std::size_t right = 0;
  for (std::size_t i = 0; i < tried.inside.size(); ++i) {
    judged.push_back(judge(tried.inside[i], head, fused));
    const bool is_right = judged.back().best == data.classes[i];
    right += is_right ? 1 : 0;
    examples.push_back(example(judged.back().signals, is_right));
  }
  out.accuracy = static_cast<double>(right) / static_cast<double>(judged.size());
  out.interval = statistics::clopper_pearson(right, judged.size());
  out.right = statistics::reliability(cross_scored(examples, tried.folds, kRightLooseness));
  head.right = Detector::fit(examples, kRightLooseness);
  fit_ordinary(judged, head);
  fit_outside(tried, judged, fused, head, out);
  return out;
}

std::vector<ClassFitReport::Label> by_label(const CrossValidation& tried, const ClassData& data,
                                            const ClassQuality& of) {
  std::vector<ClassFitReport::Label> out(data.labels.size());
  std::vector<std::map<std::uint32_t, std::size_t>> taken(out.size());
  for (std::size_t i = 0; i < tried.inside.size(); ++i) {
    const std::uint32_t label = data.classes[i];
    const auto best = static_cast<std::uint32_t>(best_of(fused_logits(tried.inside[i], of.of_hashed, of.of_probe)));
    ++out[label].texts;
    if (best == label) {
      ++out[label].right;
    } else {
      ++taken[label][best];
    }
  }
  for (std::uint32_t label = 0; label < out.size(); ++label) {
    out[label].label = label;
    for (const auto& [other, count] : taken[label]) {
      if (count <= out[label].taken) continue;
      out[label].taken = count;
      out[label].taken_for = other;
    }
  }
  std::ranges::stable_sort(out, {}, [](const ClassFitReport::Label& one) {
    return static_cast<double>(one.right) / static_cast<double>(one.texts);
  });
  return out;
}

double mean_of(const std::vector<std::uint8_t>& flags) {
  return static_cast<double>(std::ranges::count(flags, 1)) / static_cast<double>(flags.size());
}

double probe_accuracy(const CrossValidation& tried, const ClassData& data) {
  std::size_t right = 0;
  for (std::size_t i = 0; i < tried.inside.size(); ++i) {
    right += best_of(tried.inside[i].probe) == data.classes[i] ? 1U : 0U;
  }
  return static_cast<double>(right) / static_cast<double>(tried.inside.size());
}

double typo_accuracy(const CrossValidation& tried, const ClassData& data, const ClassQuality& of) {
  if (tried.typos.empty()) return 0;
  std::size_t right = 0;
  for (std::size_t k = 0; k < tried.typos.size(); ++k) {
    const std::size_t best = best_of(fused_logits(tried.typos[k], of.of_hashed, of.of_probe));
    right += best == data.classes[data.typo_rows[k]] ? 1U : 0U;
  }
  return static_cast<double>(right) / static_cast<double>(tried.typos.size());
}

}  // namespace

std::string typo_copy(std::string_view text, std::uint64_t seed) {
  statistics::Random random(statistics::mixed(seed ^ hash_of(text)));
  return with_typos(text, Typos::kMixed, random);
}

std::span<const double> fusion_grid() {
  return kGrid;
}

Result<void> check_class_data(const ClassData& data) {
  return check(data, plain_texts(data));
}

Result<ClassFitReport> fit_classes(const ClassData& data, const ClassFitSettings& settings, ClassModel& model) {
  const std::vector<std::string> plain = plain_texts(data);
  SHOAL_TRY(check(data, plain));
  CrossValidation tried;
  tried.folds = folds_of(data, plain, settings.seed);
  tried.inside.resize(data.texts.size());
  tried.right_with_typo.resize(data.texts.size());
  tried.typos.resize(data.typo_rows.size());
  // The largest first: it lasts longest.
  std::vector<std::function<void()>> jobs = {[&] {
    std::vector<std::size_t> all(data.texts.size());
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
    model.parts = fit_parts(data, all, settings);
  }};
  for (std::size_t fold = 0; fold < kClassFolds; ++fold) {
    jobs.emplace_back([&, fold] { run_fold(data, settings, fold, tried); });
  }
  run_all(jobs, settings.threads);
  model.labels = data.labels;
  const bool fused = data.embeddings.size() > 0;
  ClassFitReport report;
  report.hashed = fit_head(tried, data, false, model.hashed_head);
  report.typo_accuracy = mean_of(tried.right_with_typo);
  if (fused) {
    report.fused = fit_head(tried, data, true, model.fused_head);
    report.probe_accuracy = probe_accuracy(tried, data);
    report.fused_typo_accuracy = typo_accuracy(tried, data, report.fused);
  }
  report.by_label = by_label(tried, data, fused ? report.fused : report.hashed);
  return report;
}

}  // namespace shoal::learning
