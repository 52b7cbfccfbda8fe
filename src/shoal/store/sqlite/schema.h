// The tables, as the statements that make them, version by version: PRAGMA user_version says how many of them a file
// has seen. A published version is never changed; a later one changes tables.
// Inside store/sqlite. Threads: as the database.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "shoal/base/result.h"
#include "shoal/store/sqlite/database.h"

namespace shoal::store::sqlite {

inline constexpr std::int32_t kReceiptsApplication = 0x53484F31;  // "SHO1"
inline constexpr std::int32_t kKeysApplication = 0x53484F32;      // "SHO2"

// Of receipts.db, which can be made again from the journal.
[[nodiscard]] std::span<const std::string_view> receipts_versions();
// Of keys.db, which cannot: the journal has no keys.
[[nodiscard]] std::span<const std::string_view> keys_versions();

// Brings the tables to the last of `versions`, each in a transaction of its own. Errors: kUnimplemented when a later
// Shoal has written the file.
Result<void> migrate(Database& database, std::span<const std::string_view> versions);

}  // namespace shoal::store::sqlite
