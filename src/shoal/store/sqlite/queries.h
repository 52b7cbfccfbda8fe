// What is asked of receipts.db: see Store. Inside store/sqlite. Threads: as the database.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/store/rows.h"
#include "shoal/store/sqlite/database.h"
#include "shoal/store/sqlite/day_sums.h"

namespace shoal::store::sqlite {

Result<std::vector<OpenIntent>> read_open_intents(Database& database);
Result<Request> read_request(Database& database, std::string_view request);
Result<std::vector<ReceiptRow>> read_receipts(Database& database, const ReceiptFilter& filter);
Result<std::vector<JudgedAnswer>> read_judged(Database& database, const JudgedFilter& filter);

Result<CostReport> read_costs(DaySums& sums, CostsBy by, std::int64_t from, std::int64_t to);
Result<std::vector<Committed>> read_committed(DaySums& sums, std::int64_t day_start, std::int64_t month_start);

}  // namespace shoal::store::sqlite
