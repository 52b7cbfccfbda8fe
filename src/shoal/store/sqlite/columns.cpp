#include "shoal/store/sqlite/columns.h"

#include <cassert>
#include <limits>

#include <fmt/format.h>

#include "shoal/base/text.h"
#include "shoal/ledger/calendar.h"

namespace shoal::store::sqlite {
namespace {

Error no_name(std::string_view name) {
  return {ErrorCode::kStoreDamaged, fmt::format("\"{}\" stands in a column of names", base::escape_control(name))};
}

}  // namespace

SplitPico split(ledger::Pico amount) {
  assert(amount.value() >= 0 && amount.value() / kPicoPerMilli <= std::numeric_limits<std::int64_t>::max());
  return {.milli = static_cast<std::int64_t>(amount.value() / kPicoPerMilli),
          .pico = static_cast<std::int64_t>(amount.value() % kPicoPerMilli)};
}

Result<AttemptState> parse_state(std::string_view name) {
  for (const AttemptState state :
       {AttemptState::kOpen, AttemptState::kSettled, AttemptState::kNotSent, AttemptState::kUnknown}) {
    if (name_of(state) == name) return state;
  }
  return no_name(name);
}

Result<audit::Decision> parse_decision(std::string_view name) {
  using audit::Decision;
  for (const Decision decision :
       {Decision::kLocal, Decision::kRemote, Decision::kEscalated, Decision::kFailedOver, Decision::kRefused}) {
    if (audit::name_of(decision) == name) return decision;
  }
  return no_name(name);
}

Result<audit::Action> parse_action(std::string_view name) {
  using audit::Action;
  for (const Action action : {Action::kKept, Action::kKeptUnsure, Action::kEscalated, Action::kRefused}) {
    if (audit::name_of(action) == name) return action;
  }
  return no_name(name);
}

Result<audit::Stratum> parse_stratum(std::string_view name) {
  using audit::Stratum;
  for (const Stratum stratum : {Stratum::kOpen, Stratum::kLocalOnly, Stratum::kSeveral}) {
    if (audit::name_of(stratum) == name) return stratum;
  }
  return no_name(name);
}

Result<audit::LabelKind> parse_label_kind(std::string_view name) {
  using audit::LabelKind;
  for (const LabelKind kind : {LabelKind::kAudit, LabelKind::kEscalation, LabelKind::kFeedback}) {
    if (audit::name_of(kind) == name) return kind;
  }
  return no_name(name);
}

std::int64_t day_of_ms(std::int64_t unix_ms) {
  assert(unix_ms >= 0);
  return ledger::day_of(unix_ms / 1000).start;
}

}  // namespace shoal::store::sqlite
