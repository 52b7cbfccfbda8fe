#include "shoal/base/suggest.h"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace shoal::base {
namespace {

// Longer names are never typos of ours; also bounds the quadratic work on hostile input.
constexpr std::size_t kMaxLength = 128;

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

// Restricted Damerau-Levenshtein: insertions, deletions, substitutions, swaps of neighbours.
std::size_t distance(std::string_view a, std::string_view b) {
  while (!a.empty() && !b.empty() && a.front() == b.front()) a.remove_prefix(1), b.remove_prefix(1);
  while (!a.empty() && !b.empty() && a.back() == b.back()) a.remove_suffix(1), b.remove_suffix(1);
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> now(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    now[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = a[i - 1] == b[j - 1] ? 0 : 1;
      now[j] = std::min({last[j] + 1, now[j - 1] + 1, last[j - 1] + change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) now[j] = std::min(now[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, now);
  }
  return last[b.size()];
}

std::vector<std::string_view> sorted_words(std::string_view name) {
  std::vector<std::string_view> words;
  while (!name.empty()) {
    const std::size_t end = std::min(name.find_first_of("_-. "), name.size());
    words.push_back(name.substr(0, end));
    name.remove_prefix(std::min(end + 1, name.size()));
  }
  std::ranges::sort(words);
  return words;
}

template <class Name>
Name nearest(std::string_view name, std::span<const Name> candidates) {
  if (name.empty() || name.size() > kMaxLength) return {};
  for (const Name& candidate : candidates) {
    if (equal_ignoring_case(name, candidate)) return candidate;
  }
  const Name* best = nullptr;
  std::size_t best_distance = std::max<std::size_t>(name.size(), 3) / 3 + 1;
  for (const Name& candidate : candidates) {
    if (candidate.size() > kMaxLength) continue;
    if (const std::size_t d = distance(name, candidate); d < best_distance) {
      best = &candidate;
      best_distance = d;
    }
  }
  if (best != nullptr) return *best;
  const auto words = sorted_words(name);
  for (const Name& candidate : candidates) {
    if (sorted_words(candidate) == words) return candidate;
  }
  return {};
}

}  // namespace

std::string_view suggest(std::string_view name, std::span<const std::string_view> candidates) {
  return nearest<std::string_view>(name, candidates);
}

std::string suggest(std::string_view name, std::span<const std::string> candidates) {
  return nearest<std::string>(name, candidates);
}

}  // namespace shoal::base
