// What comes with `shoal serve --demo-cascade`: the examples that stand in front of each question, two questions, and
// the calibration tables in src/shoal/cli/demo, which the build puts into the program. Threads: any; immutable.
#pragma once

#include <array>
#include <string_view>

namespace shoal::cli {

// As it stands in a JSON string within single quotes of a shell.
[[nodiscard]] std::string_view demo_examples();
[[nodiscard]] std::array<std::string_view, 2> demo_table_texts();

// Found by asking: bench/routing/snips_labels.py --skip 1600 --questions 200.
inline constexpr int kDemoSmallRight = 0;
inline constexpr int kDemoLargeRight = 0;
inline constexpr std::string_view kDemoKept = "Will there be a blizzard in Egypt on Jul. 3?";
inline constexpr std::string_view kDemoEscalated = "Open youtube and play something";

}  // namespace shoal::cli
