#include "shoal/store/sqlite/sqlite_store.h"

#include <map>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "shoal/audit/disk.h"
#include "shoal/store/sqlite/key_table.h"
#include "shoal/store/sqlite/queries.h"
#include "shoal/store/sqlite/receipt_tables.h"
#include "shoal/store/sqlite/reprice.h"

namespace shoal::store::sqlite {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kReceiptsFile = "receipts.db";
constexpr std::string_view kKeysFile = "keys.db";
constexpr int kMaxAside = 3;  // the last one is replaced: a disk that fails again and again would fill with them

class SqliteStore final : public Store {
 public:
  SqliteStore(SqliteOptions options, std::unique_ptr<audit::FolderLock> lock, std::unique_ptr<KeyTable> keys)
      : options_(std::move(options)), lock_(std::move(lock)), keys_(std::move(keys)) {}

  Result<void> open_receipts() {
    auto opened = ReceiptTables::open(receipts_path(), options_.cache_kib);
    if (!opened.ok() && opened.error().code() == ErrorCode::kStoreDamaged) {
      damage_ = opened.error().message();
      return {};
    }
    receipts_ = SHOAL_TRY(std::move(opened));
    return {};
  }

  Result<void> use_journal(std::string_view journal_id, std::uint64_t first_sequence) override {
    return SHOAL_TRY(receipts())->use_journal(journal_id, first_sequence);
  }
  std::uint64_t last_sequence() const override { return receipts_ ? receipts_->last_sequence() : 0; }
  Result<void> apply(std::span<const audit::Record> records) override { return SHOAL_TRY(receipts())->apply(records); }

  Result<void> start_over() override {
    receipts_.reset();
    damage_ = fmt::format("{} could not be begun anew", receipts_path().string());
    // What a start that failed, on a full disk, has left is not worth keeping, and may be gone on with.
    if (!begun_anew_) SHOAL_TRY(move_aside());
    begun_anew_ = true;
    auto opened = ReceiptTables::open(receipts_path(), options_.cache_kib);
    begun_anew_ = !opened.ok() && opened.error().code() != ErrorCode::kStoreDamaged;
    receipts_ = SHOAL_TRY(std::move(opened));
    return {};
  }
  Result<StoreStats> stats() override { return SHOAL_TRY(receipts())->stats(); }

  Result<std::vector<OpenIntent>> open_intents() override {
    return read_open_intents(SHOAL_TRY(receipts())->database());
  }
  Result<std::uint64_t> resolve_unknown(std::int64_t now_ms) override {
    return SHOAL_TRY(receipts())->resolve_unknown(now_ms);
  }
  Result<std::vector<Committed>> committed(std::int64_t day_start, std::int64_t month_start) override {
    return read_committed(SHOAL_TRY(receipts())->day_sums(), day_start, month_start);
  }
  Result<Request> receipt(std::string_view request) override {
    return read_request(SHOAL_TRY(receipts())->database(), request);
  }
  Result<std::vector<ReceiptRow>> receipts(const ReceiptFilter& filter) override {
    return read_receipts(SHOAL_TRY(receipts())->database(), filter);
  }
  Result<std::vector<JudgedAnswer>> judged(const JudgedFilter& filter) override {
    return read_judged(SHOAL_TRY(receipts())->database(), filter);
  }
  Result<CostReport> costs(CostsBy by, std::int64_t from, std::int64_t to) override {
    return read_costs(SHOAL_TRY(receipts())->day_sums(), by, from, to);
  }
  Result<RepriceProgress> reprice(const Price& price, const Progress& progress) override {
    return sqlite::reprice(*SHOAL_TRY(receipts()), price, progress);
  }
  Result<std::uint64_t> prune(std::int64_t before_ms, std::uint64_t max_requests) override {
    return SHOAL_TRY(receipts())->prune(before_ms, max_requests);
  }

  Result<Key> create_key(const NewKey& key, std::int64_t now_ms) override { return keys_->create(key, now_ms); }
  Result<Key> revoke_key(std::string_view name, std::int64_t now_ms) override {
    return with_last_use(keys_->revoke(name, now_ms));
  }
  Result<std::vector<Key>> list_keys() override {
    std::vector<Key> keys = SHOAL_TRY(keys_->list());
    for (Key& key : keys) SHOAL_TRY(add_last_use(key));
    return keys;
  }
  Result<Key> key_by_hash(const KeyHash& hash) override { return with_last_use(keys_->find(hash)); }

 private:
  [[nodiscard]] fs::path receipts_path() const { return options_.folder / kReceiptsFile; }

  // There are none when they were damaged, until the disk lets them be begun anew.
  Result<ReceiptTables*> receipts() {
    if (!receipts_) return Error(ErrorCode::kStoreDamaged, damage_);
    return receipts_.get();
  }

  // The files of receipts.db, where there are some, under the next name.
  Result<void> move_aside() {
    std::error_code ec;
    int number = 1;
    const auto aside = [&] { return receipts_path().string() + fmt::format(".aside-{}", number); };
    while (number < kMaxAside && fs::exists(aside(), ec)) ++number;
    // The database before its log: when this is cut off, SQLite deletes a log that has only an empty database.
    for (const std::string_view suffix : {"", "-wal", "-shm"}) {
      auto moved = disk_.rename(receipts_path().string().append(suffix), aside().append(suffix));
      // Then what has the name is of another one.
      if (!moved.ok() && moved.error().code() == ErrorCode::kNotFound) moved = disk_.remove(aside().append(suffix));
      if (!moved.ok() && moved.error().code() != ErrorCode::kNotFound) return moved;
    }
    return disk_.sync_folder(options_.folder);
  }

  Result<void> add_last_use(Key& key) {
    if (!receipts_) return {};
    auto statement = SHOAL_TRY(receipts_->database().prepare("SELECT unix_ms FROM last_used WHERE principal = ?"));
    Rows rows(statement, key.principal);
    if (SHOAL_TRY(rows.next())) key.last_used_ms = rows.integer(0);
    return {};
  }
  Result<Key> with_last_use(Result<Key> found) {
    Key key = SHOAL_TRY(std::move(found));
    SHOAL_TRY(add_last_use(key));
    return key;
  }

  const SqliteOptions options_;
  audit::RealDisk disk_;
  const std::unique_ptr<audit::FolderLock> lock_;
  const std::unique_ptr<KeyTable> keys_;
  std::unique_ptr<ReceiptTables> receipts_;
  std::string damage_;       // why there is no receipts_
  bool begun_anew_ = false;  // what there was is aside, and there is no receipts_ yet
};

}  // namespace

Result<std::unique_ptr<Store>> open_store(const SqliteOptions& options) {
  audit::RealDisk disk;
  SHOAL_TRY(disk.make_folder(options.folder));
  auto lock = SHOAL_TRY(disk.lock_folder(options.folder));
  auto keys = SHOAL_TRY(KeyTable::open(options.folder / kKeysFile));
  auto store = std::make_unique<SqliteStore>(options, std::move(lock), std::move(keys));
  SHOAL_TRY(store->open_receipts());
  return std::unique_ptr<Store>(std::move(store));
}

Result<std::vector<Key>> read_keys(const std::filesystem::path& folder) {
  std::error_code error;
  const fs::path file = folder / kKeysFile;
  if (!fs::exists(file, error) && !error) return std::vector<Key>();
  return SHOAL_TRY(KeyTable::open(file))->list();
}

}  // namespace shoal::store::sqlite
