// The models of routing/ as routers that can be compared: fitted on the rows of the other folds, the one before
// generation scores a prompt with the class that the server decides with, and the one after it the weak model's answer.
// Threads: any; a router is used by one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "shoal/evaluation/outcome_table.h"
#include "shoal/evaluation/router.h"
#include "shoal/routing/answer_gain_fit.h"
#include "shoal/routing/gain_fit.h"

namespace shoal::evaluation {

// Rows as fit_gain() wants them: their groups are its topics, and prompts that are comparable stay together. Points
// into `rows`, which must live as long.
class GainRows {
 public:
  explicit GainRows(std::span<const PairedRow> rows);
  [[nodiscard]] std::span<const routing::GainRow> rows() const { return gain_rows_; }

 private:
  std::vector<std::string> comparable_;
  std::vector<routing::GainRow> gain_rows_;
};

// The same for fit_answer_gain().
class AnswerRows {
 public:
  explicit AnswerRows(std::span<const PairedRow> rows);
  [[nodiscard]] std::span<const routing::AnswerRow> rows() const { return answer_rows_; }

 private:
  std::vector<std::string> comparable_;
  std::vector<routing::AnswerRow> answer_rows_;
};

// The seed of `options` is replaced by that of the partition.
[[nodiscard]] MakeRouter learned_router(const routing::GainFitOptions& options);
// By what the strong model is expected to gain over the answer, or by how likely the answer is wrong.
enum class AnswerTarget : std::uint8_t { kGain, kWrong };
[[nodiscard]] MakeRouter answer_router(AnswerTarget target);

}  // namespace shoal::evaluation
