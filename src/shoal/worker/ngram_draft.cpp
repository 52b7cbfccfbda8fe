#include "shoal/worker/ngram_draft.h"

#include <algorithm>

namespace shoal::worker {
namespace {

// FNV-1a over the last tokens. A collision costs a wrong guess, never a wrong answer.
std::uint64_t hash_of(std::span<const std::int32_t> tokens) {
  std::uint64_t hash = 1469598103934665603ULL;
  for (const std::int32_t token : tokens) hash = (hash ^ static_cast<std::uint32_t>(token)) * 1099511628211ULL;
  return hash;
}

}  // namespace

std::vector<std::int32_t> NgramDraft::guess(std::span<const std::int32_t> tokens, std::size_t most) {
  if (tokens.size() < kLength) return {};
  // What ends at the very last token is what is asked for, so it is not in the map yet.
  for (std::size_t end = std::max(seen_ + 1, kLength); end < tokens.size(); ++end)
    after_[hash_of(tokens.subspan(end - kLength, kLength))] = end;
  seen_ = tokens.size() - 1;
  const auto found = after_.find(hash_of(tokens.last(kLength)));
  if (found == after_.end()) return {};
  const auto follows = tokens.subspan(found->second);
  return {follows.begin(), follows.begin() + static_cast<std::ptrdiff_t>(std::min(most, follows.size()))};
}

}  // namespace shoal::worker
