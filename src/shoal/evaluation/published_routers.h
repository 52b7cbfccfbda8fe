// What other people published of their routers on sets whose outcomes are public, to stand beside routers that are
// scored on the same rows. Nothing here was measured by us. Threads: any.
//
// Source: Ong et al. 2024, "RouteLLM: Learning to route LLMs with preference data", arXiv 2406.18665v4, tables 1 to 3:
// Mixtral 8x7B Instruct and gpt-4-1106-preview, contaminated prompts left out. Their numbers come from a curve of
// eleven points (evals/evaluate.py): compare them with routellm_apgr(), not with the integral at every rank.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

namespace shoal::evaluation {

struct PublishedRouter {
  std::string_view router;
  std::string_view trained_on;
  double apgr = 0;
  double cpt50 = 0;  // shares
  double cpt80 = 0;
};

struct PublishedSet {
  std::string_view name;  // "mmlu"
  std::string_view source;
  std::size_t rows = 0;  // that were scored; 0: the paper does not say
  std::span<const PublishedRouter> routers;
};

[[nodiscard]] std::span<const PublishedSet> published_sets();
[[nodiscard]] std::optional<PublishedSet> published_set(std::string_view name);

}  // namespace shoal::evaluation
