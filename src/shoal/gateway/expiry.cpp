#include "shoal/gateway/expiry.h"

#include <chrono>
#include <utility>

namespace shoal::gateway {
namespace {

constexpr auto kEvery = std::chrono::seconds(1);

}  // namespace

Expiry::Expiry(base::Executor executor, Outside& outside, const base::Clock& clock, base::Log& log)
    : outside_(outside), clock_(clock), log_(log), timer_(std::move(executor)) {
  sweep_later();
}

Expiry::~Expiry() = default;

void Expiry::stop() {
  alive_.reset();
  timer_.cancel();
}

std::size_t Expiry::sweep() {
  const auto expired = outside_.book.expire(clock_.unix_seconds());
  for (const ledger::ExpiredHold& hold : expired) {
    log_.error("a reservation was never settled: it counts at its estimate",
               {{"attempt", hold.attempt}, {"usd", ledger::usd(hold.amount)}});
    audit::Outcome outcome;
    outcome.attempt = hold.attempt;
    outcome.kind = audit::OutcomeKind::kUnknown;
    outcome.failure = base::error_info(ErrorCode::kDeadlineExceeded).slug;
    // What cannot be written counts as unknown when the journal is read again: the same.
    outside_.gate.ended(std::move(outcome), egress::Durability::kBatch).ignore("the journal tells its own error");
  }
  return expired.size();
}

void Expiry::sweep_later() {
  timer_.expires_after(kEvery);
  timer_.async_wait([this, alive = std::weak_ptr(alive_)](const boost::system::error_code& cancelled) {
    if (cancelled || alive.expired()) return;
    sweep();
    sweep_later();
  });
}

}  // namespace shoal::gateway
