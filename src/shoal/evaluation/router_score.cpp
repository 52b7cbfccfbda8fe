#include "shoal/evaluation/router_score.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <string_view>
#include <utility>

#include "shoal/statistics/ranking.h"

namespace shoal::evaluation {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Where the curve, at `gain` and about to rise by `rise` over the width `weight`, reaches `target`.
double crossing(double at, double weight, double gain, double rise, double target) {
  return rise > 0 ? at + weight * (target - gain) / rise : at;
}

}  // namespace

RouterCurve::RouterCurve(std::span<const PairedRow> rows, std::span<const double> scores) : order_(rows.size()) {
  assert(!rows.empty() && rows.size() == scores.size());
  std::iota(order_.begin(), order_.end(), std::size_t{0});
  std::ranges::stable_sort(order_, std::greater<>{}, [&](std::size_t i) { return scores[i]; });
  for (std::size_t i = 0; i < order_.size(); ++i) {
    const PairedRow& row = rows[order_[i]];
    gain_.push_back(row.strong - row.weak);
    weak_.push_back(row.weak);
    if (i + 1 == order_.size() || scores[order_[i + 1]] != scores[order_[i]]) ends_.push_back(i + 1);
  }
}

template <class Block>
void RouterCurve::each_block(std::span<const double> weights, const Block& block) const {
  assert(weights.size() == order_.size());
  std::size_t i = 0;
  for (const std::size_t end : ends_) {
    double weight = 0;
    double gain = 0;
    for (; i < end; ++i) {
      const double w = weights[order_[i]];
      weight += w;
      gain += w * gain_[i];
    }
    block(weight, gain);
  }
}

double RouterCurve::apgr(std::span<const double> weights) const {
  double all = 0;
  double gained = 0;
  double area = 0;
  each_block(weights, [&](double weight, double gain) {
    area += weight * (gained + gain / 2);
    all += weight;
    gained += gain;
  });
  return gained > 0 ? area / all / gained : kNaN;
}

CurveMeasures RouterCurve::measures(std::span<const double> weights) const {
  CurveMeasures out{.weak = 0, .strong = 0, .apgr = kNaN, .cpt50 = kNaN, .cpt80 = kNaN, .audc = 0};
  double all = 0;
  double total = 0;
  for (std::size_t i = 0; i < order_.size(); ++i) {
    const double w = weights[order_[i]];
    all += w;
    total += w * gain_[i];
    out.weak += w * weak_[i];
  }
  double at = 0;
  double gained = 0;
  double area = 0;
  each_block(weights, [&](double weight, double gain) {
    for (const auto& [share, reached] : {std::pair{0.5, &out.cpt50}, std::pair{0.8, &out.cpt80}}) {
      if (total > 0 && std::isnan(*reached) && gained + gain >= share * total)
        *reached = crossing(at, weight, gained, gain, share * total) / all;
    }
    area += weight * (gained + gain / 2);
    at += weight;
    gained += gain;
  });
  out.weak /= all;
  out.strong = out.weak + total / all;
  out.audc = out.weak + area / all / all;
  if (total > 0) out.apgr = area / all / total;
  return out;
}

CurveMeasures RouterCurve::measures() const {
  return measures(std::vector<double>(order_.size(), 1));
}

double RouterCurve::difficulty_auroc(std::span<const double> weights) const {
  double wrong_above = 0;
  double right = 0;
  double won = 0;
  std::size_t i = 0;
  for (const std::size_t end : ends_) {
    double wrong_here = 0;
    double right_here = 0;
    for (; i < end; ++i) (weak_[i] < 0.5 ? wrong_here : right_here) += weights[order_[i]];
    won += right_here * (wrong_above + wrong_here / 2);
    wrong_above += wrong_here;
    right += right_here;
  }
  return wrong_above > 0 && right > 0 ? won / (wrong_above * right) : 0.5;
}

std::vector<CurvePoint> RouterCurve::points() const {
  const auto n = static_cast<double>(order_.size());
  double right = std::accumulate(weak_.begin(), weak_.end(), 0.0);
  std::vector<CurvePoint> out = {{.share = 0, .accuracy = right / n}};
  double sent = 0;
  each_block(std::vector<double>(order_.size(), 1), [&](double weight, double gain) {
    sent += weight;
    right += gain;
    out.push_back({.share = sent / n, .accuracy = right / n});
  });
  return out;
}

double routellm_apgr(std::span<const PairedRow> rows, std::span<const double> scores) {
  const auto n = static_cast<double>(rows.size());
  std::vector<double> sorted(scores.begin(), scores.end());
  std::ranges::sort(sorted);
  std::vector<CurvePoint> points;
  for (int decile = 0; decile <= 10; ++decile) {
    const double at = decile * (n - 1) / 10;
    const auto below = static_cast<std::size_t>(at);
    const std::size_t above = std::min(below + 1, sorted.size() - 1);
    const double threshold = sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
    CurvePoint point;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const bool sent = decile == 10 ? scores[i] > threshold : scores[i] >= threshold;
      point.share += sent ? 1 / n : 0;
      point.accuracy += (sent ? rows[i].strong : rows[i].weak) / n;
    }
    points.push_back(point);
  }
  std::ranges::stable_sort(points, {}, &CurvePoint::share);
  double area = 0;
  for (std::size_t i = 1; i < points.size(); ++i) {
    area += (points[i].share - points[i - 1].share) * (points[i].accuracy + points[i - 1].accuracy) / 2;
  }
  double weak = 0;
  double strong = 0;
  for (const PairedRow& row : rows) {
    weak += row.weak / n;
    strong += row.strong / n;
  }
  const double width = points.back().share - points.front().share;
  return strong > weak ? (area - weak * width) / ((strong - weak) * width) : kNaN;
}

double arena_score(double accuracy, double usd_per_1k) {
  constexpr double kDearest = 200;
  constexpr double kCheapest = 0.0044;
  constexpr double kBeta = 0.1;
  const double cost = std::clamp(usd_per_1k, kCheapest, kDearest);
  const double thrift = std::log2(kDearest / cost) / std::log2(kDearest / kCheapest);
  const double below = kBeta * accuracy + thrift;
  return below > 0 ? (1 + kBeta) * accuracy * thrift / below : 0;
}

std::vector<ArenaPoint> arena_points(std::span<const PairedRow> rows, const RouterCurve& curve,
                                     const std::optional<Prices>& prices) {
  const auto n = static_cast<double>(rows.size());
  const auto cost = [&](const PairedRow& row, bool strong) {
    const std::optional<double>& own = strong ? row.strong_usd : row.weak_usd;
    if (own) return *own;
    if (!prices) return kNaN;
    return (strong ? prices->strong_usd_per_1k : prices->weak_usd_per_1k) / 1'000;
  };
  double right = 0;
  double usd = 0;
  for (const PairedRow& row : rows) {
    right += row.weak;
    usd += cost(row, false);
  }
  std::vector<ArenaPoint> all;
  const auto add = [&](std::size_t sent) {
    ArenaPoint point{
        .share = static_cast<double>(sent) / n, .accuracy = right / n, .usd_per_1k = 1'000 * usd / n, .score = 0};
    point.score = arena_score(point.accuracy, point.usd_per_1k);
    all.push_back(point);
  };
  add(0);
  std::size_t sent = 0;
  for (const std::size_t end : curve.ends()) {
    double more_right = 0;
    double more_usd = 0;
    for (std::size_t i = sent; i < end; ++i) {
      const PairedRow& row = rows[curve.order()[i]];
      more_right += row.strong - row.weak;
      more_usd += cost(row, true) - cost(row, false);
    }
    const auto tied = static_cast<double>(end - sent);
    while (sent < end) {
      right += more_right / tied;
      usd += more_usd / tied;
      add(++sent);
    }
  }
  if (std::isnan(usd)) return {};
  std::vector<ArenaPoint> out;
  for (std::size_t quarter = 0; quarter <= 4; ++quarter) out.push_back(all[quarter * rows.size() / 4]);
  out.push_back(*std::ranges::max_element(all, {}, &ArenaPoint::score));
  return out;
}

std::vector<std::size_t> group_numbers(std::span<const PairedRow> rows) {
  std::map<std::string_view, std::size_t> numbers;
  for (const PairedRow& row : rows) numbers.emplace(row.group, 0);
  std::size_t next = 0;
  for (auto& [name, number] : numbers) number = next++;
  std::vector<std::size_t> out;
  out.reserve(rows.size());
  for (const PairedRow& row : rows) out.push_back(numbers.at(row.group));
  return out;
}

std::vector<double> group_weights(std::span<const std::size_t> group_of) {
  std::vector<double> sizes;
  for (const std::size_t group : group_of) {
    if (group >= sizes.size()) sizes.resize(group + 1);
    sizes[group] += 1;
  }
  std::vector<double> out;
  out.reserve(group_of.size());
  for (const std::size_t group : group_of) out.push_back(1 / sizes[group]);
  return out;
}

std::vector<double> oracle_scores(std::span<const PairedRow> rows) {
  std::vector<double> out;
  for (const PairedRow& row : rows) out.push_back(row.strong - row.weak);
  return out;
}

std::vector<double> difficulty_scores(std::span<const PairedRow> rows) {
  std::vector<double> out;
  for (const PairedRow& row : rows) out.push_back(-row.weak);
  return out;
}

RouterScore score_router(std::span<const PairedRow> rows, std::span<const double> scores,
                         const statistics::BootstrapOptions& options) {
  const RouterCurve curve(rows, scores);
  const auto apgr = [&](std::span<const double> counts) { return curve.apgr(counts); };
  RouterScore out;
  out.measures = curve.measures();
  out.by_row = statistics::bootstrap(rows.size(), apgr, options);
  const std::vector<std::size_t> groups = group_numbers(rows);
  if (*std::ranges::max_element(groups) > 0) out.by_group = statistics::group_bootstrap(groups, apgr, options);
  out.group_weighted_apgr = curve.apgr(group_weights(groups));
  const double best = RouterCurve(rows, oracle_scores(rows)).measures().apgr;
  out.normalised = (out.measures.apgr - 0.5) / (best - 0.5);
  out.routellm_apgr = routellm_apgr(rows, scores);
  const auto auroc = [&](std::span<const double> counts) { return curve.difficulty_auroc(counts); };
  out.auroc_by_row = statistics::bootstrap(rows.size(), auroc, options);
  out.difficulty_auroc = out.auroc_by_row.value;
  std::vector<statistics::Scored> sure;
  for (std::size_t i = 0; i < rows.size(); ++i) sure.push_back({-scores[i], rows[i].weak >= 0.5});
  out.augrc = statistics::augrc(sure);
  return out;
}

}  // namespace shoal::evaluation
