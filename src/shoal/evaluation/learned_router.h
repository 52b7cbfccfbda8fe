// The gain model of routing/ as a router that can be compared: fitted on the rows of the other folds, it scores a
// prompt with the class that the server decides with. Threads: any; a router is used by one at a time.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "shoal/evaluation/outcome_table.h"
#include "shoal/evaluation/router.h"
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

// The seed of `options` is replaced by that of the partition.
[[nodiscard]] MakeRouter learned_router(const routing::GainFitOptions& options);

}  // namespace shoal::evaluation
