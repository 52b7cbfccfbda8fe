// A risk and coverage curve as text, for a terminal, and as a file of SVG: across, the share of answers that is kept;
// upwards, the share of those that is wrong. Also what scores promised and what came true. Threads: any; pure.
#pragma once

#include <span>
#include <string>

#include "shoal/routing/certify.h"

namespace shoal::cli {

// '*' is the risk that was seen, '^' what it is below with the confidence, '-' what is promised, '|' where the gate
// stands. Of no points: empty.
[[nodiscard]] std::string risk_chart(const routing::Certification& shown);

// The same as a whole SVG file. Points whose bound is above the top are left out.
[[nodiscard]] std::string risk_svg(const routing::Certification& shown);
// A reliability diagram of the labels' scores, with the interval of each bin, as a whole SVG file. Empty where no label
// has a score, or one is no probability.
[[nodiscard]] std::string reliability_svg(std::span<const routing::ScoredLabel> labels);

}  // namespace shoal::cli
