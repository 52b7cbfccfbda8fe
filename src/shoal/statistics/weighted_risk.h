// How often kept answers are wrong, from the few of them that were audited, each with a probability that was chosen
// and written down (its propensity). An answer that was escalated tells nothing of those that were kept: what its
// local draft got wrong is not in here. Owned by value; functions. Threads: any; pure.
//
// Sources: Hajek 1971 (the ratio of weighted sums); Robins, Rotnitzky and Zhao 1994 (doubly robust); Kish 1965 (the
// effective number); Korn and Graubard 1998 (its interval); Rogan and Gladen 1978, Lang and Reiczigel 2014 (a judge
// that errs).
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "shoal/statistics/interval.h"

namespace shoal::statistics {

struct KeptAnswer {
  double propensity = 1;  // to be audited, in (0, 1]
  bool audited = false;
  bool wrong = false;    // of an audited one
  double predicted = 0;  // that it is wrong, before it was audited, in [0, 1]; for doubly_robust()
};

struct RiskEstimate {
  double risk = 0;
  Interval interval{0, 1};
  double effective = 0;  // as many labels, each with the same propensity, would tell as much
  std::size_t kept = 0;
  std::size_t audited = 0;
  std::size_t wrong = 0;  // of those
};

// sum(w/q) / sum(1/q) over those audited. Nothing where none is.
[[nodiscard]] std::optional<RiskEstimate> hajek_risk(std::span<const KeptAnswer> answers, double confidence = 0.95);
// mean(p) + mean(a/q (w - p)) over all kept ones: right where the propensities are, whatever is predicted, and the
// narrower the better it is predicted. Nothing where none is audited.
[[nodiscard]] std::optional<RiskEstimate> doubly_robust_risk(std::span<const KeptAnswer> answers,
                                                             double confidence = 0.95);

// Parts of the traffic that are audited by different rules, or by nobody: answers that must stay local are seen by a
// person or not at all. Nothing is taken from one for another.
struct Stratum {
  std::string name;
  std::vector<KeptAnswer> answers;
};
struct StratifiedRisk {
  struct Part {
    std::string name;
    std::size_t kept = 0;
    std::optional<RiskEstimate> risk;  // nothing: none audited
  };
  std::vector<Part> parts;
  std::optional<RiskEstimate> known;  // of those parts together that have one, by the number kept
  std::size_t unknown = 0;            // answers in the others
};
[[nodiscard]] StratifiedRisk stratified_risk(std::span<const Stratum> strata, double confidence = 0.95);

// What a judge said of answers whose truth is known.
struct JudgeRecord {
  std::size_t right = 0;         // right answers,
  std::size_t false_alarms = 0;  // of which it called so many wrong
  std::size_t wrong = 0;         // wrong answers,
  std::size_t misses = 0;        // of which it called so many right
};
// r = (observed - fpr) / (1 - fpr - fnr): the risk behind the one that such a judge found. Its own uncertainty is in
// the interval. Nothing where the judge is not surely better than chance: then what it says tells nothing.
// REQUIRES: false_alarms <= right, misses <= wrong.
[[nodiscard]] std::optional<RiskEstimate> behind_judge(const RiskEstimate& observed, const JudgeRecord& judge,
                                                       double confidence = 0.95);

}  // namespace shoal::statistics
