#include "shoal/evaluation/published_routers.h"

#include <algorithm>
#include <array>

namespace shoal::evaluation {
namespace {

constexpr std::string_view kArena = "Chatbot Arena";
constexpr std::string_view kWithGold = "Arena, MMLU validation labels";
constexpr std::string_view kWithJudge = "Arena, GPT-4 judge";

constexpr std::array<PublishedRouter, 8> kMtBench = {{
    {"BERT", kArena, 0.391, 0.7809, 0.8764},
    {"causal LLM, 8B", kArena, 0.573, 0.2882, 0.7753},
    {"matrix factorization", kArena, 0.580, 0.2532, 0.7426},
    {"similarity-weighted ranking", kArena, 0.610, 0.3785, 0.5899},
    {"BERT", kWithJudge, 0.751, 0.1958, 0.3402},
    {"causal LLM, 8B", kWithJudge, 0.679, 0.3150, 0.4875},
    {"matrix factorization", kWithJudge, 0.802, 0.1340, 0.3131},
    {"similarity-weighted ranking", kWithJudge, 0.759, 0.2321, 0.3604},
}};

constexpr std::array<PublishedRouter, 8> kMmlu = {{
    {"BERT", kArena, 0.502, 0.4943, 0.7780},
    {"causal LLM, 8B", kArena, 0.499, 0.4888, 0.7793},
    {"matrix factorization", kArena, 0.524, 0.4500, 0.7686},
    {"similarity-weighted ranking", kArena, 0.473, 0.5582, 0.8025},
    {"BERT", kWithGold, 0.572, 0.4130, 0.7220},
    {"causal LLM, 8B", kWithGold, 0.600, 0.3549, 0.7031},
    {"matrix factorization", kWithGold, 0.597, 0.3546, 0.7140},
    {"similarity-weighted ranking", kWithGold, 0.603, 0.3540, 0.7155},
}};

constexpr std::array<PublishedRouter, 8> kGsm8k = {{
    {"BERT", kArena, 0.438, 0.5878, 0.8384},
    {"causal LLM, 8B", kArena, 0.461, 0.5609, 0.8356},
    {"matrix factorization", kArena, 0.4746, 0.5359, 0.8524},
    {"similarity-weighted ranking", kArena, 0.4753, 0.5443, 0.8211},
    {"BERT", kWithJudge, 0.531, 0.4476, 0.7909},
    {"causal LLM, 8B", kWithJudge, 0.622, 0.3364, 0.6326},
    {"matrix factorization", kWithJudge, 0.565, 0.3882, 0.7262},
    {"similarity-weighted ranking", kWithJudge, 0.568, 0.4121, 0.7220},
}};

constexpr std::array<PublishedSet, 3> kSets = {{
    {"mmlu", "RouteLLM, arXiv 2406.18665v4, table 2", 14'037, kMmlu},
    {"gsm8k", "RouteLLM, arXiv 2406.18665v4, table 3", 1'307, kGsm8k},
    {"mt-bench", "RouteLLM, arXiv 2406.18665v4, table 1", 0, kMtBench},
}};

}  // namespace

std::span<const PublishedSet> published_sets() {
  return kSets;
}

std::optional<PublishedSet> published_set(std::string_view name) {
  const auto found = std::ranges::find(kSets, name, &PublishedSet::name);
  return found == kSets.end() ? std::nullopt : std::optional(*found);
}

}  // namespace shoal::evaluation
