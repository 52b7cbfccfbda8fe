// A model's weights in another type than they were delivered in: what was measured of each candidate, the rule that
// chooses among them, and what the store keeps of a rewrite. `shoal models optimise` measures, this decides.
// Pure but for the store's own files. Threads: any, as plain data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace shoal::models {

// Of one file on this machine. Speeds in tokens per second.
struct RewriteFigures {
  std::uint64_t file_bytes = 0;
  std::uint64_t resident_bytes = 0;  // of its worker, after the same requests
  double prefill = 0;
  double decode = 0;   // one stream
  double streams = 0;  // sixteen streams
  double perplexity = 0;
};

// A candidate beside the source, which was measured in the same run, in turn.
struct RewriteCandidate {
  std::string type;        // "Q8_0"
  std::string not_tested;  // why nothing was measured; empty: everything below is there
  RewriteFigures source;
  RewriteFigures figures;
  double prefill_ratio = 0;  // medians of paired ratios, candidate over source
  double decode_ratio = 0;
  double streams_ratio = 0;
  double kl = 0;         // mean KL(source || candidate) of next-token distributions, nats
  double agreement = 0;  // share of equal best tokens, [0, 1]

  // The geometric mean of the three ratios.
  [[nodiscard]] double speedup() const;
  // Resident memory beyond the source's, in percent; negative when it is less.
  [[nodiscard]] double more_memory_percent() const;
};

// What a rewrite may cost and must bring. The defaults are what "free" means.
struct RewriteTerms {
  double most_kl = 0.001;
  double most_memory_percent = 10;
  double least_speedup = 1.3;
  // None of the three may become slower than this by a rewrite that is faster in the mean.
  double least_ratio = 0.95;

  [[nodiscard]] bool are_default() const;
};

// Why the candidate is not taken on these terms, in words; empty: it may be.
[[nodiscard]] std::string objection(const RewriteCandidate& candidate, const RewriteTerms& terms);

// The fastest that may be taken; of those within 3 % of it the one nearest to the source. Nothing: keep the source.
[[nodiscard]] std::optional<std::size_t> choose(const std::vector<RewriteCandidate>& candidates,
                                                const RewriteTerms& terms);

// The lineage of a rewritten model, in its entry of the store.
struct Rewrite {
  std::filesystem::path source_path;  // the file as it was delivered; kept for --undo
  std::string source_sha256;
  std::uint64_t source_bytes = 0;
  std::string source_type;  // "Q4_1"
  RewriteCandidate chosen;
  std::string terms;  // "free", or what the user agreed to
  std::string machine;
  std::string made_at;  // ISO 8601, UTC
};

}  // namespace shoal::models
