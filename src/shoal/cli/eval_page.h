// The pairs of a blind comparison on a page of this machine: one HTML page without scripts or styles from elsewhere, on
// a loopback port, under a path that only who was told it knows. Names of routes are on it only when it has ended. It
// answers to loopback names and to its own origin only, and a vote is on the disk before it is answered.
// Place: `shoal eval compare --page`. Owned by nobody; a function. Threads: the main thread, until the comparison has
// ended or a signal came.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "shoal/base/result.h"
#include "shoal/evaluation/blind.h"

namespace shoal::cli {

struct EvalPageOptions {
  std::uint16_t port = 0;  // 0: any free one
  double delta = 0.05;     // of the comparison
  std::function<std::string()> verdict{};
  std::function<void(const std::string& url)> ready{};
};

// Errors: kAddressInUse, kIo.
Result<void> compare_on_page(evaluation::BlindComparison& comparison, const EvalPageOptions& options);

}  // namespace shoal::cli
