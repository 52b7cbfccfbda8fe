#include "shoal/statistics/weighted_risk.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <utility>

#include <boost/math/distributions/normal.hpp>

#include "shoal/statistics/binomial.h"

namespace shoal::statistics {
namespace {

double quantile_of_normal(double confidence) {
  return boost::math::quantile(boost::math::normal_distribution<double>(), 0.5 + confidence / 2);
}

// The sums over what was audited.
struct Sums {
  double weights = 0;
  double squares = 0;  // of the weights
  double wrong = 0;    // weights of the wrong ones
};

RiskEstimate counted(std::span<const KeptAnswer> answers, Sums& sums) {
  RiskEstimate out;
  out.kept = answers.size();
  for (const KeptAnswer& one : answers) {
    assert(one.propensity > 0 && one.propensity <= 1);
    if (!one.audited) continue;
    const double weight = 1 / one.propensity;
    sums.weights += weight;
    sums.squares += weight * weight;
    sums.wrong += one.wrong ? weight : 0;
    ++out.audited;
    out.wrong += one.wrong ? 1 : 0;
  }
  return out;
}

// With a variance of 0 (none wrong, or all) what counts is Kish's number. A share of n labels has the variance
// r (1 - r) / n: the n for which this one would be that is how many labels it is worth.
void set_interval(RiskEstimate& out, double risk, double variance, double kish, double confidence) {
  out.risk = std::clamp(risk, 0.0, 1.0);
  const bool flat = variance <= 0 || out.risk <= 0 || out.risk >= 1;
  out.effective = flat ? kish : out.risk * (1 - out.risk) / variance;
  out.interval = clopper_pearson_weighted(out.risk, out.effective, confidence);
}

}  // namespace

std::optional<RiskEstimate> hajek_risk(std::span<const KeptAnswer> answers, double confidence) {
  Sums sums;
  RiskEstimate out = counted(answers, sums);
  if (out.audited == 0) return std::nullopt;
  const double risk = sums.wrong / sums.weights;
  double variance = 0;
  for (const KeptAnswer& one : answers) {
    if (!one.audited) continue;
    const double influence = ((one.wrong ? 1 : 0) - risk) / one.propensity;
    variance += influence * influence;
  }
  set_interval(out, risk, variance / (sums.weights * sums.weights), sums.weights * sums.weights / sums.squares,
               confidence);
  return out;
}

std::optional<RiskEstimate> doubly_robust_risk(std::span<const KeptAnswer> answers, double confidence) {
  Sums sums;
  RiskEstimate out = counted(answers, sums);
  if (out.audited == 0) return std::nullopt;
  const auto n = static_cast<double>(answers.size());
  const auto term = [](const KeptAnswer& one) {
    return one.predicted + (one.audited ? ((one.wrong ? 1 : 0) - one.predicted) / one.propensity : 0);
  };
  double mean = 0;
  for (const KeptAnswer& one : answers) mean += term(one) / n;
  double variance = 0;
  for (const KeptAnswer& one : answers) variance += (term(one) - mean) * (term(one) - mean) / (n * n);
  set_interval(out, mean, variance, sums.weights * sums.weights / sums.squares, confidence);
  return out;
}

StratifiedRisk stratified_risk(std::span<const Stratum> strata, double confidence) {
  StratifiedRisk out;
  RiskEstimate known;
  for (const Stratum& stratum : strata) {
    auto risk = hajek_risk(stratum.answers, confidence);
    if (risk) {
      known.kept += risk->kept;
      known.audited += risk->audited;
      known.wrong += risk->wrong;
      known.effective += risk->effective;
    } else {
      out.unknown += stratum.answers.size();
    }
    out.parts.push_back({stratum.name, stratum.answers.size(), risk});
  }
  if (known.audited == 0) return out;
  double mean = 0;
  double variance = 0;
  for (const StratifiedRisk::Part& part : out.parts) {
    if (!part.risk) continue;
    const double share = static_cast<double>(part.kept) / static_cast<double>(known.kept);
    // Of a part without a wrong one: that of half a one, so that it does not count as known for sure.
    const double least = 0.5 / (part.risk->effective + 1);
    const double risk = std::clamp(part.risk->risk, least, 1 - least);
    mean += share * part.risk->risk;
    variance += share * share * risk * (1 - risk) / part.risk->effective;
  }
  set_interval(known, mean, variance, known.effective, confidence);
  out.known = known;
  return out;
}

std::optional<RiskEstimate> behind_judge(const RiskEstimate& observed, const JudgeRecord& judge, double confidence) {
  assert(judge.false_alarms <= judge.right && judge.misses <= judge.wrong);
  if (judge.right == 0 || judge.wrong == 0) return std::nullopt;
  const double most_alarms = clopper_pearson_upper(judge.false_alarms, judge.right, (1 - confidence) / 2);
  const double most_misses = clopper_pearson_upper(judge.misses, judge.wrong, (1 - confidence) / 2);
  if (most_alarms + most_misses >= 1) return std::nullopt;
  // One more of either kind (Lang and Reiczigel 2014), so that a judge without an error in its record may have some.
  const auto rate = [](std::size_t k, std::size_t n) {
    return std::pair{(static_cast<double>(k) + 1) / (static_cast<double>(n) + 2), static_cast<double>(n) + 2};
  };
  const auto [alarms, of_right] = rate(judge.false_alarms, judge.right);
  const auto [misses, of_wrong] = rate(judge.misses, judge.wrong);
  const double better = 1 - alarms - misses;
  if (better <= 0) return std::nullopt;
  const double z = quantile_of_normal(confidence);
  const double size = observed.effective + z * z;
  const double seen = (observed.risk * observed.effective + z * z / 2) / size;
  const auto corrected = [&](double share) { return (share - alarms) / better; };
  const double risk = std::clamp(corrected(seen), 0.0, 1.0);
  const double variance = (seen * (1 - seen) / size + (1 - risk) * (1 - risk) * alarms * (1 - alarms) / of_right +
                           risk * risk * misses * (1 - misses) / of_wrong) /
                          (better * better);
  RiskEstimate out = observed;
  out.risk = std::clamp(corrected(observed.risk), 0.0, 1.0);
  const double half = z * std::sqrt(variance);
  out.interval = {std::clamp(std::min(risk - half, out.risk), 0.0, 1.0),
                  std::clamp(std::max(risk + half, out.risk), 0.0, 1.0)};
  out.effective = variance > 0 ? risk * (1 - risk) / variance : observed.effective;
  return out;
}

}  // namespace shoal::statistics
