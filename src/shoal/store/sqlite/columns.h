// How values that are no integers and no text stand in columns. Inside store/sqlite. Threads: any; pure.
#pragma once

#include <cstdint>
#include <string_view>

#include "shoal/audit/records.h"
#include "shoal/base/result.h"
#include "shoal/ledger/money.h"
#include "shoal/store/rows.h"

namespace shoal::store::sqlite {

// 128 bits in two columns. Whole sums of a column stay exact for 9 x 10^6 amounts of a billion dollars each, and for
// 9 x 10^9 of a million; sums that are kept are carried on in 128 bits and split again.
struct SplitPico {
  std::int64_t milli = 0;  // 10^9 pico-dollars each
  std::int64_t pico = 0;   // 0 to 10^9 - 1
};
inline constexpr ledger::Int128 kPicoPerMilli = 1'000'000'000;

// REQUIRES: at least 0, and it fits: an amount, or a sum of less than 9 x 10^6 of them.
[[nodiscard]] SplitPico split(ledger::Pico amount);
[[nodiscard]] inline ledger::Pico join(std::int64_t milli, std::int64_t pico) {
  return ledger::Pico(ledger::Int128{milli} * kPicoPerMilli + pico);
}

// Of the name that name_of() gives. Errors: kStoreDamaged for another.
[[nodiscard]] Result<AttemptState> parse_state(std::string_view name);
[[nodiscard]] Result<audit::Decision> parse_decision(std::string_view name);
[[nodiscard]] Result<audit::Action> parse_action(std::string_view name);
[[nodiscard]] Result<audit::Stratum> parse_stratum(std::string_view name);
[[nodiscard]] Result<audit::LabelKind> parse_label_kind(std::string_view name);

// The midnight before, in unix seconds. REQUIRES: unix_ms is at least 0.
[[nodiscard]] std::int64_t day_of_ms(std::int64_t unix_ms);

}  // namespace shoal::store::sqlite
