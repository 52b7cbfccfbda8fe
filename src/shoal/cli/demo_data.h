// What comes with `shoal serve --demo-cascade`: the examples that stand in front of each question, two questions, and
// the calibration tables in src/shoal/cli/demo, which the build puts into the program. Threads: any; immutable.
#pragma once

#include <array>
#include <string_view>

namespace shoal::cli {

// As it stands in a JSON string within single quotes of a shell.
[[nodiscard]] std::string_view demo_examples();
[[nodiscard]] std::array<std::string_view, 2> demo_table_texts();

// Measured: bench/routing/snips_labels.py --skip 1600 --questions 200, none of which the tables have seen.
struct DemoFigures {
  int questions = 200;
  int small_right = 92;
  int large_right = 104;
  int cascade_right = 114;
  int kept = 54;
  int kept_right = 51;
};
inline constexpr DemoFigures kDemoFigures;
inline constexpr std::string_view kDemoKept = "Rate this textbook two out of 6";
inline constexpr std::string_view kDemoEscalated = "Show the forecast for Tanintharyi Nature Reserve";

}  // namespace shoal::cli
