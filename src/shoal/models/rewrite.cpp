#include "shoal/models/rewrite.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace shoal::models {
namespace {

constexpr double kSameSpeed = 0.97;

}  // namespace

double RewriteCandidate::speedup() const {
  return std::cbrt(prefill_ratio * decode_ratio * streams_ratio);
}

double RewriteCandidate::more_memory_percent() const {
  if (source.resident_bytes == 0) return 0;
  return 100.0 * (static_cast<double>(figures.resident_bytes) / static_cast<double>(source.resident_bytes) - 1.0);
}

bool RewriteTerms::are_default() const {
  const RewriteTerms free;
  return most_kl == free.most_kl && most_memory_percent == free.most_memory_percent &&
         least_speedup == free.least_speedup && least_ratio == free.least_ratio;
}

std::string objection(const RewriteCandidate& candidate, const RewriteTerms& terms) {
  if (!candidate.not_tested.empty()) return candidate.not_tested;
  std::string why;
  const auto add = [&why](std::string reason) { why += (why.empty() ? "" : "; ") + std::move(reason); };
  // Written so that a figure that is not a number is an objection.
  if (!(candidate.kl <= terms.most_kl)) add(fmt::format("KL {:.4f}, at most {:g}", candidate.kl, terms.most_kl));
  if (!(candidate.more_memory_percent() <= terms.most_memory_percent)) {
    add(fmt::format("{:+.0f} % memory, at most +{:g} %", candidate.more_memory_percent(), terms.most_memory_percent));
  }
  if (!(candidate.speedup() >= terms.least_speedup))
    add(fmt::format("{:.2f}x as fast, at least {:g}x", candidate.speedup(), terms.least_speedup));
  const double slowest = std::min({candidate.prefill_ratio, candidate.decode_ratio, candidate.streams_ratio});
  if (candidate.speedup() >= terms.least_speedup && !(slowest >= terms.least_ratio)) {
    const char* const what = slowest == candidate.prefill_ratio  ? "prefill"
                             : slowest == candidate.decode_ratio ? "decode"
                                                                 : "16 streams";
    add(fmt::format("{} {:.2f}x as fast, at least {:g}x", what, slowest, terms.least_ratio));
  }
  return why;
}

std::optional<std::size_t> choose(const std::vector<RewriteCandidate>& candidates, const RewriteTerms& terms) {
  double fastest = 0;
  for (const RewriteCandidate& candidate : candidates) {
    if (objection(candidate, terms).empty()) fastest = std::max(fastest, candidate.speedup());
  }
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (!objection(candidates[i], terms).empty() || candidates[i].speedup() < kSameSpeed * fastest) continue;
    if (!best || candidates[i].kl < candidates[*best].kl) best = i;
  }
  return best;
}

}  // namespace shoal::models
