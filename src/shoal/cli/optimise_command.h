// `shoal models optimise`, and its results in words for `pull` and `models show`. Owned by nobody. Threads: the main
// thread.
#pragma once

#include <functional>
#include <string>

#include "shoal/cli/command.h"
#include "shoal/cli/optimiser.h"
#include "shoal/models/store.h"

namespace shoal::cli {

// `find`: the installed model of a name or alias. Errors of it: kModelNotFound.
void add_optimise_command(CLI::App& group, CommandContext& context,
                          std::function<Result<models::Installed>(const std::string&)> find);

// "2.31x as fast (prefill 2.3x, decode 1.1x, 16 streams 3.0x), +14 % memory, KL 0.0004, top-1 99.1 %".
[[nodiscard]] std::string in_words(const models::RewriteCandidate& candidate);

// What came of it, in one line; empty when no candidate could even be tried.
[[nodiscard]] std::string summary(const OptimiseReport& report);

}  // namespace shoal::cli
