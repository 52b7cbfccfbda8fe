// Files of scores and what they were worth, for certify(): any score of anything, not only of Shoal's own tables. One
// label a line, in JSON: {"score": 0.93, "right": true, "group": "the question", "late": false}. A score of null is
// never kept; "group" and "late" may be left out. "out_of_scope", which `shoal tune test --scores` writes, is checked
// and not used: such an answer is a wrong one. Threads: any; blocks on the disk.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/routing/certify.h"

namespace shoal::routing {

struct ScoredLabels {
  std::vector<ScoredLabel> labels;
  std::string sha256;  // of the file
};

// Errors: kIo; kInvalidData with the number of the line.
[[nodiscard]] Result<ScoredLabels> read_scored_labels(const std::filesystem::path& path);
// One line. Errors: kInvalidData.
[[nodiscard]] Result<ScoredLabel> parse_scored_label(std::string_view line);

}  // namespace shoal::routing
