// SlotFeatures: a text as tokens, and what each token looks like beside its neighbours: words, shapes, first and last
// letters, pairs, whether a space is between, and which slots were just asked for. Each is hashed into a bucket; a slot
// model has weights for the buckets that its training knew.
//
// What a model was fitted on and what a server reads both go through these functions; any change of what they make of
// a text must change kSlotFeaturesVersion. Owned by nobody; functions. Threads: any; pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace shoal::learning {

inline constexpr std::uint32_t kSlotFeaturesVersion = 1;
inline constexpr std::size_t kSlotBuckets = std::size_t{1} << 20U;
// Tokens of a text that are read; what follows has no slots.
inline constexpr std::size_t kMostSlotTokens = 512;

// Bytes of the text.
struct SlotToken {
  std::size_t begin = 0;
  std::size_t end = 0;
};
// Runs of digits, runs of letters, and every other character that is no space alone.
[[nodiscard]] std::vector<SlotToken> slot_tokens(std::string_view text);

// The buckets of each token, as many lists as tokens. `asked`: the slots that the last question was about.
[[nodiscard]] std::vector<std::vector<std::uint32_t>> slot_features(std::string_view text,
                                                                    std::span<const SlotToken> tokens,
                                                                    std::span<const std::string> asked);

}  // namespace shoal::learning
