// The routes of receipts, costs and keys.
#include <span>
#include <utility>

#include <fmt/format.h>

#include "shoal/base/text.h"
#include "shoal/server/ledger_answers.h"
#include "shoal/server/ledger_json.h"
#include "shoal/server/server.h"

namespace shoal::server {
namespace {

void reply(Exchange& exchange, const Result<std::string>& answer) {
  answer.ok() ? exchange.send_json(200, *answer) : exchange.send_error(answer.error());
}

}  // namespace

// Who has a key sees what was asked with it; the admin socket, and everybody where no key is needed, sees all.
Result<LedgerAsk> Server::ledger_ask(const Exchange& exchange) const {
  if (hooks_.ledger.feeder == nullptr)
    return Error(ErrorCode::kIo, "this server has no store of receipts: its log says at the start why");
  return LedgerAsk{*hooks_.ledger.feeder, clock_, exchange.yield, exchange.principal.id};
}

void Server::list_receipts(Exchange& exchange) {
  const auto ask = ledger_ask(exchange);
  ask.ok() ? reply(exchange, receipts_answer(*ask, exchange.request.query)) : exchange.send_error(ask.error());
}

void Server::show_receipt(Exchange& exchange) {
  const auto ask = ledger_ask(exchange);
  ask.ok() ? reply(exchange, receipt_answer(*ask, exchange.tail)) : exchange.send_error(ask.error());
}

void Server::show_costs(Exchange& exchange) {
  const auto ask = ledger_ask(exchange);
  if (!ask.ok()) return exchange.send_error(ask.error());
  reply(exchange, costs_answer(*ask, exchange.request.query, hooks_.ledger.local_per_hour()));
}

void Server::reprice(Exchange& exchange) {
  if (const auto ask = ledger_ask(exchange); !ask.ok()) return exchange.send_error(ask.error());
  const auto done = hooks_.ledger.reprice(exchange.yield);
  done.ok() ? exchange.send_json(200, reprice_json(*done)) : exchange.send_error(done.error());
}

void Server::show_risk(Exchange& exchange) {
  const auto ask = ledger_ask(exchange);
  if (!ask.ok()) return exchange.send_error(ask.error());
  const std::string drift = hooks_.ledger.drift ? hooks_.ledger.drift(exchange.tail) : std::string("null");
  reply(exchange, risk_answer(*ask, exchange.tail, exchange.request.query, drift));
}

void Server::feedback(Exchange& exchange) {
  if (auto done = feedback_into(exchange); !done.ok()) exchange.send_error(done.error());
}

Result<void> Server::feedback_into(Exchange& exchange) {
  audit::Label label = SHOAL_TRY(parse_feedback(exchange.request.body));
  const LedgerAsk ask = SHOAL_TRY(ledger_ask(exchange));
  const bool before = SHOAL_TRY(was_said(ask, label));
  if (!before) {
    label.unix_ms = clock_.unix_ms();
    label.principal = exchange.principal.id;
    SHOAL_TRY(hooks_.ledger.write_label(label, exchange.yield));
  }
  exchange.send_json(200, fmt::format(R"({{"object":"shoal.feedback","decision_id":{},"right":{},"recorded":{}}})",
                                      base::json_string(label.request), label.right, !before));
  return {};
}

void Server::list_keys(Exchange& exchange) {
  const auto ask = ledger_ask(exchange);
  ask.ok() ? reply(exchange, keys_answer(*ask)) : exchange.send_error(ask.error());
}

void Server::create_key(Exchange& exchange) {
  if (const auto ask = ledger_ask(exchange); !ask.ok()) return exchange.send_error(ask.error());
  auto wanted = parse_new_key(exchange.request.body);
  if (!wanted.ok()) return exchange.send_error(wanted.error());
  const auto created = hooks_.ledger.create_key(std::move(wanted).value(), exchange.yield);
  created.ok() ? exchange.send_json(200, created_key_json(*created)) : exchange.send_error(created.error());
}

void Server::revoke_key(Exchange& exchange) {
  if (const auto ask = ledger_ask(exchange); !ask.ok()) return exchange.send_error(ask.error());
  const auto gone = hooks_.ledger.revoke_key(exchange.tail, exchange.yield);
  gone.ok() ? exchange.send_json(200, keys_json(std::span(&*gone, 1))) : exchange.send_error(gone.error());
}

}  // namespace shoal::server
