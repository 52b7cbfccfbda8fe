// Gate: the one place that decides whether bytes may leave this machine, and the only maker of an EgressPermit. What
// leaves is written down first: the intent is on disk before a permit exists, so before a name is asked of the network.
//
//   EgressPermit permit = SHOAL_TRY(gate.seal(std::move(departure), deadline, yield));
//   ... send it ...
//   gate.ended(outcome);
//
// Place: below provider/, which takes nothing but permits; above audit/. Owned by cli/'s App. Threads: the I/O thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "shoal/audit/journal.h"
#include "shoal/audit/records.h"
#include "shoal/base/async.h"
#include "shoal/base/clock.h"
#include "shoal/base/result.h"
#include "shoal/egress/permit.h"

namespace shoal::egress {

// What is on disk when.
enum class Durability : std::uint8_t {
  kStrict,  // the intent before the first byte leaves, the outcome before the client has the end of its answer
  kBatch,   // the intent before the first byte leaves, the outcome some milliseconds later
  kNone,    // nothing is waited for; for providers that are on this machine or its own networks
};
[[nodiscard]] std::string_view durability_name(Durability durability);

// One thing that wants out.
struct Departure {
  audit::Intent intent;  // without time, hash and size, which the gate fills in
  std::string body;
  Durability durability = Durability::kBatch;
  bool local_upstream = false;  // declared to be on this machine or its own networks
  bool local_only = false;      // the privacy class of the request: nothing of it may leave
};

class Gate {
 public:
  // `journal` may be null, when it could not be opened: then only what needs none passes.
  Gate(audit::Journal* journal, const base::Clock& clock, bool allowed);

  // Writes the intent down, waits until it is on disk, and gives the permit. Errors: kPolicyDenied (egress is switched
  // off, the request is local_only, or an upstream that is not local wants no durability), kJournalFailed,
  // kDeadlineExceeded, kOverloaded.
  [[nodiscard]] Result<EgressPermit> seal(Departure departure, base::Deadline deadline, base::Yield yield);

  // What became of an attempt; nothing is written with kNone. The number that synced() takes, 0 for none. Never
  // suspends. Errors: kJournalFailed, kOverloaded: what was to be known is lost then, and counts as unknown.
  Result<std::uint64_t> ended(audit::Outcome outcome, Durability durability);
  // Suspends until that is on disk. Errors: kJournalFailed, kDeadlineExceeded.
  Result<void> synced(std::uint64_t sequence, base::Deadline deadline, base::Yield yield);

  // After a reload.
  void allow(bool allowed) { allowed_ = allowed; }
  [[nodiscard]] bool allowed() const { return allowed_; }

 private:
  audit::Journal* const journal_;
  const base::Clock& clock_;
  std::string line_;  // reused
  bool allowed_;
};

}  // namespace shoal::egress
