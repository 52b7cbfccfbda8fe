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

constexpr std::size_t kInputs = kFeatures + kJudgedChecks.size();
constexpr std::size_t kParameters = kInputs + 1;  // the bias is the last
constexpr std::size_t kFolds = 5;
constexpr int kMostNewtonSteps = 100;
constexpr double kSmallestStep = 1e-10;
// Of one answer's worth: keeps weights finite where features say the same (one token: its first, mean and least).
constexpr double kRidge = 1;

using Row = std::array<double, kParameters>;
using Used = std::array<bool, kInputs>;
using Inputs = std::array<double, kInputs>;

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

Inputs inputs_of(const Label& label) {
  Inputs out{};
  std::ranges::copy(features_of(label.statistic), out.begin());
  if (!label.checks) return out;
  for (std::size_t i = 0; i < kJudgedChecks.size(); ++i)
    out[kFeatures + i] = static_cast<double>(value_of(*label.checks, kJudgedChecks[i]));
  return out;
}

struct Scale {
  Inputs center{};
  Inputs spread{};
};

class LogisticFit {
 public:
  LogisticFit(std::span<const Label> labels, const Scale& scale) {
    const auto rights = static_cast<double>(std::ranges::count(labels, true, &Label::right));
    const double wrongs = static_cast<double>(labels.size()) - rights;
    for (const Label& label : labels) {
      const Inputs inputs = inputs_of(label);
      Row row{};
      for (std::size_t j = 0; j < kInputs; ++j) row[j] = (inputs[j] - scale.center[j]) / scale.spread[j];
      row[kInputs] = 1;
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
    for (std::size_t j = 0; j < kInputs; ++j) sum += kRidge / 2 * w[j] * w[j];
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
    for (std::size_t a = 0; a < kInputs; ++a) {
      m[a][a] += kRidge;
      m[a][kParameters] -= kRidge * w[a];
      if (used[a]) continue;
      for (std::size_t b = 0; b < kParameters; ++b) m[a][b] = m[b][a] = 0;
      m[a][a] = 1;
      m[a][kParameters] = 0;
    }
    m[kInputs][kInputs] += 1e-9;
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

// Tokens' features that vary are used; of checks those that enough answers have, and enough have not.
Scale scale_of(std::span<const Label> labels, bool with_checks, Used& used) {
  Scale out;
  const auto n = static_cast<double>(labels.size());
  Inputs squares{};
  std::array<std::size_t, kInputs> seen{};
  for (const Label& label : labels) {
    const Inputs inputs = inputs_of(label);
    for (std::size_t j = 0; j < kInputs; ++j) {
      out.center[j] += inputs[j] / n;
      seen[j] += inputs[j] != 0 ? 1 : 0;
    }
  }
  for (const Label& label : labels) {
    const Inputs inputs = inputs_of(label);
    for (std::size_t j = 0; j < kInputs; ++j) squares[j] += std::pow(inputs[j] - out.center[j], 2) / n;
  }
  for (std::size_t j = 0; j < kInputs; ++j) {
    const bool check = j >= kFeatures;
    const double least = check ? static_cast<double>(kLeastOfAKind) / n / 4 : 1e-12;
    used[j] = squares[j] > least && (!check || (with_checks && seen[j] >= kLeastOfAKind));
    out.spread[j] = used[j] ? std::sqrt(squares[j]) : 1;
  }
  return out;
}

struct Fitted {
  Logistic logistic;
  std::vector<CheckWeight> checks;
};

// Of the features that must not count against an answer, those that would are left out, the worst one first.
Fitted fit_logistic(std::span<const Label> labels, bool with_checks) {
  Used used{};
  const Scale scale = scale_of(labels, with_checks, used);
  const LogisticFit fit(labels, scale);
  Row w = fit.run(used);
  for (;;) {
    const auto worst = std::min_element(w.begin(), w.begin() + kMonotone);
    if (*worst >= 0) break;
    used[static_cast<std::size_t>(worst - w.begin())] = false;
    w = fit.run(used);
  }
  Fitted out;
  std::copy_n(scale.center.begin(), kFeatures, out.logistic.center.begin());
  std::copy_n(scale.spread.begin(), kFeatures, out.logistic.spread.begin());
  std::copy_n(w.begin(), kFeatures, out.logistic.weight.begin());
  out.logistic.bias = w[kInputs];
  for (std::size_t i = 0; i < kJudgedChecks.size(); ++i) {
    const std::size_t j = kFeatures + i;
    if (used[j])
      out.checks.push_back(
          {.check = kJudgedChecks[i], .center = scale.center[j], .spread = scale.spread[j], .weight = w[j]});
  }
  return out;
}

Table table_of(Fitted fitted) {
  Table out;
  out.logistic = fitted.logistic;
  out.checks = std::move(fitted.checks);
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

const Checks* seen(const Label& label) {
  return label.checks ? &*label.checks : nullptr;
}

// By the log-odds of a table without steps.
std::vector<Scored> scores_of(const Table& plain, std::span<const Label> labels) {
  std::vector<Scored> out;
  for (const Label& label : labels) out.push_back({plain.score(label.statistic, seen(label)), label.right});
  return out;
}

double log_loss(const Table& table, const Label& label) {
  const double p = std::clamp(table.confidence(label.statistic, seen(label)), 1e-12, 1 - 1e-12);
  return -std::log(label.right ? p : 1 - p);
}

// How much less the second of two fits loses on each label, when both were made without it.
template <class Fit>
std::vector<double> less_lost(std::span<const Label> labels, std::uint64_t seed, const Fit& one, const Fit& other) {
  const auto groups = shuffled_groups(labels, seed ^ 0x5bd1e995U);
  std::vector<double> out;
  for (std::size_t fold = 0; fold < kFolds; ++fold) {
    std::vector<Label> train;
    std::vector<Label> test;
    for (std::size_t g = 0; g < groups.size(); ++g) {
      for (const std::size_t i : groups[g]) (g % kFolds == fold ? test : train).push_back(labels[i]);
    }
    if (train.empty()) continue;
    const Table first = one(train);
    const Table second = other(train);
    for (const Label& label : test) out.push_back(log_loss(first, label) - log_loss(second, label));
  }
  return out;
}

using FitOne = Table (*)(std::span<const Label> labels);

Table plain_fit(std::span<const Label> labels) {
  return table_of(fit_logistic(labels, false));
}
Table checked_fit(std::span<const Label> labels) {
  return table_of(fit_logistic(labels, true));
}
template <FitOne Fit>
Table stepped_fit(std::span<const Label> labels) {
  Table out = Fit(labels);
  out.steps = isotonic(scores_of(out, labels));
  return out;
}

// By more than a standard error: weights that say nothing must not make it worse.
bool checks_win(std::span<const Label> labels, std::uint64_t seed) {
  if (!std::ranges::all_of(labels, [](const Label& label) { return label.checks.has_value(); })) return false;
  const std::vector<double> won = less_lost<FitOne>(labels, seed, plain_fit, checked_fit);
  if (won.empty()) return false;
  const auto n = static_cast<double>(won.size());
  const double mean = std::accumulate(won.begin(), won.end(), 0.0) / n;
  double squares = 0;
  for (const double one : won) squares += std::pow(one - mean, 2);
  return mean > std::sqrt(squares) / n;
}

bool isotonic_wins(std::span<const Label> labels, std::uint64_t seed, bool checks) {
  if (labels.size() < kLeastLabels) return false;
  const std::vector<double> won = checks ? less_lost<FitOne>(labels, seed, checked_fit, stepped_fit<checked_fit>)
                                         : less_lost<FitOne>(labels, seed, plain_fit, stepped_fit<plain_fit>);
  return std::accumulate(won.begin(), won.end(), 0.0) > 0;
}

}  // namespace

std::size_t labels_needed(const FitOptions& options) {
  const auto held = [&options](std::size_t all) {
    return static_cast<std::size_t>(static_cast<double>(all) * options.held_out);
  };
  std::size_t needed = options.least();
  while (needed - held(needed) < options.least()) ++needed;
  return needed;
}

std::string too_few_labels(std::size_t labels, const FitOptions& options) {
  const std::size_t needed = labels_needed(options);
  std::string out = fmt::format("{} are needed, so that {} remain to fit on when {:.0f} % are held out; {} more",
                                needed, options.least(), options.held_out * 100, needed - std::min(needed, labels));
  if (const FitOptions few{options.held_out, options.seed, true}; labels >= labels_needed(few) && !options.few)
    out += ". --few fits on what is there";
  return out;
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
  if (labels.size() < labels_needed(options)) {
    return Error(ErrorCode::kInvalidData, fmt::format("{} graded answers are too few: {}", labels.size(),
                                                      too_few_labels(labels.size(), options)));
  }
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
  const bool checks = checks_win(fitted, options.seed);
  Table table = checks ? checked_fit(fitted) : plain_fit(fitted);
  if (isotonic_wins(fitted, options.seed, checks)) table.steps = isotonic(scores_of(table, fitted));
  table.fitted_on = fitted.size();
  table.fitted_right = static_cast<double>(rights) / static_cast<double>(fitted.size());
  table.held_out = measure(table, held);
  return table;
}

Reliability measure(const Table& table, std::span<const Label> labels) {
  assert(!labels.empty());
  std::vector<Scored> predicted;
  for (const Label& label : labels) predicted.push_back({table.confidence(label.statistic, seen(label)), label.right});
  return statistics::reliability(predicted);
}

}  // namespace shoal::routing
