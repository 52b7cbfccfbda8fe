// The Store in SQLite: two databases in a folder. receipts.db is made from the journal, in WAL mode; start_over() moves
// one that is damaged aside ("receipts.db.aside-1"). keys.db is not in the journal: keep copies of it. Use:
// `auto store = SHOAL_TRY(sqlite::open_store({.folder = data_dir / "store"}));`, and give it to a Feeder. Threads: any
// one at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/store/store.h"

namespace shoal::store::sqlite {

struct SqliteOptions {
  std::filesystem::path folder;
  std::int64_t cache_kib = 512;  // of pages of receipts.db in memory
};

// Makes the folder, for the owner alone, and what is missing in it. A receipts.db that is damaged is no error yet: what
// asks it gets kStoreDamaged until start_over(), so that the Feeder knows of it. Errors: kIo, also when another server
// has the folder, and when keys.db is damaged; kInvalidConfig when a file there belongs to another application;
// kUnimplemented when a later Shoal wrote it.
Result<std::unique_ptr<Store>> open_store(const SqliteOptions& options);

// The keys as list_keys() has them, without last_used_ms, read while another may have the folder; none where there is
// no keys.db. Errors: kIo.
Result<std::vector<Key>> read_keys(const std::filesystem::path& folder);

}  // namespace shoal::store::sqlite
