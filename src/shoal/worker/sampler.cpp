#include "shoal/worker/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

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
  if (changes_logits() || !forbidden.empty()) {
    adjusted_.assign(logits.begin(), logits.end());
    adjust(adjusted_, forbidden);
    logits = adjusted_;
    best = static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  }
  if (params_.temperature <= 0.0F || params_.top_k == 1) return best;
  return draw(shortlist(logits));
}

// The candidates that top-k, top-p and min-p leave, in falling order unless none of them is on.
std::vector<Sampler::Candidate> Sampler::shortlist(std::span<const float> logits) const {
  std::vector<Candidate> all;
  all.reserve(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) all.emplace_back(logits[i], static_cast<std::int32_t>(i));
  if (params_.top_k > 0 && static_cast<std::size_t>(params_.top_k) < all.size()) {
    std::partial_sort(all.begin(), all.begin() + params_.top_k, all.end(), kHigher);
    all.resize(static_cast<std::size_t>(params_.top_k));
  }
  if (params_.top_p < 1.0F) {
    const float max =
        std::max_element(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; })->first;
    double total = 0;
    for (const Candidate& c : all) total += std::exp(static_cast<double>(c.first - max));
    // The head that holds top_p of the mass is short: sort it in growing pieces, not the whole vocabulary.
    double mass = 0;
    std::size_t kept = 0;
    for (std::size_t sorted = 0; kept == 0 && sorted < all.size();) {
      const std::size_t next = std::min(all.size(), std::max<std::size_t>(256, sorted * 4));
      std::partial_sort(all.begin() + static_cast<std::ptrdiff_t>(sorted),
                        all.begin() + static_cast<std::ptrdiff_t>(next), all.end(), kHigher);
      for (std::size_t i = sorted; i < next; ++i) {
        mass += std::exp(static_cast<double>(all[i].first - max));
        if (mass >= static_cast<double>(params_.top_p) * total) {
          kept = i + 1;
          break;
        }
      }
      sorted = next;
    }
    all.resize(std::max<std::size_t>(kept, 1));
  }
  if (params_.min_p > 0.0F) {
    // Nguyen et al. 2024: at least min_p times the probability of the best.
    const float max =
        std::max_element(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; })->first;
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
