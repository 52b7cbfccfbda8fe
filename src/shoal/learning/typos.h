// Typing errors as people make them, for training texts and for measuring what they cost: one in five words, at least
// one, only in words of more than three ASCII letters, never in their first or last letter.
// Owned by nobody; a function. Threads: any; pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "shoal/statistics/random.h"

namespace shoal::learning {

enum class Typos : std::uint8_t {
  kSwaps,  // two letters that follow each other change places
  kMixed,  // or one is left out, doubled, or another one
};

[[nodiscard]] std::string with_typos(std::string_view text, Typos kinds, statistics::Random& random);

}  // namespace shoal::learning
