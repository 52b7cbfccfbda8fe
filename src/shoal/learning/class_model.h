// ClassModel: which of the labels that it was trained for a text has, how probable each is, how probable it is that the
// best one is right, and whether the text is of another kind than all that it was trained on. A hashed linear model
// (microseconds) fused with a probe on the text's embedding, when there is one: a x hashed logits + b x probe logits.
// Without an embedding the hashed part answers alone, with heads of its own.
//
// Use: `ClassScorer scorer; auto answer = scorer.classify(model, text, embedding)`. Made by class_fit.h, kept in a file
// by class_file.h. A model is owned by whoever loaded it, and shared; threads: any. A scorer is for one thread at a
// time and, once it has seen a model, allocates nothing for the hashed part.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/learning/class_features.h"
#include "shoal/learning/detector.h"
#include "shoal/learning/probe.h"
#include "shoal/learning/softmax.h"

namespace shoal::learning {

// The model that makes the embeddings. Another one, or the same with other weights, makes other numbers.
struct Embedder {
  std::string name;
  std::string sha256;  // of its file; empty: never hashed
  std::uint64_t bytes = 0;
  std::uint32_t width = 0;

  bool operator==(const Embedder&) const = default;
};

// Whether both make the same numbers, by name, width and size, and by hash where both have one.
[[nodiscard]] bool same_embedder(const Embedder& a, const Embedder& b);

// What is embedded of a text: the end of a long one, which has the question.
[[nodiscard]] std::string_view embedded_part(std::string_view text);

// What answers before calibration.
struct ClassParts {
  ColumnWeights columns;
  Softmax hashed;
  std::optional<Probe> probe;
  std::optional<Neighbours> neighbours;  // with the probe
};

// What probabilities are made with, of the hashed part alone or of both.
struct ClassHead {
  double of_hashed = 1;
  double of_probe = 0;
  Detector right;
  // Trained on texts of other kinds, when there were some: of both sides weighed alike.
  std::optional<Detector> outside;
  // Else: how ordinary a text looks, and what share of the training texts look less so, in steps of 1 %.
  std::vector<double> ordinary_means;
  std::vector<double> ordinary_scales;
  std::vector<double> ordinary_quantiles;
};

struct ClassModel {
  std::string name;
  std::vector<std::string> labels;
  std::optional<Embedder> embedder;
  std::string data_sha256;
  std::string date;
  std::string report;  // JSON: what was measured when it was trained, and what was chosen from what
  ClassParts parts;
  ClassHead hashed_head;
  ClassHead fused_head;  // with an embedder
};

// The signals of a decision: those of the hashed part, then those of an embedding.
inline constexpr std::size_t kHashedSignals = 6;
inline constexpr std::size_t kFusedSignals = 15;
struct ClassSignals {
  std::array<double, kFusedSignals> values{};
  std::size_t count = 0;

  [[nodiscard]] std::span<const double> all() const { return {values.data(), count}; }
};

// Log-probabilities by each, and of both together; the last two are empty for the hashed part alone.
struct LogProbabilities {
  std::span<const float> fused;
  std::span<const float> fused_probabilities;
  std::span<const float> hashed;
  std::span<const float> hashed_logits;
  std::span<const float> probe;
};
[[nodiscard]] ClassSignals signals_of(const LogProbabilities& of, const Neighbours::Distances* distances);
// Those of which ordinary_score() is the sum.
[[nodiscard]] double ordinary_score(const ClassHead& head, const ClassSignals& signals);

struct ClassAnswer {
  std::span<const float> probabilities;  // by label; valid until the scorer's next call
  std::size_t best = 0;
  double right = 0;    // the probability that `best` is right, for a text like those of the training
  double outside = 0;  // from 0, as ordinary as any, to 1
  // What a certificate's threshold is compared with, the higher the surer: `right`, times how ordinary the text looks
  // where the model has learned that from examples of other texts.
  double score = 0;
  bool fused = false;  // the embedding took part
};

class ClassScorer {
 public:
  // An empty embedding: the hashed part alone. REQUIRES: else the model has an embedder, of that width.
  [[nodiscard]] ClassAnswer classify(const ClassModel& model, std::string_view text,
                                     std::span<const float> embedding = {});

 private:
  ClassFeatures features_;
  std::vector<float> hashed_logits_;
  std::vector<float> hashed_;
  std::vector<float> probe_;
  std::vector<float> fused_;
  std::vector<float> probabilities_;
  std::vector<float> scratch_;
};

}  // namespace shoal::learning
