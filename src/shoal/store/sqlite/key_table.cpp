#include "shoal/store/sqlite/key_table.h"

#include <algorithm>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "shoal/base/ids.h"
#include "shoal/base/text.h"
#include "shoal/store/sqlite/schema.h"

namespace shoal::store::sqlite {
namespace {

constexpr std::int64_t kCacheKib = 32;
constexpr std::size_t kMaxName = 64;
constexpr std::string_view kColumns =
    "SELECT principal, name, hash, day_cap_usd, month_cap_usd, created_ms, revoked_ms FROM key ";

Result<void> check_name(const std::string& name) {
  if (!name.empty() && name.size() <= kMaxName && base::escape_control(name) == name) return {};
  return Error(ErrorCode::kInvalidRequest,
               fmt::format("wanted a name of 1 to {} bytes without control characters, got \"{}\"", kMaxName,
                           base::escape_control(name.substr(0, kMaxName))))
      .with_param("name");
}

Result<void> check_cap(std::optional<ledger::Pico> cap, std::string_view field) {
  if (!cap || (*cap >= ledger::Pico() && *cap <= ledger::kMaxAmount)) return {};
  return Error(ErrorCode::kInvalidRequest, fmt::format("wanted a cap from 0 to {} USD, got {} USD",
                                                       ledger::usd(ledger::kMaxAmount), ledger::usd(*cap)))
      .with_param(std::string(field));
}

std::optional<std::string> cap_text(std::optional<ledger::Pico> cap) {
  if (!cap) return std::nullopt;
  return ledger::usd(*cap);
}

Result<std::optional<ledger::Pico>> read_cap(const Rows& rows, int column) {
  if (rows.null(column)) return std::optional<ledger::Pico>();
  return std::optional(SHOAL_TRY(ledger::parse_usd(rows.text(column))));
}

Result<Key> read_key(const Rows& rows) {
  Key key;
  key.principal = rows.text(0);
  key.name = rows.text(1);
  const auto hash = rows.bytes(2);
  if (hash.size() != key.hash.size()) {
    return Error(ErrorCode::kStoreDamaged,
                 fmt::format("the hash of the key of {} has {} bytes", key.principal, hash.size()));
  }
  std::ranges::copy(hash, key.hash.begin());
  key.day_cap = SHOAL_TRY(read_cap(rows, 3));
  key.month_cap = SHOAL_TRY(read_cap(rows, 4));
  key.created_ms = rows.integer(5);
  key.revoked_ms = rows.optional_integer(6);
  return key;
}

// Not kStoreDamaged: nothing can make the keys again.
Error explained(Error error, const std::filesystem::path& path) {
  if (error.code() != ErrorCode::kStoreDamaged) return error;
  return {ErrorCode::kIo, fmt::format("the keys cannot be read ({}); put back a copy of {}, or move the file away and "
                                      "create new keys",
                                      error.message(), path.string())};
}

template <class T>
Result<T> explained(Result<T> result, const std::filesystem::path& path) {
  if (result.ok()) return result;
  return explained(std::move(result).error(), path);
}

Result<Key> find_living(Database& database, std::string_view name) {
  Statement statement = SHOAL_TRY(database.prepare(fmt::format("{} WHERE name = ? AND revoked_ms IS NULL", kColumns)));
  Rows rows(statement, name);
  if (SHOAL_TRY(rows.next())) return read_key(rows);
  return Error(ErrorCode::kNotFound,
               fmt::format("no key has the name \"{}\"", base::escape_control(name.substr(0, kMaxName))));
}

Result<Key> insert(Database& database, const NewKey& key, std::int64_t now_ms) {
  const std::string principal = base::random_id();
  auto transaction = SHOAL_TRY(Transaction::begin(database));
  Statement statement = SHOAL_TRY(database.prepare(
      "INSERT INTO key (principal, name, hash, day_cap_usd, month_cap_usd, created_ms) VALUES (?, ?, ?, ?, ?, ?) "
      "ON CONFLICT DO NOTHING"));
  SHOAL_TRY(run(statement, principal, key.name, key.hash, cap_text(key.day_cap), cap_text(key.month_cap), now_ms));
  if (database.changes() == 0) {
    return Error(ErrorCode::kAlreadyExists,
                 fmt::format("there is a key of the name \"{}\", or of this hash", base::escape_control(key.name)));
  }
  SHOAL_TRY(transaction.commit());
  return find_living(database, key.name);
}

Result<Key> end_living(Database& database, std::string_view name, std::int64_t now_ms) {
  Key key = SHOAL_TRY(find_living(database, name));
  Statement statement = SHOAL_TRY(database.prepare("UPDATE key SET revoked_ms = ? WHERE principal = ?"));
  SHOAL_TRY(run(statement, now_ms, key.principal));
  key.revoked_ms = now_ms;
  return key;
}

Result<std::vector<Key>> read_all(Database& database) {
  Statement statement = SHOAL_TRY(database.prepare(fmt::format("{} ORDER BY rowid", kColumns)));
  std::vector<Key> keys;
  Rows rows(statement);
  while (SHOAL_TRY(rows.next())) keys.push_back(SHOAL_TRY(read_key(rows)));
  return keys;
}

Result<Key> find_hash(Database& database, const KeyHash& hash) {
  Statement statement = SHOAL_TRY(database.prepare(fmt::format("{} WHERE hash = ? AND revoked_ms IS NULL", kColumns)));
  Rows rows(statement, hash);
  if (SHOAL_TRY(rows.next())) return read_key(rows);
  return Error(ErrorCode::kNotFound, "no key that lives has this hash");
}

Result<Database> open_database(const std::filesystem::path& path) {
  auto database = SHOAL_TRY(Database::open(
      path, {.journal_mode = JournalMode::kDelete, .cache_kib = kCacheKib, .application_id = kKeysApplication}));
  SHOAL_TRY(migrate(database, keys_versions()));
  return database;
}

}  // namespace

Result<std::unique_ptr<KeyTable>> KeyTable::open(const std::filesystem::path& path) {
  auto database = SHOAL_TRY(explained(open_database(path), path));
  return std::unique_ptr<KeyTable>(new KeyTable(std::move(database)));
}

Result<Key> KeyTable::create(const NewKey& key, std::int64_t now_ms) {
  SHOAL_TRY(check_name(key.name));
  SHOAL_TRY(check_cap(key.day_cap, "day_cap"));
  SHOAL_TRY(check_cap(key.month_cap, "month_cap"));
  return explained(insert(database_, key, now_ms), database_.path());
}

Result<Key> KeyTable::revoke(std::string_view name, std::int64_t now_ms) {
  return explained(end_living(database_, name, now_ms), database_.path());
}

Result<std::vector<Key>> KeyTable::list() {
  return explained(read_all(database_), database_.path());
}

Result<Key> KeyTable::find(const KeyHash& hash) {
  return explained(find_hash(database_, hash), database_.path());
}

}  // namespace shoal::store::sqlite
