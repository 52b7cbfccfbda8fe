// How a report puts its numbers, in Markdown and HTML alike. Place: inside evaluation/. Threads: any; pure.
#pragma once

#include <string>
#include <vector>

#include "shoal/evaluation/report.h"

namespace shoal::evaluation {

[[nodiscard]] std::string percent(double share);                        // "71.3 %"
[[nodiscard]] std::string points(double difference);                    // "+1.3"
[[nodiscard]] std::string measured_text(const Measured& measured);      // "71.3 % (65.0 to 77.1)"; "-" of no rows
[[nodiscard]] std::string difference_text(const RouteComparison& one);  // "+1.3 (-0.5 to +3.1)"
[[nodiscard]] std::string p_text(double p);                             // "0.034", "< 0.001"
[[nodiscard]] std::string usd_text(double usd);                         // "0.0123"
// "81 % local, 19 % escalated".
[[nodiscard]] std::string decisions_text(const RouteSummary& route);
// What is not in the numbers: "3 of 200 questions failed"; empty: nothing.
[[nodiscard]] std::string missing_text(const RouteSummary& route);
// What a judge is worth and how the order moved it, in sentences; none: the suite has no judge.
[[nodiscard]] std::vector<std::string> judge_sentences(const Report& report);
// "better", "worse", "cannot tell" in a sentence.
[[nodiscard]] std::string verdict_sentence(const RouteComparison& one, bool by_score);

}  // namespace shoal::evaluation
