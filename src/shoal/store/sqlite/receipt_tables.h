// ReceiptTables: receipts.db, fed. What the records of the journal do to its tables, a batch in a transaction. Queries
// are in queries.h, new prices in reprice.h. Place: below SqliteStore, which makes another one when this is damaged.
// Owned by SqliteStore. Threads: as the database.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/audit/record.h"
#include "shoal/audit/records.h"
#include "shoal/base/result.h"
#include "shoal/store/rows.h"
#include "shoal/store/sqlite/attempts.h"
#include "shoal/store/sqlite/database.h"
#include "shoal/store/sqlite/day_sums.h"

namespace shoal::store::sqlite {

class ReceiptTables {
 public:
  // Errors: as Database::open(), and kUnimplemented for a file of a later Shoal.
  static Result<std::unique_ptr<ReceiptTables>> open(const std::filesystem::path& path, std::int64_t cache_kib);

  // As those of Store.
  Result<void> use_journal(std::string_view journal_id, std::uint64_t first_sequence);
  [[nodiscard]] std::uint64_t last_sequence() const { return static_cast<std::uint64_t>(feed_.last - feed_.before); }
  Result<void> apply(std::span<const audit::Record> records);
  Result<std::uint64_t> resolve_unknown(std::int64_t now_ms);
  Result<std::uint64_t> prune(std::int64_t before_ms, std::uint64_t max_requests);
  Result<StoreStats> stats();

  // `change` in a transaction, with the sums that it changes; nothing of it stays after an error.
  template <class Change>
  Result<void> transact(Change change) {
    sums_.clear();
    used_.clear();
    auto transaction = SHOAL_TRY(Transaction::begin(database_));
    SHOAL_TRY(change());
    SHOAL_TRY(flush());
    return transaction.commit();
  }

  [[nodiscard]] Database& database() { return database_; }
  [[nodiscard]] DaySums& day_sums() { return sums_; }
  [[nodiscard]] Attempts& attempts() { return attempts_; }

 private:
  struct Feed {
    std::string journal;
    std::int64_t before = 0;  // the last record of the journals before this one
    std::int64_t last = 0;    // counted over all of them
  };

  explicit ReceiptTables(Database database) : database_(std::move(database)) {}
  Result<void> prepare();

  // Of what a transaction collects.
  Result<void> flush();
  Result<void> apply_all(std::span<const audit::Record> records, Feed& feed);
  Result<void> apply_one(std::int64_t sequence, const audit::Record& record);
  Result<void> apply_intent(std::int64_t sequence, const audit::Record& record);
  Result<void> apply_outcome(std::int64_t sequence, const audit::Record& record);
  Result<void> apply_receipt(std::int64_t sequence, const audit::Record& record);
  Result<void> apply_label(std::int64_t sequence, const audit::Record& record);
  Result<std::vector<std::string>> requests_with_open_attempts();
  // How many.
  Result<std::uint64_t> give_up_open(const std::string& request, std::int64_t now_ms);
  Result<void> set_aside(std::int64_t sequence, const audit::Record& record, std::string_view why);
  Result<Bill> bill_of_new(const std::string& request, bool alone);
  void note_use(const std::string& principal, std::int64_t unix_ms);
  Result<void> write_feed(const Feed& feed);
  Result<std::vector<std::string>> old_requests(std::int64_t before_ms, std::uint64_t max_requests);

  Database database_;
  Feed feed_;
  DaySums sums_;
  Attempts attempts_;
  std::map<std::string, std::int64_t, std::less<>> used_;  // of a transaction: principal, and when last
  Statement insert_receipt_;
  Statement compare_;
  Statement receipt_of_;
  Statement insert_judged_;
  Statement insert_label_;
  Statement withdraw_label_;
  Statement insert_aside_;
  Statement used_statement_;
  Statement write_feed_;
};

}  // namespace shoal::store::sqlite
