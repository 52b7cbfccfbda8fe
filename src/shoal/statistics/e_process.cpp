#include "shoal/statistics/e_process.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <numeric>

namespace shoal::statistics {

RiskAlarm::RiskAlarm(const RiskAlarmOptions& options)
    : options_(options),
      bet_((options.harmful - options.tolerated) / (options.tolerated * (1 - options.tolerated))),
      log_limit_(std::log(static_cast<double>(std::max<std::size_t>(options.horizon, 1)) / options.delta)),
      log_evidence_(options.horizon == 0 ? 0 : -std::numeric_limits<double>::infinity()) {
  assert(0 < options.tolerated && options.tolerated < options.harmful && options.harmful < 1);
  assert(options.delta > 0 && options.delta < 1);
}

bool RiskAlarm::add(bool wrong, double weight) {
  assert(weight > 0 && weight <= 1);
  ++audits_;
  wrong_ += wrong ? 1 : 0;
  // With the weight 1 it is the likelihood ratio: p1/p0 of a wrong one, (1-p1)/(1-p0) of a right one.
  const double factor = 1 + bet_ * weight * ((wrong ? 1 : 0) - options_.tolerated);
  if (options_.horizon > 0) log_evidence_ = std::log1p(std::exp(log_evidence_));
  log_evidence_ += std::log(factor);
  alarmed_ = alarmed_ || log_evidence_ >= log_limit_;
  return alarmed_;
}

ShiftAlarm::ShiftAlarm(const ShiftAlarmOptions& options)
    : limit_(std::log(2 * static_cast<double>(std::max<std::size_t>(options.horizon, 1)) / options.delta)) {
  const std::vector<double>& expected = options.expected;
  assert(expected.size() >= 2 && options.tilt > 0);
  const double sum = std::accumulate(expected.begin(), expected.end(), 0.0);
  const auto ratios = [&](double tilt) {
    std::vector<double> out;
    double normaliser = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const double place = 2 * static_cast<double>(i) / static_cast<double>(expected.size() - 1) - 1;
      out.push_back(tilt * place);
      normaliser += expected[i] / sum * std::exp(tilt * place);
    }
    for (double& one : out) one -= std::log(normaliser);
    return out;
  };
  to_first_ = ratios(-options.tilt);
  to_last_ = ratios(options.tilt);
}

bool ShiftAlarm::add(std::size_t category) {
  first_ = std::max(0.0, first_ + to_first_.at(category));
  last_ = std::max(0.0, last_ + to_last_.at(category));
  if (!alarmed_ && (first_ >= limit_ || last_ >= limit_)) {
    alarmed_ = true;
    direction_ = last_ >= limit_ ? 1 : -1;
  }
  return alarmed_;
}

PreferenceTest::PreferenceTest(double delta) : log_limit_(-std::log(delta)) {
  assert(delta > 0 && delta < 1);
}

Preferred PreferenceTest::add(bool first_won) {
  // The mixture is over Beta(5, 5), which bets on shares between 0.2 and 0.8: nobody compares what is known to be
  // worse.
  constexpr double kPrior = 5;
  std::size_t& wins = first_won ? first_ : second_;
  log_mixture_ += std::log((kPrior + static_cast<double>(wins)) / (2 * kPrior + static_cast<double>(first_ + second_)));
  ++wins;
  if (winner_ == Preferred::kNeither && log_evidence() >= log_limit_) {
    winner_ = first_ > second_ ? Preferred::kFirst : Preferred::kSecond;
  }
  return winner_;
}

double PreferenceTest::log_evidence(double p) const {
  return log_mixture_ - static_cast<double>(first_) * std::log(p) - static_cast<double>(second_) * std::log1p(-p);
}

Interval PreferenceTest::interval() const {
  if (first_ + second_ == 0) return {0, 1};
  // The evidence grows on either side of the share that was seen; where it comes to the limit is an end.
  const double seen = static_cast<double>(first_) / static_cast<double>(first_ + second_);
  const auto end = [this](double inside, double outside) {
    constexpr int kHalvings = 60;
    for (int i = 0; i < kHalvings; ++i) {
      const double middle = (inside + outside) / 2;
      const bool kept = middle > 0 && middle < 1 && log_evidence(middle) < log_limit_;
      (kept ? inside : outside) = middle;
    }
    return inside;
  };
  return {first_ == 0 ? 0 : end(seen, 0), second_ == 0 ? 1 : end(seen, 1)};
}

}  // namespace shoal::statistics
