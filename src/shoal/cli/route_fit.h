// `shoal route fit`: asks a model each question of a labelled file, grades its answers, and fits the calibration tables
// that tell how sure later answers are. Runs a worker of its own; answers are kept as they come, so that a command that
// was killed goes on where it was. Owned by nobody; functions. Threads: the main thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/cli/labelled_data.h"
#include "shoal/config/config.h"
#include "shoal/routing/fit.h"

namespace shoal::cli {

struct RouteFitRequest {
  std::string model;
  std::string task;
  std::filesystem::path data;
  std::int32_t commit_tokens = 16;
  std::int32_t max_tokens = 64;
  std::vector<std::string> stop;
  Grader grader = Grader::kExact;
  std::string grader_name = "exact";
  routing::FitOptions fit;
  std::string command;                                         // for the file
  std::function<void(std::size_t, std::size_t, double)> note;  // answers there, of how many, new ones per second
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

// Errors: kInvalidRequest for too few labels and a model without a hash, kCancelled (what was answered is kept), those
// of the engine and of read_labelled().
[[nodiscard]] Result<RouteFitReport> route_fit(const config::Config& config, const RouteFitRequest& request);

}  // namespace shoal::cli
