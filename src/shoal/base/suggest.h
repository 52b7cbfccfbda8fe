// Did-you-mean: the name that somebody probably meant. For parameters, configuration keys, models, commands.
// Only ever shown, never acted on. Threads: any; pure.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace shoal::base {

// The candidate nearest to `name`, or empty: equal but for case; else the least restricted Damerau-Levenshtein
// distance of at most max(length, 3) / 3; else the same words in another order ("tokens_max").
// Source: rustc's edit_distance.rs (find_best_match_for_name).
[[nodiscard]] std::string_view suggest(std::string_view name, std::span<const std::string_view> candidates);
[[nodiscard]] std::string suggest(std::string_view name, std::span<const std::string> candidates);

}  // namespace shoal::base
