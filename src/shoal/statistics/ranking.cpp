#include "shoal/statistics/ranking.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <functional>

namespace shoal::statistics {
namespace {

// Of those with one score: how many, and how many of them are right.
struct Tie {
  double score = 0;
  double all = 0;
  double right = 0;

  [[nodiscard]] double wrong() const { return all - right; }
};

// The highest score first.
std::vector<Tie> ties_of(std::span<const Scored> predictions) {
  std::vector<Scored> sorted(predictions.begin(), predictions.end());
  std::ranges::sort(sorted, std::greater<>{}, &Scored::score);
  std::vector<Tie> out;
  for (const Scored& one : sorted) {
    if (out.empty() || out.back().score != one.score) out.push_back({one.score, 0, 0});
    out.back().all += 1;
    out.back().right += one.right ? 1 : 0;
  }
  return out;
}

// Counted before it is divided: a sum of shares may pass 1.
double share_right(std::span<const Scored> predictions) {
  return static_cast<double>(std::ranges::count(predictions, true, &Scored::right)) /
         static_cast<double>(predictions.size());
}

}  // namespace

double auroc(std::span<const Scored> predictions) {
  double rights_above = 0;
  double wrongs = 0;
  double won = 0;
  for (const Tie& tie : ties_of(predictions)) {
    won += tie.wrong() * (rights_above + tie.right / 2);
    rights_above += tie.right;
    wrongs += tie.wrong();
  }
  return rights_above > 0 && wrongs > 0 ? won / (rights_above * wrongs) : 0.5;
}

std::vector<RiskPoint> risk_coverage(std::span<const Scored> predictions) {
  const auto n = static_cast<double>(predictions.size());
  std::vector<RiskPoint> out;
  double kept = 0;
  double wrong = 0;
  for (const Tie& tie : ties_of(predictions)) {
    kept += tie.all;
    wrong += tie.wrong();
    out.push_back({.coverage = kept / n, .risk = wrong / kept, .kept_and_wrong = wrong / n});
  }
  return out;
}

double aurc(std::span<const Scored> predictions) {
  assert(!predictions.empty());
  double sum = 0;
  double kept = 0;
  double wrong = 0;
  for (const Tie& tie : ties_of(predictions)) {
    const double share = tie.wrong() / tie.all;
    for (double inside = 1; inside <= tie.all; ++inside) sum += (wrong + share * inside) / (kept + inside);
    kept += tie.all;
    wrong += tie.wrong();
  }
  return sum / kept;
}

double excess_aurc(std::span<const Scored> predictions) {
  const double risk = 1 - share_right(predictions);
  const double best = risk < 1 ? risk + (1 - risk) * std::log1p(-risk) : 1;
  return aurc(predictions) - best;
}

double augrc(std::span<const Scored> predictions) {
  assert(!predictions.empty());
  const auto n = static_cast<double>(predictions.size());
  double area = 0;
  double wrong = 0;
  for (const Tie& tie : ties_of(predictions)) {
    area += tie.all * (wrong + tie.wrong() / 2);
    wrong += tie.wrong();
  }
  return area / (n * n);
}

Reliability reliability(std::span<const Scored> predictions, std::size_t bins) {
  assert(!predictions.empty() && bins > 0);
  std::vector<Scored> sorted(predictions.begin(), predictions.end());
  // Of those with equal scores the wrong ones first, so that sums do not depend on the order of the input.
  std::ranges::sort(sorted, [](const Scored& a, const Scored& b) {
    return a.score != b.score ? a.score < b.score : a.right < b.right;
  });
  const auto n = static_cast<double>(sorted.size());
  Reliability out;
  out.answers = sorted.size();
  out.right = share_right(sorted);
  for (const Scored& one : sorted) {
    const double p = std::clamp(one.score, 1e-12, 1 - 1e-12);
    out.brier += std::pow(one.score - (one.right ? 1 : 0), 2) / n;
    out.log_loss -= std::log(one.right ? p : 1 - p) / n;
  }
  double squares = 0;
  for (std::size_t begin = 0; begin < sorted.size();) {
    std::size_t end = std::min(begin + (sorted.size() + bins - 1) / bins, sorted.size());
    while (end < sorted.size() && sorted[end].score == sorted[end - 1].score) ++end;
    const std::span<const Scored> members(sorted.data() + begin, end - begin);
    const auto m = static_cast<double>(members.size());
    Bin bin{.answers = members.size(), .predicted = 0, .right = share_right(members)};
    for (const Scored& one : members) bin.predicted += one.score;
    bin.predicted /= m;
    const double chance = m > 1 ? bin.right * (1 - bin.right) / (m - 1) : 0;
    squares += m / n * (std::pow(bin.predicted - bin.right, 2) - chance);
    out.bins.push_back(bin);
    begin = end;
  }
  out.ece = std::sqrt(std::max(squares, 0.0));
  out.auroc = auroc(sorted);
  return out;
}

}  // namespace shoal::statistics
