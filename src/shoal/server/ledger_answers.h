// What is asked of the store over HTTP, and by commands where no server runs: a query in, JSON out. Each answer has all
// that was on disk when it was asked. Errors of all: those of store::Feeder, kInvalidRequest with the name of the
// parameter for a query that is wrong.
// Threads: the I/O thread.
#pragma once

#include <string>
#include <string_view>

#include "shoal/base/async.h"
#include "shoal/base/clock.h"
#include "shoal/base/result.h"
#include "shoal/ledger/money.h"
#include "shoal/store/feeder.h"

namespace shoal::server {

struct LedgerAsk {
  store::Feeder& feeder;
  const base::Clock& clock;
  const base::Yield& yield;
  std::string principal{};  // whose receipts may be seen; empty: all
};

// Newest first. Query: limit, before, route, model.
Result<std::string> receipts_answer(const LedgerAsk& ask, std::string_view query);
// Errors: kNotFound too, also for a receipt of somebody else.
Result<std::string> receipt_answer(const LedgerAsk& ask, const std::string& id);
// Query: by (route, key, model, provider, day), from, until (days; this month up to today). `local_per_hour`: of
// computing here.
Result<std::string> costs_answer(const LedgerAsk& ask, std::string_view query, ledger::Pico local_per_hour);
Result<std::string> keys_answer(const LedgerAsk& ask);

// {"name":"...","daily_usd":"1.00","monthly_usd":"20"}; without a hash. Errors: those of wire::Fields.
[[nodiscard]] Result<store::NewKey> parse_new_key(std::string_view body);

}  // namespace shoal::server
