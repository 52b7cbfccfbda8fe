// What the store tells, as JSON: receipts, costs and keys, for the routes of the server and for commands that ask the
// store themselves. Money is text, in USD. Threads: any; pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "shoal/ledger/money.h"
#include "shoal/store/rows.h"

namespace shoal::server {

// A key as its owner gets to see it, once.
struct CreatedKey {
  store::Key key;
  std::string secret;
};

[[nodiscard]] std::string receipt_json(const store::Request& request);
// {"receipts":[...],"before":17}: `before` is for the next page, null when this one is the last.
[[nodiscard]] std::string receipts_json(std::span<const store::ReceiptRow> rows, std::size_t limit);
// Of the days that begin in [from, to), unix seconds. `local_per_hour`: of computing here.
[[nodiscard]] std::string costs_json(const store::CostReport& report, std::int64_t from, std::int64_t to,
                                     ledger::Pico local_per_hour);
[[nodiscard]] std::string keys_json(std::span<const store::Key> keys);
[[nodiscard]] std::string created_key_json(const CreatedKey& created);
[[nodiscard]] std::string reprice_json(const store::RepriceProgress& done);

}  // namespace shoal::server
