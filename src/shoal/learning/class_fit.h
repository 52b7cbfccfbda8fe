// Trains a ClassModel. Everything that is chosen or calibrated - the weights of the fusion, the heads, what the report
// says - comes from three-fold cross-validation: each row is scored by a model that has not seen it, nor a row that
// differs from it in case, marks and spaces only. The model that is kept is then fitted to all rows.
// The folds are fitted beside each other on `threads`; the result does not depend on how many there are.
// Owned by nobody; functions. Threads: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/learning/class_model.h"
#include "shoal/statistics/interval.h"
#include "shoal/statistics/ranking.h"

namespace shoal::learning {

struct ClassData {
  std::vector<std::string> labels;
  std::vector<std::string> texts;
  std::vector<std::uint32_t> classes;  // of the texts
  std::vector<std::string> outside;    // texts that have none of the labels; may be empty
  // With an embedder: of the texts, of those outside. Else empty.
  EmbeddingRows embeddings;
  EmbeddingRows outside_embeddings;
  // Of typo_copy(), for some of the texts: row i is that of texts[typo_rows[i]]. May be empty.
  std::vector<std::size_t> typo_rows;
  EmbeddingRows typo_embeddings;
};

struct ClassFitSettings {
  std::uint64_t seed = 1;
  bool typos = false;  // train on a copy of each text with typing errors, too
  std::size_t threads = 1;
};

// The text with typing errors that training adds; a text has the same ones wherever it is.
[[nodiscard]] std::string typo_copy(std::string_view text, std::uint64_t seed);

inline constexpr std::size_t kFewestPerLabel = 3;
inline constexpr std::size_t kClassFolds = 3;
inline constexpr double kProbeLooseness = 20;
inline constexpr double kShrink = 0.01;

struct ClassQuality {
  double accuracy = 0;
  statistics::Interval interval;  // 95 %
  statistics::Reliability right;  // of the probability that the best label is right
  double outside_auroc = 0.5;     // when there are texts outside; the labels' own texts are the other side
  double of_hashed = 1;
  double of_probe = 0;
  double log_loss = 0;
};
struct ClassFitReport {
  ClassQuality hashed;
  ClassQuality fused;  // with an embedder
  double probe_accuracy = 0;
  double fused_typo_accuracy = 0;  // on typo_rows; 0 without any
  double typo_accuracy = 0;        // of the hashed part, on texts with a swap in one of five words
  struct Label {
    std::uint32_t label = 0;
    std::size_t texts = 0;
    std::size_t right = 0;
    std::uint32_t taken_for = 0;  // the label that most of the wrong ones got
    std::size_t taken = 0;
  };
  std::vector<Label> by_label;  // the worst first
};

// Errors: as fit_classes(), which asks it first.
[[nodiscard]] Result<void> check_class_data(const ClassData& data);

// Fills parts and heads of `model`. Errors: kInvalidData: fewer than two labels, or a label with fewer than
// kFewestPerLabel different texts.
[[nodiscard]] Result<ClassFitReport> fit_classes(const ClassData& data, const ClassFitSettings& settings,
                                                 ClassModel& model);

// The grid that the weights of the fusion are chosen from.
[[nodiscard]] std::span<const double> fusion_grid();

}  // namespace shoal::learning
