// What the parts of `make bench-routing` share: the rows that they read, and lines that bench/routing/run collects. A
// line that ends in "bar X: met" or "bar X: MISSED" is one of the table's.
#pragma once

#include <cmath>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "shoal/base/result.h"
#include "shoal/evaluation/outcome_table.h"

namespace shoal::bench {

struct Bar {
  double value = 0;
  bool at_most = false;  // else at least
};

inline void line(std::string_view what, double value, std::string_view unit, std::string_view note,
                 std::optional<Bar> bar = {}) {
  const bool met = bar && (bar->at_most ? value <= bar->value : value >= bar->value);
  fmt::print("{:<52} {:9.3f} {:<4} {:<30} {}\n", what, value, unit, note,
             bar ? fmt::format("bar {:g}: {}", bar->value, met ? "met" : "MISSED") : "");
  std::fflush(stdout);
}

// Of a share that was seen in so many cases.
[[nodiscard]] inline double error_of(double share, double of) {
  return std::sqrt(std::max(share * (1 - share), 0.0) / of);
}

// In percent, with its standard error.
inline void share_line(std::string_view what, double share, double of, std::optional<Bar> bar = {},
                       std::string_view note = "") {
  line(what, 100 * share, "%", fmt::format("+- {:.2f}{}{}", 100 * error_of(share, of), note.empty() ? "" : ", ", note),
       bar);
}

// A pair of models on a table, and the table that it points into.
struct Outcomes {
  evaluation::OutcomeTable table;
  evaluation::OutcomePair pair;
};

// From FOLDER WEAK STRONG [EXCLUDE], what stands behind the name of a part.
[[nodiscard]] inline Result<Outcomes> read_outcomes(const std::vector<std::string>& words) {
  evaluation::OutcomeOptions options;
  if (words.size() > 4) options.exclude.emplace_back(words[4]);
  evaluation::OutcomeTable table = SHOAL_TRY(evaluation::read_outcomes(words[1], options));
  evaluation::OutcomePair pair = SHOAL_TRY(evaluation::pair_outcomes(table, words[2], words[3]));
  return Outcomes{std::move(table), std::move(pair)};
}

}  // namespace shoal::bench
