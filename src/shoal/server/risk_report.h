// What the store knows of how often the kept answers of a route are wrong: audits with their propensities, strata
// apart, feedback apart, and what the escalated ones alone would make one believe. Each number follows from the
// receipts and labels; made again from the same records it is the same. Owned by value. Threads: any; pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/statistics/interval.h"
#include "shoal/statistics/weighted_risk.h"
#include "shoal/store/rows.h"

namespace shoal::server {

// Kept answers that are audited by one rule.
struct RiskStratum {
  std::string name;  // "open", "local_only", "several"; "unaudited": open, when the route audited none
  std::size_t kept = 0;
  std::size_t late = 0;   // of those
  std::size_t drawn = 0;  // for an audit
  // Of those whose audit has come. The propensities are those of the draw times the share of audits that came.
  std::optional<statistics::RiskEstimate> hajek{};
  std::optional<statistics::RiskEstimate> doubly_robust{};
};

// Counted, with no known probability of being said.
struct Said {
  std::size_t right = 0;
  std::size_t wrong = 0;
};

// The answers that one threshold kept.
struct RiskGate {
  std::string certificate;  // empty: the threshold of the configuration
  double threshold = 0;
  std::size_t kept = 0;
  std::size_t audited = 0;
  std::size_t wrong = 0;
};

struct RiskReport {
  std::map<audit::Action, std::size_t> actions{};
  std::vector<RiskStratum> strata{};
  std::vector<RiskGate> gates{};  // in the order in which they were first used
  Said escalated{};               // drafts that were thrown away, held against the answer that took their place
  statistics::Interval escalated_interval{0, 1};
  Said feedback_of_kept{};
  Said feedback_of_others{};
};

[[nodiscard]] RiskReport risk_report(std::span<const store::JudgedAnswer> answers, double confidence = 0.95);

// `route`, and the days in [from, to), unix seconds; `drift`: JSON, or "null".
[[nodiscard]] std::string risk_json(const RiskReport& report, std::string_view route, std::int64_t from,
                                    std::int64_t to, double confidence, std::string_view drift);

}  // namespace shoal::server
