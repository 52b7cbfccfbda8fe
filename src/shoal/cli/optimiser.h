// Rewrites a model's weights in other types, measures each candidate on this machine beside the source, chooses by
// models::choose() and makes the chosen file the one that the store serves. All computing is done by sandboxed
// workers; what is half done lies in the store's partial folder and goes with the next try.
// Used by `shoal models optimise` and `shoal pull`. Threads: the main thread; Ctrl-C ends it with kCancelled.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/config/load.h"
#include "shoal/models/rewrite.h"
#include "shoal/models/store.h"

namespace shoal::cli {

struct OptimiseRequest {
  models::RewriteTerms terms;
  std::string forced;      // a type that is taken whatever the measurement says; empty: the terms decide
  bool dry_run = false;    // measure only
  bool free_only = false;  // for pull: only what the default terms can allow is tried
  std::uint32_t rounds = 5;
  std::function<void(const std::string&)> note;
};

struct OptimiseReport {
  std::string source_type;
  std::vector<models::RewriteCandidate> candidates;
  std::optional<std::size_t> chosen;  // nothing: the source is the best
  models::Installed model;            // as it is in the store now
};

// Errors: kUnsupportedParameter (an embedding model; a forced type that does not apply), kInvalidRequest (no such
// type), kInsufficientMemory, kCancelled, kIo, kModelInvalid, kWorkerCrashed and what else workers say.
[[nodiscard]] Result<OptimiseReport> optimise(const config::Config& config, const models::Store& store,
                                              const models::Installed& model, const OptimiseRequest& request);

}  // namespace shoal::cli
