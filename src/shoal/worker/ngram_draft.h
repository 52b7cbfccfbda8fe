// NgramDraft: guesses what comes next in an answer by looking where its last tokens stood before, in the prompt or in
// the answer itself (prompt lookup decoding, Saxena 2023). Good where an answer copies: quotes, code, lists, names.
// Owned by a Sequence. Threads: the compute thread.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace shoal::worker {

class NgramDraft {
 public:
  // Tokens that must be the same before a guess is made.
  static constexpr std::size_t kLength = 3;

  // At most `most` tokens that may follow `tokens`; none when its end was not seen before. `tokens` only ever grows
  // between two calls.
  [[nodiscard]] std::vector<std::int32_t> guess(std::span<const std::int32_t> tokens, std::size_t most);

 private:
  std::unordered_map<std::uint64_t, std::size_t> after_;  // hash of kLength tokens to where the last of them ended
  std::size_t seen_ = 0;                                  // tokens whose end is in the map
};

}  // namespace shoal::worker
