#include "shoal/egress/gate.h"

#include <cassert>
#include <utility>

#include "shoal/base/sha256.h"

namespace shoal::egress {
namespace {

Error denied(const std::string& provider, std::string_view why) {
  return {ErrorCode::kPolicyDenied, "nothing was sent to " + provider + ": " + std::string(why)};
}

}  // namespace

std::string_view durability_name(Durability durability) {
  switch (durability) {
    case Durability::kStrict:
      return "strict";
    case Durability::kBatch:
      return "batch";
    case Durability::kNone:
      break;
  }
  return "none";
}

Gate::Gate(audit::Journal* journal, const base::Clock& clock, bool allowed)
    : journal_(journal), clock_(clock), allowed_(allowed) {}

Result<EgressPermit> Gate::seal(Departure departure, base::Deadline deadline, base::Yield yield) {
  audit::Intent& intent = departure.intent;
  assert(!intent.attempt.empty() && !intent.provider.empty());
  if (!allowed_) return denied(intent.provider, "egress.allowed is false");
  if (departure.local_only) return denied(intent.provider, "the request is local_only");
  if (departure.durability == Durability::kNone) {
    if (!departure.local_upstream) return denied(intent.provider, "only a local provider may go without a journal");
  } else {
    if (journal_ == nullptr) {
      return Error(ErrorCode::kJournalFailed, "nothing was sent to " + intent.provider +
                                                  ": the journal could not be opened when the server started");
    }
    intent.unix_ms = clock_.unix_ms();
    intent.body_bytes = static_cast<std::int64_t>(departure.body.size());
    base::Sha256 hash;
    hash.update(departure.body);
    intent.body_sha256 = hash.finish();
    line_.clear();
    audit::print(intent, line_);
    const std::uint64_t sequence = SHOAL_TRY(
        journal_->append(static_cast<std::uint8_t>(audit::RecordType::kIntent), line_, audit::Urgency::kPrompt));
    // FENCE: what follows leaves this machine.
    if (auto synced = journal_->synced(sequence, deadline, yield); !synced.ok()) {
      // It may be on disk all the same, and would count as spent.
      audit::Outcome nothing;
      nothing.attempt = intent.attempt;
      nothing.kind = audit::OutcomeKind::kNotSent;
      nothing.failure = synced.error().info().slug;
      ended(std::move(nothing), departure.durability).ignore("a journal that is not written takes no outcome either");
      return std::move(synced).error();
    }
  }
  return EgressPermit(std::move(intent.attempt), std::move(intent.provider), std::move(departure.body));
}

Result<std::uint64_t> Gate::ended(audit::Outcome outcome, Durability durability) {
  if (durability == Durability::kNone || journal_ == nullptr) return std::uint64_t{0};
  outcome.unix_ms = clock_.unix_ms();
  line_.clear();
  audit::print(outcome, line_);
  return journal_->append(static_cast<std::uint8_t>(audit::RecordType::kOutcome), line_,
                          durability == Durability::kStrict ? audit::Urgency::kPrompt : audit::Urgency::kQuiet);
}

Result<void> Gate::synced(std::uint64_t sequence, base::Deadline deadline, base::Yield yield) {
  if (sequence == 0) return {};
  return journal_->synced(sequence, deadline, std::move(yield));
}

}  // namespace shoal::egress
