// Routers that can be scored on a table, and how one that learns is kept from seeing what it is scored on: rows are
// split into folds, each is scored by a router that was fitted on the others.
//
//   std::vector<double> scores = SHOAL_TRY(cross_fit(rows, folds, make_group_router, seed));
//
// A router that learns implements TrainableRouter; nothing else is needed to compare it with the others.
// Threads: any; a router is used by one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/evaluation/outcome_table.h"

namespace shoal::evaluation {

// What a router may look at when it decides.
struct RouterInput {
  std::string_view prompt;
  std::string_view group;        // only those that say so use it: a server does not know it
  std::string_view weak_answer;  // empty: not known, or not yet
  double weak_answer_bytes = 0;  // 0: not known, or not yet
};

class TrainableRouter {
 public:
  TrainableRouter() = default;
  TrainableRouter(const TrainableRouter&) = delete;
  TrainableRouter& operator=(const TrainableRouter&) = delete;
  virtual ~TrainableRouter() = default;

  // Called once, before any score. The views live until it returns.
  [[nodiscard]] virtual Result<void> fit(std::span<const PairedRow> rows) = 0;
  // The higher, the more it is worth to ask the strong model. Finite.
  [[nodiscard]] virtual double score(const RouterInput& input) const = 0;
  // That the weak model is right there; none: it says nothing of that.
  [[nodiscard]] virtual std::optional<double> confidence(const RouterInput& /*input*/) const { return std::nullopt; }
};

// A fresh router for each fold; the seed is that of the partition.
using MakeRouter = std::function<std::unique_ptr<TrainableRouter>(std::uint64_t seed)>;

// The mean gain of the group, among the rows that it was fitted on; of a group that it has not seen, that of all rows.
// What knowing the subject of a question is worth.
[[nodiscard]] std::unique_ptr<TrainableRouter> make_group_router(std::uint64_t seed);

// Which fold each row is in, from 0. Rows with prompts that are comparable stay together. REQUIRES: at least two folds.
[[nodiscard]] std::vector<std::size_t> random_folds(std::span<const PairedRow> rows, std::size_t folds,
                                                    std::uint64_t seed);
// Whole groups are held out. Errors: kInvalidData where there are fewer groups than folds.
[[nodiscard]] Result<std::vector<std::size_t>> group_folds(std::span<const PairedRow> rows, std::size_t folds,
                                                           std::uint64_t seed);

struct ScoresFile {
  std::vector<double> scores;
  std::vector<double> confidences;  // that the weak model is right; empty unless there is one for every row
};

// A score for each row, by a router that was fitted on the rows of the other folds. Errors: those of fit();
// kInvalidData where a fold leaves nothing to fit on, kInternal where a score is not finite.
[[nodiscard]] Result<ScoresFile> cross_fit(std::span<const PairedRow> rows, std::span<const std::size_t> fold_of,
                                           const MakeRouter& make, std::uint64_t seed);

// By chance.
[[nodiscard]] std::vector<double> random_scores(std::size_t rows, std::uint64_t seed);
// The number of bytes of the prompt.
[[nodiscard]] std::vector<double> length_scores(std::span<const PairedRow> rows);

// The number of bytes of the weak model's answer: what a router that asks it first has for nothing. Errors:
// kInvalidData where the table does not have the answers.
[[nodiscard]] Result<std::vector<double>> answer_length_scores(std::span<const PairedRow> rows);

// JSONL with {"prompt": TEXT, "score": NUMBER}, and, if it has them, "confidence", a probability. Prompts are found by
// what is comparable in them. Errors: kIo; kInvalidData with the line, and where rows of the table have no score.
[[nodiscard]] Result<ScoresFile> read_scores(const std::filesystem::path& path, std::span<const PairedRow> rows);

}  // namespace shoal::evaluation
