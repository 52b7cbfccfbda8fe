// The signals of a row of logits in float64 with libm, by their definitions, and the comparison with ours.
// Use: expect_signals(row, measured, "what").
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "shoal/worker/signals.h"

namespace shoal::worker {

struct ReferenceRow {
  double max = -std::numeric_limits<double>::infinity();
  double log_sum_exp = 0;
  double entropy = 0;
  double margin = 0;
  double self_certainty = 0;

  explicit ReferenceRow(std::span<const float> row) {
    for (const float l : row) max = std::max(max, static_cast<double>(l));
    double z = 0;
    for (const float l : row) z += std::exp(static_cast<double>(l) - max);
    log_sum_exp = max + std::log(z);
    std::vector<double> p;
    double mean_log_p = 0;
    double possible = 0;
    for (const float l : row) {
      const double log_p = static_cast<double>(l) - max - std::log(z);
      p.push_back(std::exp(log_p));
      if (p.back() > 0) entropy -= p.back() * log_p;
      if (!std::isfinite(l)) continue;
      mean_log_p += log_p;
      ++possible;
    }
    // KL(u || p) = sum_i u_i (log u_i - log p_i), u_i = 1 / V
    self_certainty = -std::log(possible) - mean_log_p / possible;
    std::nth_element(p.begin(), p.begin() + 1, p.end(), std::greater<>());
    margin = p[0] - p[1];
  }
  [[nodiscard]] double logprob(float logit) const { return static_cast<double>(logit) - log_sum_exp; }
};

// 1e-5, and where a value is beyond 100, so that a float cannot hold it to 1e-5, as much of it.
inline void expect_close(double found, double wanted, const std::string& what) {
  EXPECT_NEAR(found, wanted, 1e-5 * std::max(1.0, std::abs(wanted) / 100)) << what;
}

inline void expect_signals(std::span<const float> row, const RowSignals& found, const std::string& what) {
  const ReferenceRow wanted(row);
  for (const std::size_t i : {std::size_t{0}, row.size() / 2, row.size() - 1}) {
    if (std::isfinite(row[i])) expect_close(found.logprob(row[i]), wanted.logprob(row[i]), what + ", logprob");
  }
  expect_close(found.entropy, wanted.entropy, what + ", entropy");
  expect_close(found.margin, wanted.margin, what + ", margin");
  expect_close(found.self_certainty, wanted.self_certainty, what + ", self-certainty");
  EXPECT_EQ(static_cast<double>(found.max), wanted.max) << what;
  EXPECT_EQ(found.best, std::max_element(row.begin(), row.end()) - row.begin()) << what;
}

}  // namespace shoal::worker
