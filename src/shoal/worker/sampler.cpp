#include "shoal/worker/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "shoal/worker/signals.h"

namespace shoal::worker {
namespace {

constexpr auto kHigher = [](const auto& a, const auto& b) {
  return a.first > b.first || (a.first == b.first && a.second < b.second);
};

}  // namespace

Sampler::Sampler(const types::SamplingParams& params, std::uint64_t seed)
    : params_(params), random_(params.seed.value_or(seed)) {}

void Sampler::accept_prompt(std::int32_t token) {
  if (params_.repetition_penalty != 1.0F) ++seen_[token];
}

void Sampler::accept(std::int32_t token) {
  accept_prompt(token);
  if (params_.frequency_penalty != 0.0F || params_.presence_penalty != 0.0F) ++answer_counts_[token];
}

bool Sampler::changes_logits() const {
  return !params_.logit_bias.empty() || !answer_counts_.empty() || !seen_.empty();
}

void Sampler::adjust(std::vector<float>& logits, std::span<const std::int32_t> forbidden) const {
  const auto inside = [&logits](std::int32_t id) { return id >= 0 && static_cast<std::size_t>(id) < logits.size(); };
  for (const auto& [id, bias] : params_.logit_bias) {
    if (inside(id)) logits[static_cast<std::size_t>(id)] += bias;
  }
  // Keskar et al. 2019 (CTRL), as llama.cpp applies it: towards less likely on both sides of zero.
  for (const auto& [id, count] : seen_) {
    float& logit = logits[static_cast<std::size_t>(id)];
    logit = logit > 0 ? logit / params_.repetition_penalty : logit * params_.repetition_penalty;
  }
  // OpenAI: mu[j] - c[j] * frequency - (c[j] > 0) * presence, over the answer.
  for (const auto& [id, count] : answer_counts_) {
    logits[static_cast<std::size_t>(id)] -=
        static_cast<float>(count) * params_.frequency_penalty + params_.presence_penalty;
  }
  for (const std::int32_t id : forbidden) {
    if (inside(id)) logits[static_cast<std::size_t>(id)] = -std::numeric_limits<float>::infinity();
  }
}

std::int32_t Sampler::choose(std::span<const float> logits, std::span<const std::int32_t> forbidden,
                             std::int32_t best) {
  const bool greedy = params_.temperature <= 0.0F || params_.top_k == 1;
  if (greedy && !changes_logits()) return best_allowed(logits, forbidden, best);
  if (changes_logits() || !forbidden.empty()) {
    adjusted_.assign(logits.begin(), logits.end());
    adjust(adjusted_, forbidden);
    logits = adjusted_;
  }
  if (greedy) return argmax(logits);
  const bool all = params_.top_k <= 0 && params_.top_p >= 1.0F && params_.min_p <= 0.0F;
  return all ? draw_from_all(logits) : draw(shortlist(logits));
}

// Without a copy of the row: the ends are hardly ever the best, and then one more pass finds who is next.
std::int32_t Sampler::best_allowed(std::span<const float> logits, std::span<const std::int32_t> forbidden,
                                   std::int32_t best) {
  const auto allowed = [forbidden](std::int32_t id) { return std::ranges::find(forbidden, id) == forbidden.end(); };
  if (allowed(best)) return best;
  for (const auto& [id, logit] : best_of(logits, forbidden.size() + 1)) {
    if (allowed(id)) return id;
  }
  return best;  // every token is forbidden
}

// weights_ = exp((l - max) * scale); returns their sum.
double Sampler::weigh(std::span<const float> logits, float scale) {
  weights_.resize(logits.size());
  sums_.resize((logits.size() + kWeightBlock - 1) / kWeightBlock);
  exp_weights(logits, logits[static_cast<std::size_t>(argmax(logits))], scale, weights_, sums_);
  return std::accumulate(sums_.begin(), sums_.end(), 0.0);
}

// Over the whole vocabulary, which is what a request without limits asks for: by blocks, so that neither a list of
// candidates is made nor every weight visited.
std::int32_t Sampler::draw_from_all(std::span<const float> logits) {
  double left = weigh(logits, 1 / params_.temperature);
  left *= std::generate_canonical<double, 53>(random_);
  std::size_t block = 0;
  while (block + 1 < sums_.size() && left >= sums_[block]) left -= sums_[block++];
  const std::size_t begin = block * kWeightBlock;
  std::size_t last = logits.size();
  for (std::size_t i = begin; i < std::min(begin + kWeightBlock, logits.size()); ++i) {
    if (weights_[i] <= 0) continue;
    last = i;
    left -= static_cast<double>(weights_[i]);
    if (left < 0) break;
  }
  // Rounding may use up the mass: then it is the last of the block that has any. A last block may have none at all.
  return last < logits.size() ? static_cast<std::int32_t>(last) : argmax(logits);
}

// At least those that together hold `share` of the mass, and as few others as is cheap to tell: of a sharp row they are
// a handful, and a block whose whole mass is below the bound has none.
std::vector<Sampler::Candidate> Sampler::heavy(std::span<const float> logits, double share, double total) const {
  std::vector<Candidate> found;
  for (const float bound : {1e-4F, 1e-9F, 0.0F}) {
    found.clear();
    double mass = 0;
    for (std::size_t begin = 0; begin < logits.size(); begin += kWeightBlock) {
      if (sums_[begin / kWeightBlock] < static_cast<double>(bound)) continue;
      for (std::size_t i = begin; i < std::min(begin + kWeightBlock, logits.size()); ++i) {
        if (weights_[i] < bound) continue;
        mass += static_cast<double>(weights_[i]);
        found.emplace_back(logits[i], static_cast<std::int32_t>(i));
      }
    }
    if (mass >= share * total) break;
  }
  return found;
}

// Keeps the most probable candidates that together hold `share` of the mass. The head is short: it is sorted in growing
// pieces, not the whole vocabulary.
void Sampler::keep_mass(std::vector<Candidate>& all, double share, double total, float max) {
  double mass = 0;
  std::size_t kept = 0;
  for (std::size_t sorted = 0; kept == 0 && sorted < all.size();) {
    const std::size_t next = std::min(all.size(), std::max<std::size_t>(256, sorted * 4));
    std::partial_sort(all.begin() + static_cast<std::ptrdiff_t>(sorted),
                      all.begin() + static_cast<std::ptrdiff_t>(next), all.end(), kHigher);
    for (std::size_t i = sorted; i < next; ++i) {
      mass += std::exp(static_cast<double>(all[i].first - max));
      if (mass >= share * total) {
        kept = i + 1;
        break;
      }
    }
    sorted = next;
  }
  // Rounding may leave the mass of all below the share of the total: then all are kept.
  if (kept > 0) all.resize(kept);
}

// The candidates that top-k, top-p and min-p leave. REQUIRES: at least one of them is on.
std::vector<Sampler::Candidate> Sampler::shortlist(std::span<const float> logits) {
  const float max = logits[static_cast<std::size_t>(argmax(logits))];
  const auto share = static_cast<double>(params_.top_p);
  std::vector<Candidate> all;
  if (params_.top_k > 0 && static_cast<std::size_t>(params_.top_k) < logits.size()) {
    for (const auto& [id, logit] : best_of(logits, static_cast<std::size_t>(params_.top_k)))
      all.emplace_back(logit, id);
    double total = 0;
    for (const Candidate& c : all) total += std::exp(static_cast<double>(c.first - max));
    if (share < 1.0) keep_mass(all, share, total, max);
  } else if (share < 1.0) {
    const double total = weigh(logits, 1);
    all = heavy(logits, share, total);
    keep_mass(all, share, total, max);
  } else {
    all.reserve(logits.size());
    for (std::size_t i = 0; i < logits.size(); ++i) all.emplace_back(logits[i], static_cast<std::int32_t>(i));
  }
  if (params_.min_p > 0.0F) {
    // Nguyen et al. 2024: at least min_p times the probability of the best.
    const float lowest = max + std::log(params_.min_p);
    std::erase_if(all, [lowest](const Candidate& c) { return c.first < lowest; });
  }
  return all;
}

std::int32_t Sampler::draw(std::vector<Candidate> candidates) {
  float max = -std::numeric_limits<float>::infinity();
  for (const Candidate& c : candidates) max = std::max(max, c.first);
  double total = 0;
  for (Candidate& c : candidates) {
    c.first = std::exp((c.first - max) / params_.temperature);
    total += static_cast<double>(c.first);
  }
  double left = std::generate_canonical<double, 53>(random_) * total;
  for (const Candidate& c : candidates) {
    left -= static_cast<double>(c.first);
    if (left < 0) return c.second;
  }
  // Rounding used up the mass: the last candidate that has any.
  const auto last =
      std::find_if(candidates.rbegin(), candidates.rend(), [](const Candidate& c) { return c.first > 0; });
  return last->second;
}

}  // namespace shoal::worker
