// `shoal route fit`: asks a model each question of a labelled file, grades its answers, and fits the calibration tables
// that tell how sure later answers are. Runs a worker of its own; answers are kept as they come, so that a command that
// was killed goes on where it was. Owned by nobody; functions. Threads: the main thread.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/cli/graded_answers.h"
#include "shoal/config/config.h"
#include "shoal/routing/fit.h"

namespace shoal::cli {

struct RouteFitRequest : Questioning {
  routing::FitOptions fit;
  std::string command;  // for the file
};

struct RouteFitReport {
  std::string model;
  std::size_t answers = 0;
  std::size_t right = 0;
  std::size_t empty = 0;  // answers without a token; no table is for them
  std::size_t asked = 0;  // now; the others were there
  std::vector<routing::Table> tables;
  std::vector<std::filesystem::path> files;  // as `tables`
  std::string no_prefix;                     // why there is no table of the first tokens; empty: there is one
};

// Errors: kInvalidData for too few labels and a model without a hash, kCancelled (what was answered is kept), those
// of the engine and of read_labelled().
[[nodiscard]] Result<RouteFitReport> route_fit(const config::Config& config, const RouteFitRequest& request);

}  // namespace shoal::cli
