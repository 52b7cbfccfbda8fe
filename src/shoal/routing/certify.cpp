#include "shoal/routing/certify.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "shoal/routing/groups.h"
#include "shoal/statistics/binomial.h"

namespace shoal::routing {
namespace {

using statistics::binomial_at_most;
using statistics::least_trials;

constexpr double kCoverageStep = 0.005;
constexpr std::uint64_t kSplitSeed = 0x63657274;  // another order than that of the labels a table was fitted on
constexpr double kPlannedPower = 0.8;

struct Scored {
  double score = 0;
  bool wrong = false;
};
struct Half {
  std::vector<Scored> scored;  // the surest first
  std::size_t all = 0;
  std::vector<std::size_t> wrong{0};  // of the first so many

  void sort() {
    std::ranges::stable_sort(scored, std::greater(), &Scored::score);
    for (const Scored& one : scored) wrong.push_back(wrong.back() + (one.wrong ? 1 : 0));
  }
  [[nodiscard]] GatePoint at(double threshold) const {
    GatePoint out{.threshold = threshold};
    const auto end = std::ranges::partition_point(scored, [=](const Scored& one) { return one.score >= threshold; });
    out.kept = static_cast<std::size_t>(end - scored.begin());
    out.wrong = wrong[out.kept];
    if (all > 0) out.coverage = static_cast<double>(out.kept) / static_cast<double>(all);
    if (out.kept > 0) out.risk = static_cast<double>(out.wrong) / static_cast<double>(out.kept);
    return out;
  }
};

// The most wrong ones of so many with which the risk is shown; none: not even without a wrong one.
std::optional<std::size_t> most_wrong(std::size_t kept, double risk, double delta) {
  std::optional<std::size_t> out;
  std::size_t below = 0;
  for (std::size_t above = kept; below < above;) {
    const std::size_t middle = below + (above - below) / 2;
    if (binomial_at_most(middle, kept, risk) > delta) {
      above = middle;
    } else {
      out = middle;
      below = middle + 1;
    }
  }
  return out;
}

// How many kept ones show the risk with a probability of kPlannedPower, when so many of them are wrong in truth.
std::optional<std::size_t> planned_kept(double truth, double risk, double delta) {
  constexpr std::size_t kMostWrong = 4'096;
  const auto enough = [&](std::size_t k) {
    return binomial_at_most(k, least_trials(k, risk, delta), truth) >= kPlannedPower;
  };
  if (enough(0)) return least_trials(0, risk, delta);
  std::size_t above = 1;
  while (above < kMostWrong && !enough(above)) above *= 2;
  if (above >= kMostWrong) return std::nullopt;
  std::size_t below = above / 2;
  while (above - below > 1) {
    const std::size_t middle = below + (above - below) / 2;
    (enough(middle) ? above : below) = middle;
  }
  return least_trials(above, risk, delta);
}

// About the same, by normal distributions: to choose among thresholds.
double roughly_planned(double truth, double risk) {
  constexpr double kShown = 2;       // standard deviations of 1 - delta, about
  constexpr double kPlanned = 0.84;  // of kPlannedPower
  const double sum = kShown * std::sqrt(risk * (1 - risk)) + kPlanned * std::sqrt(truth * (1 - truth));
  return sum * sum / ((risk - truth) * (risk - truth));
}

std::string percent(double share) {
  return fmt::format("{:.4g} %", 100 * share);
}

class Certifier {
 public:
  Certifier(const CertifyOptions& options, Certification& out) : options_(options), out_(out) {}

  void run(std::span<const ScoredLabel> labels) {
    split(labels);
    const double share = static_cast<double>(out_.wrong) / static_cast<double>(out_.labels);
    out_.least_escalated = std::max(0.0, (share - options_.risk) / (1 - options_.risk));
    set_thresholds();
    const double delta = 1 - options_.confidence;
    for (const double threshold : thresholds_) {
      GatePoint point = certifying_.at(threshold);
      if (point.kept > 0) point.upper = statistics::clopper_pearson_upper(point.wrong, point.kept, delta);
      out_.curve.push_back(point);
    }
    if (!thresholds_.empty()) walk();
    if (!out_.ok()) return refuse();
    const GatePoint& last = out_.certified.back();
    out_.coverage = statistics::clopper_pearson(last.kept, certifying_.all, options_.confidence);
  }

 private:
  void split(std::span<const ScoredLabel> labels) {
    std::map<std::pair<std::uint64_t, std::string>, std::size_t> order;
    for (std::size_t i = 0; i < labels.size(); ++i) {
      std::string group = labels[i].group.empty() ? fmt::format("\n{}", i) : labels[i].group;
      const std::uint64_t place = group_place(group, options_.seed ^ kSplitSeed);
      if (!order.try_emplace({place, std::move(group)}, i).second) ++out_.repeated;
    }
    out_.labels = order.size();
    for (const auto& [key, index] : order) {
      const ScoredLabel& label = labels[index];
      const bool wrong = !label.right || label.late;
      out_.wrong += wrong ? 1 : 0;
      out_.late += label.late ? 1 : 0;
      out_.unscored += label.score ? 0 : 1;
      Half& half = ranking_.all < order.size() / 2 ? ranking_ : certifying_;
      ++half.all;
      if (label.score) half.scored.push_back({*label.score, wrong});
    }
    ranking_.sort();
    certifying_.sort();
    out_.ranking = ranking_.all;
    out_.certifying = certifying_.all;
  }

  // From the ranking half alone: the labels that certify may have no say in what is tested.
  void set_thresholds() {
    const auto n = static_cast<double>(ranking_.all);
    for (int step = 1; step * kCoverageStep <= 1 + kCoverageStep / 2; ++step) {
      const auto rank = static_cast<std::size_t>(std::ceil(step * kCoverageStep * n));
      if (ranking_.scored.empty() || rank == 0) continue;
      const double threshold = ranking_.scored[std::min(rank, ranking_.scored.size()) - 1].score;
      if (thresholds_.empty() || threshold < thresholds_.back()) thresholds_.push_back(threshold);
    }
  }

  // The strictest threshold that has nearly the best chance to pass its test, by the ranking half.
  [[nodiscard]] std::size_t start(double delta) const {
    constexpr double kNearly = 0.01;
    std::vector<double> chances;
    for (const double threshold : thresholds_) {
      const GatePoint ranked = ranking_.at(threshold);
      const auto kept = static_cast<std::size_t>(ranked.coverage * static_cast<double>(certifying_.all));
      const auto most = most_wrong(kept, options_.risk, delta);
      const double risk = (static_cast<double>(ranked.wrong) + 0.5) / (static_cast<double>(ranked.kept) + 1);
      chances.push_back(most ? binomial_at_most(*most, kept, risk) : 0);
    }
    const double best = *std::ranges::max_element(chances);
    const auto first = std::ranges::find_if(chances, [best](double chance) { return chance >= best - kNearly; });
    return static_cast<std::size_t>(first - chances.begin());
  }

  // FENCE: the first threshold that is not shown ends it; one that passed after that would be luck.
  void walk() {
    for (std::size_t i = start(1 - options_.confidence); i < thresholds_.size(); ++i) {
      const GatePoint& point = out_.curve[i];
      if (!shows(point, options_)) return;
      out_.certified.push_back(point);
    }
  }

  // All labels have a say in how many more are to be had: nothing is promised by that.
  void refuse() {
    const double delta = 1 - options_.confidence;
    out_.refusal = fmt::format(
        "no threshold is shown to keep the risk at {} with a confidence of {}: {} labels certify ({} others rank), and "
        "even with none wrong {} kept ones are needed",
        percent(options_.risk), percent(options_.confidence), certifying_.all, ranking_.all,
        least_trials(0, options_.risk, delta));
    std::optional<GatePoint> surest;
    double coverage_there = 0;
    double fewest = std::numeric_limits<double>::infinity();
    double truth_there = 0;
    for (const GatePoint& both : pooled()) {
      if (!surest || both.risk < surest->risk) surest = both;
      if (both.risk >= options_.risk) continue;
      // None wrong yet says little: a third of the promised risk leaves room for that.
      const double truth = both.wrong == 0 ? options_.risk / 3 : both.risk;
      if (const double labels = roughly_planned(truth, options_.risk) / both.coverage; labels < fewest) {
        fewest = labels;
        truth_there = truth;
        coverage_there = both.coverage;
      }
    }
    if (!surest) {
      out_.refusal += "; none of the labels has a score, so nothing would be kept";
    } else if (const auto kept = coverage_there > 0 ? planned_kept(truth_there, options_.risk, delta) : std::nullopt) {
      const auto needed = static_cast<std::size_t>(std::ceil(2 * static_cast<double>(*kept) / coverage_there));
      out_.more_labels = needed > out_.labels ? needed - out_.labels : (out_.labels + 1) / 2;
      out_.refusal +=
          fmt::format("; with {} more it will be in four of five cases, if they are like these", *out_.more_labels);
    } else {
      out_.refusal += fmt::format(
          "; more labels would not help: even of the surest {} answers {} were wrong ({}). Allow a higher risk, or "
          "choose a model or a score that tells right from wrong",
          surest->kept, surest->wrong, percent(surest->risk));
    }
  }

  // Both halves together, where enough is kept for a wrong one to be expected at the promised risk.
  [[nodiscard]] std::vector<GatePoint> pooled() const {
    const std::size_t scored = ranking_.scored.size() + certifying_.scored.size();
    const std::size_t least = std::min(scored, static_cast<std::size_t>(1 / options_.risk));
    std::vector<GatePoint> out;
    for (const double threshold : thresholds_) {
      const GatePoint a = ranking_.at(threshold);
      const GatePoint b = certifying_.at(threshold);
      GatePoint both{.threshold = threshold, .kept = a.kept + b.kept, .wrong = a.wrong + b.wrong};
      if (both.kept < least) continue;
      both.coverage = static_cast<double>(both.kept) / static_cast<double>(out_.labels);
      both.risk = static_cast<double>(both.wrong) / static_cast<double>(both.kept);
      out.push_back(both);
    }
    return out;
  }

  const CertifyOptions& options_;
  Certification& out_;
  Half ranking_;
  Half certifying_;
  std::vector<double> thresholds_;  // the strictest first
};

}  // namespace

bool shows(const GatePoint& point, const CertifyOptions& options) {
  return point.kept > 0 && binomial_at_most(point.wrong, point.kept, options.risk) <= 1 - options.confidence;
}

Result<Certification> certify(std::span<const ScoredLabel> labels, const CertifyOptions& options) {
  const auto share = [](double value) { return value > 0 && value < 1; };
  if (!share(options.risk) || !share(options.confidence)) {
    return Error(ErrorCode::kUsage, fmt::format("risk and confidence lie between 0 and 1, not at {} and {}",
                                                options.risk, options.confidence));
  }
  if (labels.empty()) return Error(ErrorCode::kInvalidData, "there are no labels to certify with");
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i].score && !std::isfinite(*labels[i].score)) {
      return Error(ErrorCode::kInvalidData, fmt::format("the score of label {} is not a finite number", i + 1));
    }
  }
  Certification out;
  out.options = options;
  Certifier(out.options, out).run(labels);
  return out;
}

}  // namespace shoal::routing
