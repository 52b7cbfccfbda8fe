// Where a group of labels stands in the order that a seed draws: splits are by group, so that a question and its copies
// are on one side, and the same group is on the same side whatever else is in the file. Threads: any; pure.
#pragma once

#include <cstdint>
#include <string_view>

namespace shoal::routing {

// FNV-1a with the finaliser of MurmurHash3.
[[nodiscard]] constexpr std::uint64_t group_place(std::string_view group, std::uint64_t seed) {
  std::uint64_t h = 14695981039346656037ULL ^ (seed * 0x9e3779b97f4a7c15ULL);
  for (const char c : group) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  h = (h ^ (h >> 33U)) * 0xff51afd7ed558ccdULL;
  h = (h ^ (h >> 33U)) * 0xc4ceb9fe1a85ec53ULL;
  return h ^ (h >> 33U);
}

}  // namespace shoal::routing
