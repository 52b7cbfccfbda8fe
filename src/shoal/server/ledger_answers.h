// What is asked of the store over HTTP, and by commands where no server runs: a query in, JSON out. Each answer has all
// that was on disk when it was asked. Errors of all: those of store::Feeder, kInvalidRequest with the name of the
// parameter for a query that is wrong.
// Threads: the I/O thread.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "shoal/base/async.h"
#include "shoal/base/clock.h"
#include "shoal/base/result.h"
#include "shoal/ledger/money.h"
#include "shoal/store/feeder.h"
#include "shoal/wire/fields.h"

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
// How often the kept answers of a route are wrong. Query: from, until (days; all that the store has). `drift`: JSON.
Result<std::string> risk_answer(const LedgerAsk& ask, const std::string& route, std::string_view query,
                                std::string_view drift);

[[nodiscard]] std::span<const wire::FieldSpec> feedback_fields();
// {"decision_id":"...","right":true,"source":"...","note":"..."}; without a time and who gives it. Errors: those of
// wire::Fields.
[[nodiscard]] Result<audit::Label> parse_feedback(std::string_view body);
// What of the store feedback needs: there is such a receipt, and it may be seen. True: the same was said before.
// Errors: as receipt_answer().
Result<bool> was_said(const LedgerAsk& ask, const audit::Label& label);

// {"name":"...","daily_usd":"1.00","monthly_usd":"20"}; without a hash. Errors: those of wire::Fields.
[[nodiscard]] Result<store::NewKey> parse_new_key(std::string_view body);

}  // namespace shoal::server
