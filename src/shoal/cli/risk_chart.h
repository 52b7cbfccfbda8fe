// A risk and coverage curve as text, for a terminal: across, the share of answers that is kept; upwards, the share of
// those that is wrong. Threads: any; pure.
#pragma once

#include <string>

#include "shoal/routing/certify.h"

namespace shoal::cli {

// '*' is the risk that was seen, '^' what it is below with the confidence, '-' what is promised, '|' where the gate
// stands. Of no points: empty.
[[nodiscard]] std::string risk_chart(const routing::Certification& shown);

}  // namespace shoal::cli
