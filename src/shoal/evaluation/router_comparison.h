// Several routers on the same rows: each is scored on partitions of its own making or of the folds, and compared with
// the first one on the same resamples. What `shoal eval route` prints.
// Same rows, options and routers: same result, bit for bit. Threads: any; pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/evaluation/router.h"
#include "shoal/evaluation/router_score.h"
#include "shoal/statistics/bootstrap.h"
#include "shoal/statistics/ranking.h"

namespace shoal::evaluation {

struct ComparisonOptions {
  std::size_t folds = 5;
  std::size_t partitions = 3;    // each with a seed of its own
  std::uint64_t first_seed = 1;  // and those after it
  bool by_group = false;         // hold out whole groups
  std::size_t resamples = 1'000;
  std::optional<Prices> prices{};
};

// The split that a router which learns must keep to.
struct Partition {
  std::uint64_t seed = 0;
  std::vector<std::size_t> fold_of;
};

struct NamedRouter {
  std::string name;
  // A score for each row; confidences, that the weak model is right, if it has them. Errors: its own.
  std::function<Result<ScoresFile>(std::span<const PairedRow> rows, const Partition& partition)> score;
};
// One that learns.
[[nodiscard]] NamedRouter trained(std::string name, MakeRouter make);
// One whose scores are known.
[[nodiscard]] NamedRouter fixed(std::string name, ScoresFile scores);
[[nodiscard]] NamedRouter random_router(std::string name);

struct RouterReport {
  std::string name;
  RouterScore score;           // numbers are means over the partitions; the two estimates are of the first
  std::vector<double> pooled;  // APGR over all rows, by partition
  // APGR inside each fold, a mean over all folds of all partitions: scores of two folds are never compared. Left out
  // are folds in which the strong model is not better.
  double mean_of_folds = 0;
  double gap_weighted_folds = 0;  // weighted by the gap between the models in the fold
  std::size_t undefined_folds = 0;
  std::optional<statistics::Reliability> confidence;  // of the first partition
  std::vector<ArenaPoint> arena;                      // of the first partition
  // APGR minus that of the first router, on the first partition; the interval allows for as many comparisons as there
  // are. By group where there are at least ten, else by row.
  std::optional<statistics::Estimate> difference;
  std::optional<statistics::Estimate> auroc_difference;            // the same of the AUROC for difficulty
  statistics::Verdict verdict = statistics::Verdict::kCannotTell;  // of `difference`
};

struct Comparison {
  std::vector<RouterReport> routers;
  std::size_t groups = 0;
  bool difference_by_group = false;
};

// Errors: of the routers and of group_folds(); kInvalidData where the strong model is not better on these rows, for
// then there is nothing to route for, and where there are fewer different prompts than folds.
[[nodiscard]] Result<Comparison> compare_routers(std::span<const PairedRow> rows, std::span<const NamedRouter> routers,
                                                 const ComparisonOptions& options);

}  // namespace shoal::evaluation
