// fit_gain(): a GainModel from requests that both the weak and the strong model answered. What each part is worth is
// learned on rows that the part did not see; settings are those of research on MMLU, GSM8K and held-out subjects, and
// are not tuned to the rows. Same rows, options and seed: same model, bit for bit. Threads: any; pure, and for 11,000
// rows about ten seconds of one core.
//
// Sources: Ong et al. 2024, "RouteLLM" (the set-up); Wolpert 1992 and Breiman 1996 (stacking); the recipe is our own
// measurement, docs/explanation/how-sure.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/routing/gain_model.h"

namespace shoal::routing {

struct GainRow {
  std::string_view text;
  std::string_view topic;  // empty: not known; then there is no topic table
  std::string_view group;  // rows of one group fall on the same side of a split; empty: of their own
  double weak = 0;         // score of the weak model's answer, in [0, 1]
  double strong = 0;
};

// What the model is for.
enum class GainScope : std::uint8_t {
  kSameTopics,  // requests of the topics that it was fitted on: all parts
  kNewTopics,   // requests of others as well: words and shape in one linear model, which carries over best
};

struct GainFitOptions {
  GainScope scope = GainScope::kSameTopics;
  int segments = 1;  // or 3
  std::uint64_t seed = 1;
};

inline constexpr std::size_t kLeastGainRows = 200;
inline constexpr std::size_t kLeastDifferences = 20;  // rows that the two models do not do equally well

// Of the origin, rows and scores are filled in; the rest is the caller's. Errors: kInvalidData with the numbers,
// where rows are too few or the models hardly differ.
[[nodiscard]] Result<GainModel> fit_gain(std::span<const GainRow> rows, const GainFitOptions& options);

// That there are enough of them. Errors: as above.
[[nodiscard]] Result<void> check_gain_rows(std::span<const GainRow> rows);
// What thresholds on `gains`, which were predicted for these rows by what had not seen them, would have done.
[[nodiscard]] std::vector<GainPoint> gain_curve(std::span<const GainRow> rows, const std::vector<double>& gains);

}  // namespace shoal::routing
