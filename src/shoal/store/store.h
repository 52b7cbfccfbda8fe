// Store: what the journal says, as tables that can be asked: receipts, attempts, sums of money; and the keys. The
// journal is the truth: all but the keys can be thrown away and made again from it. SQLite is the embedded one
// (sqlite/sqlite_store.h); each adapter passes tests/unit/store/contract.h.
// Place: above audit/ and ledger/; fed by Feeder (feeder.h), through which everyone else asks.
// Use: use_journal(), then apply() batch after batch; after the records of earlier runs resolve_unknown(), once.
// Owned by the Feeder. Threads: one at a time. Everything blocks on the disk.
// Errors of all: kIo (full, locked by another, no permission), after which nothing has changed and the same call may be
// made again; kStoreDamaged, after which only start_over() helps.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "shoal/audit/record.h"
#include "shoal/base/result.h"
#include "shoal/store/rows.h"

namespace shoal::store {

class Store {
 public:
  virtual ~Store() = default;

  // Whose records come, by the id that its Recovery has, and the oldest of them that it still has. Another journal than
  // before: its records are counted from 1 again, and what is here stays. Records that are gone before they were read
  // are noted, and count as applied.
  virtual Result<void> use_journal(std::string_view journal_id, std::uint64_t first_sequence) = 0;
  // The last record that was applied of the journal in use; 0: none.
  [[nodiscard]] virtual std::uint64_t last_sequence() const = 0;

  // All of them in one transaction, and on disk when it returns; those that were applied before change nothing. What
  // cannot be counted is set aside, with its bytes: types of later versions, records that nobody understands, an
  // outcome without an attempt. Errors: kInternal for a gap before or between them; nothing is applied then.
  virtual Result<void> apply(std::span<const audit::Record> records) = 0;

  // Moves what there is aside, where there is something, and begins anew, with the keys as they were.
  virtual Result<void> start_over() = 0;
  virtual Result<StoreStats> stats() = 0;

  // In the order of the journal.
  virtual Result<std::vector<OpenIntent>> open_intents() = 0;
  // Commits each at what was reserved for it, as unknown. An outcome that comes later takes the place of that. Returns
  // how many.
  virtual Result<std::uint64_t> resolve_unknown(std::int64_t now_ms) = 0;
  // What each bucket of a Book had committed on the day and in the month that begin then (unix seconds, as day_of() and
  // month_of() give them); those with nothing are left out. Money belongs to the period of its intent.
  virtual Result<std::vector<Committed>> committed(std::int64_t day_start, std::int64_t month_start) = 0;

  // By the id of the request. Errors: kNotFound.
  virtual Result<Request> receipt(std::string_view request) = 0;
  // Newest first.
  virtual Result<std::vector<ReceiptRow>> receipts(const ReceiptFilter& filter) = 0;
  // Local answers that were judged, in the order of the journal, with their labels.
  virtual Result<std::vector<JudgedAnswer>> judged(const JudgedFilter& filter) = 0;
  // Of the days (UTC) that begin in [from, to), in unix seconds.
  virtual Result<CostReport> costs(CostsBy by, std::int64_t from, std::int64_t to) = 0;

  // What such a use costs now; nothing: no price is known. REQUIRES: from 0 to kMaxAmount.
  using Price = std::function<std::optional<ledger::Pico>(const PricedUse&)>;
  // Called after each batch, which is then on disk; false: that is enough.
  using Progress = std::function<bool(const RepriceProgress&)>;
  // Computes what each settled attempt costs again, from its token counts, then what each request would have cost
  // without Shoal, and all sums with that. Days whose rows were pruned keep their sums.
  virtual Result<RepriceProgress> reprice(const Price& price, const Progress& progress) = 0;

  // Forgets the rows of requests before then, the oldest first, and at most so many of them; sums by the day stay.
  // Those with an open attempt are kept. Returns how many: again, until it is 0.
  virtual Result<std::uint64_t> prune(std::int64_t before_ms, std::uint64_t max_requests) = 0;

  // Errors: kAlreadyExists when a living key has the name, or any has the hash; kInvalidRequest, with param(), for a
  // name that is empty, longer than 64 bytes, or has something in it that no terminal should see, and for a cap that is
  // negative or over kMaxAmount.
  virtual Result<Key> create_key(const NewKey& key, std::int64_t now_ms) = 0;
  // By its name. Errors: kNotFound when no living key has it.
  virtual Result<Key> revoke_key(std::string_view name, std::int64_t now_ms) = 0;
  // The oldest first, revoked ones too.
  virtual Result<std::vector<Key>> list_keys() = 0;
  // Errors: kNotFound when no living key has it.
  virtual Result<Key> key_by_hash(const KeyHash& hash) = 0;
};

}  // namespace shoal::store
