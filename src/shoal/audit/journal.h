// Journal: the append-only log that is the only durable write on the request path. What is to happen (an intent to send
// bytes and spend money) is on disk before it happens; what came of it follows. SQLite is fed from it.
// Place: below egress/, ledger/ and store/; above Disk. Records are bytes here; records.h says what is in them.
// Use: `const auto sequence = SHOAL_TRY(journal.append(type, payload, Urgency::kPrompt));` and then
// `SHOAL_TRY(journal.synced(sequence, deadline, yield));`. The I/O thread appends to a batch that fills; one thread
// writes it, with one sync, while the next one fills, and wakes all who wait for it at once.
// A write or a sync that fails ends it for good, since nobody knows what is on disk then: whoever waits, and every
// later append, gets kJournalFailed, and nothing may leave this machine until the server is started again. Owned by
// cli/'s App, after the io_context, the clock and the disk, which outlive it. Threads: each function says which.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "shoal/audit/disk.h"
#include "shoal/audit/record.h"
#include "shoal/audit/segments.h"
#include "shoal/base/async.h"
#include "shoal/base/clock.h"
#include "shoal/base/result.h"

namespace shoal::audit {

struct JournalOptions {
  SegmentsOptions segments;
  // A record that nobody waits for is written with the next one that somebody waits for, or after so long.
  std::int64_t quiet_ms = 5;
  // Of records that are not on disk yet. More is refused.
  std::size_t max_pending_bytes = std::size_t{8} << 20;
  // Told once, on the writer's thread, when a write or a sync has failed.
  std::function<void(const Error&)> on_failure{};
};

enum class Urgency : std::uint8_t {
  kQuiet,   // see quiet_ms
  kPrompt,  // written at once, for somebody will wait for it
};

struct JournalStats {
  std::uint64_t next_sequence = 1;
  std::uint64_t synced_sequence = 0;  // the last that is on disk; 0: none
  std::uint64_t batches = 0;          // since it was opened
  std::uint64_t bytes = 0;            // written since then
  std::size_t pending_bytes = 0;
  bool next_segment_ready = false;
  std::string prepare_error;  // why the last step of making it ready failed; empty: it did not
};

class Journal {
 public:
  // Any thread, not the I/O thread: reads the journal, and makes its first segment. Errors: kJournalDamaged with file
  // and byte, when a good record follows a bad one: then nothing was written, and the caller may serve what needs no
  // journal. kIo, also when another server has the folder open; kUnimplemented when a later version wrote it;
  // kInvalidConfig.
  static Result<std::unique_ptr<Journal>> open(base::Executor io, const base::Clock& clock, Disk& disk,
                                               JournalOptions options);
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;
  // As close().
  ~Journal();

  // What open() found: where it goes on, and what it cut off. Any thread.
  [[nodiscard]] const Recovery& recovery() const;

  // The sequence number of the record. Never blocks on the disk. The I/O thread. Errors: kOverloaded past
  // max_pending_bytes, kPayloadTooLarge past 1 MiB (less in small segments), kJournalFailed, kShuttingDown.
  Result<std::uint64_t> append(std::uint8_t type, std::string_view payload, Urgency urgency);

  // Suspends until the record is on disk. After kDeadlineExceeded it may still get there. A quiet record becomes a
  // prompt one. REQUIRES: a number that append() gave. The I/O thread. Errors: kJournalFailed, kDeadlineExceeded.
  Result<void> synced(std::uint64_t sequence, base::Deadline deadline, base::Yield yield);

  // Calls `visit` for each record that is on disk, in order, beginning with `from`; 0: the oldest. Any thread, not the
  // I/O thread, also while others append. Errors: kNotFound when `from` is older than what is kept, kJournalDamaged,
  // kIo, and what `visit` returns, which ends the reading.
  Result<void> read(std::uint64_t from, const std::function<Result<void>(const Record&)>& visit) const;

  // Gives each batch that is on disk to `consume`, on the writer's thread, which waits for it: it only copies, and
  // throws nothing. Batches come in order, without gaps, from the first append on. REQUIRES: called before that, once.
  void on_durable(std::function<void(std::span<const Record>)> consume);

  // A write or a sync has failed. Any thread.
  [[nodiscard]] bool poisoned() const;
  [[nodiscard]] JournalStats stats() const;  // any thread

  // Writes what was appended, and ends the writer's thread; later appends are refused. Blocks for that long. Any thread
  // but the writer's, one at a time. Errors: kJournalFailed.
  Result<void> close();

 private:
  class Impl;
  explicit Journal(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace shoal::audit
