#include "shoal/learning/slot_model.h"

#include <algorithm>
#include <cassert>
#include <cmath>

namespace shoal::learning {
namespace {

// Scales a row to sum to 1; returns the sum.
double scale_row(std::span<double> row) {
  double sum = 0;
  for (const double one : row) sum += one;
  for (double& one : row) one /= sum;
  return sum;
}

std::vector<std::size_t> best_path(const SlotLattice& lattice, std::span<const double> steps) {
  const std::size_t tags = lattice.tags;
  std::vector<double> best(tags, -HUGE_VAL);
  std::vector<double> next(tags);
  std::vector<std::size_t> from(lattice.tokens * tags);
  for (std::size_t i = 0; i < lattice.tokens; ++i) {
    for (std::size_t to = 0; to < tags; ++to) {
      next[to] = -HUGE_VAL;
      for (std::size_t before = 0; before < (i == 0 ? 1 : tags); ++before) {
        if (!may_follow(before, to)) continue;
        const double score = i == 0 ? 0 : best[before] + steps[before * tags + to];
        if (score > next[to]) {
          next[to] = score;
          from[i * tags + to] = before;
        }
      }
      next[to] += lattice.scores[i * tags + to];
    }
    best.swap(next);
  }
  std::vector<std::size_t> out(lattice.tokens);
  auto tag = static_cast<std::size_t>(std::ranges::max_element(best) - best.begin());
  for (std::size_t i = lattice.tokens; i-- > 0;) {
    out[i] = tag;
    tag = from[i * tags + tag];
  }
  return out;
}

double path_score(const SlotLattice& lattice, std::span<const double> steps, std::span<const std::size_t> path) {
  double out = 0;
  for (std::size_t i = 0; i < path.size(); ++i) {
    out += lattice.scores[i * lattice.tags + path[i]];
    if (i > 0) out += steps[path[i - 1] * lattice.tags + path[i]];
  }
  return out;
}

// That a span has these tokens and this slot: all readings that begin it at `first` and end it with `last`.
double span_probability(const SlotLattice& lattice, std::span<const double> exponentials, std::size_t slot,
                        std::size_t first, std::size_t last) {
  const std::size_t tags = lattice.tags;
  const std::size_t inside = 2 * slot + 2;
  double out = lattice.marginal(first, inside - 1);
  std::size_t tag = inside - 1;
  // P(next tag | this tag) is what the backward sums weigh it with.
  const auto step = [&](std::size_t i, std::size_t from, std::size_t to) {
    double all = 0;
    double one = 0;
    for (std::size_t y = 0; y < tags; ++y) {
      const double value =
          exponentials[from * tags + y] * lattice.emitted[(i + 1) * tags + y] * lattice.backward[(i + 1) * tags + y];
      all += value;
      if (y == to) one = value;
    }
    return all > 0 ? one / all : 0;
  };
  for (std::size_t i = first; i < last; ++i) {
    out *= step(i, tag, inside);
    tag = inside;
  }
  if (last + 1 < lattice.tokens) out *= 1 - step(last, tag, inside);
  return std::clamp(out, 0.0, 1.0);
}

}  // namespace

void SlotModel::place_buckets() {
  places.assign(kSlotBuckets, kNone);
  for (std::size_t i = 0; i < buckets.size(); ++i) places[buckets[i]] = static_cast<std::uint32_t>(i);
}

std::vector<double> exponentials_of_steps(std::span<const double> steps, std::size_t tags) {
  std::vector<double> out(tags * tags);
  for (std::size_t from = 0; from < tags; ++from) {
    for (std::size_t to = 0; to < tags; ++to) {
      if (may_follow(from, to)) out[from * tags + to] = std::exp(steps[from * tags + to]);
    }
  }
  return out;
}

void SlotLattice::fill(std::span<const double> steps) {
  assert(scores.size() == tokens * tags);
  emitted.resize(scores.size());
  forward.resize(scores.size());
  backward.assign(scores.size(), 1.0);
  log_sum = 0;
  for (std::size_t i = 0; i < tokens; ++i) {
    const double* const score = &scores[i * tags];
    const double most = *std::max_element(score, score + tags);
    double* const now = &forward[i * tags];
    double* const emit = &emitted[i * tags];
    for (std::size_t y = 0; y < tags; ++y) emit[y] = std::exp(score[y] - most);
    for (std::size_t y = 0; y < tags; ++y) now[y] = i == 0 && may_follow(0, y) ? 1.0 : 0.0;
    if (i > 0) {
      const double* const before = &forward[(i - 1) * tags];
      for (std::size_t from = 0; from < tags; ++from) {
        for (std::size_t y = 0; y < tags; ++y) now[y] += before[from] * steps[from * tags + y];
      }
    }
    for (std::size_t y = 0; y < tags; ++y) now[y] *= emit[y];
    log_sum += most + std::log(scale_row({now, tags}));
  }
  for (std::size_t i = tokens; i-- > 1;) {
    const double* const after = &backward[i * tags];
    const double* const emit = &emitted[i * tags];
    double* const now = &backward[(i - 1) * tags];
    for (std::size_t from = 0; from < tags; ++from) {
      double sum = 0;
      for (std::size_t y = 0; y < tags; ++y) sum += steps[from * tags + y] * emit[y] * after[y];
      now[from] = sum;
    }
    scale_row({now, tags});
  }
}

double SlotLattice::marginal(std::size_t i, std::size_t tag) const {
  double sum = 0;
  for (std::size_t y = 0; y < tags; ++y) sum += forward[i * tags + y] * backward[i * tags + y];
  return forward[i * tags + tag] * backward[i * tags + tag] / sum;
}

SlotAnswer find_slots(const SlotModel& model, std::string_view text, std::span<const std::string> asked) {
  const std::vector<SlotToken> tokens = slot_tokens(text);
  SlotAnswer out;
  if (tokens.empty()) return out;
  SlotLattice lattice;
  lattice.tokens = tokens.size();
  lattice.tags = model.tags();
  lattice.scores.assign(lattice.tokens * lattice.tags, 0.0);
  const auto features = slot_features(text, tokens, asked);
  for (std::size_t i = 0; i < features.size(); ++i) {
    double* const score = &lattice.scores[i * lattice.tags];
    for (const std::uint32_t bucket : features[i]) {
      const std::uint32_t place = model.places[bucket];
      if (place == SlotModel::kNone) continue;
      const float* const weights = &model.weights[place * lattice.tags];
      for (std::size_t y = 0; y < lattice.tags; ++y) score[y] += static_cast<double>(weights[y]);
    }
  }
  const std::vector<double> steps(model.steps.begin(), model.steps.end());
  const std::vector<double> exponentials = exponentials_of_steps(steps, lattice.tags);
  lattice.fill(exponentials);
  const std::vector<std::size_t> path = best_path(lattice, steps);
  out.right = std::clamp(std::exp(path_score(lattice, steps, path) - lattice.log_sum), 0.0, 1.0);
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (path[i] == 0) continue;
    const std::size_t slot = (path[i] - 1) / 2;
    const std::size_t first = i;
    while (i + 1 < path.size() && path[i + 1] == 2 * slot + 2) ++i;
    out.spans.push_back(
        {slot, tokens[first].begin, tokens[i].end, span_probability(lattice, exponentials, slot, first, i)});
  }
  return out;
}

}  // namespace shoal::learning
