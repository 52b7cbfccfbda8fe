#include "shoal/routing/fit.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <map>
#include <numeric>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "shoal/routing/groups.h"
#include "shoal/statistics/ranking.h"

namespace shoal::routing {
namespace {

constexpr std::size_t kParameters = kFeatures + 1;  // the bias is the last
constexpr std::size_t kFolds = 5;
constexpr int kMostNewtonSteps = 100;
constexpr double kSmallestStep = 1e-10;
// Of one answer's worth: keeps weights finite where features say the same (one token: its first, mean and least).
constexpr double kRidge = 1;

using Row = std::array<double, kParameters>;
using Used = std::array<bool, kFeatures>;

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

// ln(1 + e^x), which does not overflow.
double softplus(double x) {
  return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
}

// Groups in an order that the seed draws, each with the numbers of its labels.
std::vector<std::vector<std::size_t>> shuffled_groups(std::span<const Label> labels, std::uint64_t seed) {
  std::map<std::pair<std::uint64_t, std::string_view>, std::vector<std::size_t>> groups;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    groups[{group_place(labels[i].group, seed), labels[i].group}].push_back(i);
  }
  std::vector<std::vector<std::size_t>> out;
  out.reserve(groups.size());
  for (auto& [key, members] : groups) out.push_back(std::move(members));
  return out;
}

class LogisticFit {
 public:
  LogisticFit(std::span<const Label> labels, const Logistic& scale) {
    const auto rights = static_cast<double>(std::ranges::count(labels, true, &Label::right));
    const double wrongs = static_cast<double>(labels.size()) - rights;
    for (const Label& label : labels) {
      const Features features = features_of(label.statistic);
      Row row{};
      for (std::size_t j = 0; j < kFeatures; ++j) row[j] = (features[j] - scale.center[j]) / scale.spread[j];
      row[kFeatures] = 1;
      rows_.push_back(row);
      targets_.push_back(label.right ? (rights + 1) / (rights + 2) : 1 / (wrongs + 2));
    }
  }

  [[nodiscard]] Row run(const Used& used) const {
    Row w{};
    double now = loss(w);
    for (int i = 0; i < kMostNewtonSteps; ++i) {
      const Row direction = newton(w, used);
      double step = 1;
      Row next = moved(w, direction, step);
      while (loss(next) > now && step > kSmallestStep) next = moved(w, direction, step /= 2);
      const double after = loss(next);
      if (!(after < now)) break;
      const bool there = now - after < 1e-12 * (1 + now);
      w = next;
      now = after;
      if (there) break;
    }
    return w;
  }

 private:
  static double dot(const Row& a, const Row& b) { return std::inner_product(a.begin(), a.end(), b.begin(), 0.0); }
  static Row moved(Row w, const Row& direction, double step) {
    for (std::size_t j = 0; j < kParameters; ++j) w[j] += step * direction[j];
    return w;
  }

  [[nodiscard]] double loss(const Row& w) const {
    double sum = 0;
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      const double score = dot(w, rows_[i]);
      sum += softplus(score) - targets_[i] * score;
    }
    for (std::size_t j = 0; j < kFeatures; ++j) sum += kRidge / 2 * w[j] * w[j];
    return sum;
  }

  // -H^-1 g; parameters that are not used stay 0.
  [[nodiscard]] Row newton(const Row& w, const Used& used) const {
    std::array<std::array<double, kParameters + 1>, kParameters> m{};
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      const double p = sigmoid(dot(w, rows_[i]));
      for (std::size_t a = 0; a < kParameters; ++a) {
        m[a][kParameters] -= (p - targets_[i]) * rows_[i][a];
        for (std::size_t b = 0; b < kParameters; ++b) m[a][b] += p * (1 - p) * rows_[i][a] * rows_[i][b];
      }
    }
    for (std::size_t a = 0; a < kFeatures; ++a) {
      m[a][a] += kRidge;
      m[a][kParameters] -= kRidge * w[a];
      if (used[a]) continue;
      for (std::size_t b = 0; b < kParameters; ++b) m[a][b] = m[b][a] = 0;
      m[a][a] = 1;
      m[a][kParameters] = 0;
    }
    m[kFeatures][kFeatures] += 1e-9;
    return solved(m);
  }

  // Gaussian elimination; the matrix is positive definite, so no pivot is needed.
  static Row solved(std::array<std::array<double, kParameters + 1>, kParameters>& m) {
    for (std::size_t k = 0; k < kParameters; ++k) {
      for (std::size_t i = k + 1; i < kParameters; ++i) {
        const double factor = m[i][k] / m[k][k];
        for (std::size_t j = k; j <= kParameters; ++j) m[i][j] -= factor * m[k][j];
      }
    }
    Row x{};
    for (std::size_t k = kParameters; k-- > 0;) {
      double sum = m[k][kParameters];
      for (std::size_t j = k + 1; j < kParameters; ++j) sum -= m[k][j] * x[j];
      x[k] = sum / m[k][k];
    }
    return x;
  }

  std::vector<Row> rows_;
  std::vector<double> targets_;
};

Logistic scale_of(std::span<const Label> labels, Used& varies) {
  Logistic out;
  const auto n = static_cast<double>(labels.size());
  Features squares{};
  for (const Label& label : labels) {
    const Features features = features_of(label.statistic);
    for (std::size_t j = 0; j < kFeatures; ++j) out.center[j] += features[j] / n;
  }
  for (const Label& label : labels) {
    const Features features = features_of(label.statistic);
    for (std::size_t j = 0; j < kFeatures; ++j) squares[j] += std::pow(features[j] - out.center[j], 2) / n;
  }
  for (std::size_t j = 0; j < kFeatures; ++j) {
    varies[j] = squares[j] > 1e-12;
    out.spread[j] = varies[j] ? std::sqrt(squares[j]) : 1;
  }
  return out;
}

// Of the features that must not count against an answer, those that would are left out, the worst one first.
Logistic fit_logistic(std::span<const Label> labels) {
  Used used{};
  Logistic out = scale_of(labels, used);
  const LogisticFit fit(labels, out);
  Row w = fit.run(used);
  for (;;) {
    const auto worst = std::min_element(w.begin(), w.begin() + kMonotone);
    if (*worst >= 0) break;
    used[static_cast<std::size_t>(worst - w.begin())] = false;
    w = fit.run(used);
  }
  std::copy_n(w.begin(), kFeatures, out.weight.begin());
  out.bias = w[kFeatures];
  return out;
}

using statistics::Scored;

// Pooling adjacent violators. Each pool counts one right and one wrong answer more than it has, so that none is
// certain.
std::vector<Step> isotonic(std::vector<Scored> scored) {
  struct Pool {
    double score;
    double right;
    double answers;
    [[nodiscard]] double mean() const { return right / answers; }
  };
  std::ranges::sort(scored, {}, &Scored::score);
  std::vector<Pool> pools;
  for (const Scored& one : scored) {
    if (!pools.empty() && pools.back().score == one.score) {
      pools.back().right += one.right ? 1 : 0;
      pools.back().answers += 1;
    } else {
      pools.push_back({one.score, one.right ? 1.0 : 0.0, 1.0});
    }
    while (pools.size() > 1 && pools[pools.size() - 2].mean() >= pools.back().mean()) {
      const Pool last = pools.back();
      pools.pop_back();
      pools.back().right += last.right;
      pools.back().answers += last.answers;
    }
  }
  std::vector<Step> steps;
  for (const Pool& pool : pools) {
    const double probability = (pool.right + 1) / (pool.answers + 2);
    // What was added may turn two pools around.
    if (!steps.empty() && steps.back().probability >= probability) continue;
    steps.push_back({pool.score, probability});
  }
  return steps;
}

std::vector<Scored> scores_of(const Logistic& logistic, std::span<const Label> labels) {
  std::vector<Scored> out;
  for (const Label& label : labels) out.push_back({logistic.score(features_of(label.statistic)), label.right});
  return out;
}

double log_loss(const Table& table, std::span<const Label> labels) {
  double sum = 0;
  for (const Label& label : labels) {
    const double p = std::clamp(table.confidence(label.statistic), 1e-12, 1 - 1e-12);
    sum -= std::log(label.right ? p : 1 - p);
  }
  return sum;
}

bool isotonic_wins(std::span<const Label> labels, std::uint64_t seed) {
  const auto groups = shuffled_groups(labels, seed ^ 0x5bd1e995U);
  double plain = 0;
  double stepped = 0;
  for (std::size_t fold = 0; fold < kFolds; ++fold) {
    std::vector<Label> train;
    std::vector<Label> test;
    for (std::size_t g = 0; g < groups.size(); ++g) {
      for (const std::size_t i : groups[g]) (g % kFolds == fold ? test : train).push_back(labels[i]);
    }
    if (train.empty()) return false;
    Table table;
    table.logistic = fit_logistic(train);
    plain += log_loss(table, test);
    table.steps = isotonic(scores_of(table.logistic, train));
    stepped += log_loss(table, test);
  }
  return stepped < plain;
}

Error too_few(std::size_t labels, double held_out) {
  const std::size_t needed = labels_needed(held_out);
  return {
      ErrorCode::kInvalidData,
      fmt::format("{} graded answers are too few: {} are needed, so that {} remain to fit on when {:.0f} % are held "
                  "out; {} more",
                  labels, needed, kLeastLabels, held_out * 100, needed - std::min(needed, labels))};
}

}  // namespace

std::size_t labels_needed(double held_out) {
  const auto held = [held_out](std::size_t all) {
    return static_cast<std::size_t>(static_cast<double>(all) * held_out);
  };
  std::size_t needed = kLeastLabels;
  while (needed - held(needed) < kLeastLabels) ++needed;
  return needed;
}

std::uint64_t first_fitted_place(std::span<const Label> labels, const FitOptions& options) {
  const auto most_held = static_cast<std::size_t>(static_cast<double>(labels.size()) * options.held_out);
  std::size_t held = 0;
  for (const auto& group : shuffled_groups(labels, options.seed)) {
    if (held + group.size() > most_held) return group_place(labels[group.front()].group, options.seed);
    held += group.size();
  }
  return 0;
}

Result<Table> fit_table(std::span<const Label> labels, const FitOptions& options) {
  assert(options.held_out > 0 && options.held_out <= 0.9);
  if (labels.size() < labels_needed(options.held_out)) return too_few(labels.size(), options.held_out);
  const auto most_held = static_cast<std::size_t>(static_cast<double>(labels.size()) * options.held_out);
  std::vector<Label> held;
  std::vector<Label> fitted;
  for (const auto& group : shuffled_groups(labels, options.seed)) {
    std::vector<Label>& side = held.size() + group.size() <= most_held ? held : fitted;
    for (const std::size_t i : group) side.push_back(labels[i]);
  }
  const auto rights = static_cast<std::size_t>(std::ranges::count(fitted, true, &Label::right));
  if (std::min(rights, fitted.size() - rights) < kLeastOfAKind) {
    return Error(ErrorCode::kInvalidData,
                 fmt::format("{} of {} answers are right: to tell right ones from wrong ones takes at least {} of each",
                             rights, fitted.size(), kLeastOfAKind));
  }
  if (held.empty()) return Error(ErrorCode::kInvalidData, "all labels have the same question: none can be held out");
  Table table;
  table.logistic = fit_logistic(fitted);
  if (isotonic_wins(fitted, options.seed)) table.steps = isotonic(scores_of(table.logistic, fitted));
  table.fitted_on = fitted.size();
  table.fitted_right = static_cast<double>(rights) / static_cast<double>(fitted.size());
  table.held_out = measure(table, held);
  return table;
}

Reliability measure(const Table& table, std::span<const Label> labels) {
  assert(!labels.empty());
  std::vector<Scored> predicted;
  for (const Label& label : labels) predicted.push_back({table.confidence(label.statistic), label.right});
  return statistics::reliability(predicted);
}

}  // namespace shoal::routing
