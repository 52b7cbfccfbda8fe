// Tests that may be looked at after every observation, and stopped at any: their error holds for all looks together,
// where a test made for one look, looked at often, cries wolf. Each gathers evidence as a capital that a fair game
// does not make grow: when it has grown to 1/delta, chance did so with a probability of at most delta (Ville 1939).
// Owned by value. Threads: one at a time; pure.
//
// Sources: Ville 1939; Wald 1945 (the likelihood ratio); Ramdas et al. 2023, "Game-theoretic statistics and safe
// anytime-valid inference"; Shiryaev 1963, Roberts 1966 and Shin, Ramdas and Rinaldo 2024, "E-detectors" (evidence
// that forgets a long calm); Page 1954 (CUSUM); Robbins 1970 (the mixture).
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "shoal/statistics/interval.h"

namespace shoal::statistics {

// Whether the share of wrong answers has risen above `tolerated`, from audits of some of them. Of answers audited with
// propensities that differ, add() takes the least of these over the answer's own: then an answer that is audited more
// often counts no more for that. Answers that are not audited change nothing.
struct RiskAlarmOptions {
  double tolerated = 0.05;  // p0: no alarm while the risk is at most this
  double harmful = 0.10;    // p1 > p0: the rise that is found soonest
  double delta = 0.05;      // the probability of a false alarm, ever; of the one that forgets: within `horizon` audits
  // 0: evidence of the whole time, E *= l. Else evidence that forgets calm, M = (1 + M) l, which finds a late rise as
  // soon as an early one. M less the number of audits is a martingale, so it comes to horizon/delta within `horizon`
  // audits with a probability of at most delta.
  std::size_t horizon = 0;
};
class RiskAlarm {
 public:
  // REQUIRES: 0 < tolerated < harmful < 1, delta in (0, 1).
  explicit RiskAlarm(const RiskAlarmOptions& options);

  // REQUIRES: weight in (0, 1]. Returns alarmed().
  bool add(bool wrong, double weight = 1);
  [[nodiscard]] bool alarmed() const { return alarmed_; }  // once it is, it stays so
  [[nodiscard]] double log_evidence() const { return log_evidence_; }
  [[nodiscard]] double log_limit() const { return log_limit_; }
  [[nodiscard]] std::size_t audits() const { return audits_; }
  [[nodiscard]] std::size_t wrong() const { return wrong_; }

 private:
  RiskAlarmOptions options_;
  double bet_;  // of the capital, on each wrong answer
  double log_limit_;
  double log_evidence_;
  std::size_t audits_ = 0;
  std::size_t wrong_ = 0;
  bool alarmed_ = false;
};

// Whether what comes is still spread over its categories as it was: bins of a score, or escalated and kept. Needs no
// label. Watches two alternatives, one on each side, each CUSUM(S = max(0, S + log ratio)); comes to `limit` =
// log(2 horizon / delta) within `horizon` observations of the old kind with a probability of at most delta.
struct ShiftAlarmOptions {
  std::vector<double> expected{};  // probabilities of the categories in their order; each > 0
  double tilt = 0.5;               // the alternatives: expected times exp(+-tilt x), x the category's place in [-1, 1]
  double delta = 0.05;
  std::size_t horizon = 100'000;
};
class ShiftAlarm {
 public:
  // REQUIRES: at least two categories, tilt > 0. The probabilities are divided by their sum.
  explicit ShiftAlarm(const ShiftAlarmOptions& options);

  // REQUIRES: such a category. Returns alarmed().
  bool add(std::size_t category);
  [[nodiscard]] bool alarmed() const { return alarmed_; }
  // -1: towards the first categories; 1: towards the last; 0: no alarm.
  [[nodiscard]] int direction() const { return direction_; }

 private:
  std::vector<double> to_first_;  // log ratios
  std::vector<double> to_last_;
  double limit_;
  double first_ = 0;
  double last_ = 0;
  bool alarmed_ = false;
  int direction_ = 0;
};

// Which of two is preferred, from blind comparisons that may end at any moment. The evidence against "neither" is a
// mixture of all bets on either, the same for both; ties say nothing and are not added.
enum class Preferred : signed char { kNeither, kFirst, kSecond };  // kNeither: cannot tell
class PreferenceTest {
 public:
  // REQUIRES: delta in (0, 1): the probability to name a winner, ever, where there is none.
  explicit PreferenceTest(double delta = 0.05);

  Preferred add(bool first_won);
  // Once there is a winner it stays the winner.
  [[nodiscard]] Preferred winner() const { return winner_; }
  [[nodiscard]] std::size_t first_wins() const { return first_; }
  [[nodiscard]] std::size_t second_wins() const { return second_; }
  [[nodiscard]] double log_evidence() const { return log_evidence(0.5); }
  // Of the first one's share of wins; right at all looks together with 1 - delta. Before the first: all of [0, 1].
  [[nodiscard]] Interval interval() const;

 private:
  // Against a share of `p`, in (0, 1).
  [[nodiscard]] double log_evidence(double p) const;

  double log_limit_;
  double log_mixture_ = 0;
  std::size_t first_ = 0;
  std::size_t second_ = 0;
  Preferred winner_ = Preferred::kNeither;
};

}  // namespace shoal::statistics
