// KeyTable: keys.db, in a file of its own, since it cannot be made again: the journal knows no keys. One file that is
// whole after each change, so a copy of it is a backup.
// Owned by SqliteStore. Threads: as the database. Errors of all: as those of Store, but kIo in place of kStoreDamaged,
// with what to do.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/store/rows.h"
#include "shoal/store/sqlite/database.h"

namespace shoal::store::sqlite {

class KeyTable {
 public:
  static Result<std::unique_ptr<KeyTable>> open(const std::filesystem::path& path);

  // As those of Store, without last_used_ms.
  Result<Key> create(const NewKey& key, std::int64_t now_ms);
  Result<Key> revoke(std::string_view name, std::int64_t now_ms);
  Result<std::vector<Key>> list();
  Result<Key> find(const KeyHash& hash);

 private:
  explicit KeyTable(Database database) : database_(std::move(database)) {}

  Database database_;
};

}  // namespace shoal::store::sqlite
