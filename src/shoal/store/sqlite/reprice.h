// New prices for old attempts: see Store::reprice(). Inside store/sqlite. Threads: as the database.
#pragma once

#include "shoal/base/result.h"
#include "shoal/store/rows.h"
#include "shoal/store/sqlite/receipt_tables.h"
#include "shoal/store/store.h"

namespace shoal::store::sqlite {

Result<RepriceProgress> reprice(ReceiptTables& tables, const Store::Price& price, const Store::Progress& progress);

}  // namespace shoal::store::sqlite
