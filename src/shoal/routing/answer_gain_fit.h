// fit_answer_gain(): an AnswerGain from requests that both models answered, with what the weak one answered. Whatever
// stands on another model's word (what is expected of a question, what the answer's words say) is fitted on what that
// model said of rows that it had not seen; the penalty and the features of each logistic head are chosen from
// kHeadPenalties and kHeadFeatures by cross-validated log-loss, other settings are those of research on GSM8K and
// ZeroEval and not tuned to the rows. Same rows and seed: same model, bit for bit. Threads: any; pure, and for 1,300
// rows about two seconds of one core.
//
// Sources: Platt 1999 (logistic heads); Wolpert 1992 and Breiman 1996 (stacking).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "shoal/base/result.h"
#include "shoal/routing/answer_gain.h"

namespace shoal::routing {

struct AnswerRow {
  GivenAnswer given;
  std::string_view group{};  // rows of one group fall on the same side of a split; empty: of their own
  double weak = 0;           // score of the weak model's answer, in [0, 1]
  double strong = 0;
  // Share of models that are wrong there, where more than these two are known; they are only learned from.
  std::optional<double> difficulty{};
};

struct AnswerFitOptions {
  std::uint64_t seed = 1;
};

inline constexpr std::array<double, 4> kHeadPenalties = {10, 33, 100, 330};
inline constexpr std::array<std::size_t, 3> kHeadFeatures = {kBriefFeatures, kCheckedFeatures, kAnswerFeatures};

// Of the origin, rows and scores are filled in; the rest is the caller's. Errors: kInvalidData with the numbers, where
// rows are too few, the models hardly differ, or no answer is known.
[[nodiscard]] Result<AnswerGain> fit_answer_gain(std::span<const AnswerRow> rows, const AnswerFitOptions& options);

}  // namespace shoal::routing
