// RemoteCall: one attempt at one provider, from its price to its settlement: what it may cost is reserved and its
// intent is on disk before a byte leaves; what it did cost is booked when it ends, however it ends. Owned by the
// pipeline for one attempt; destroying it ends it. Threads: the I/O thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "shoal/gateway/answer.h"
#include "shoal/gateway/answer_stream.h"
#include "shoal/gateway/outside.h"
#include "shoal/provider/provider.h"

namespace shoal::gateway {

// What is known of an attempt when it has ended.
struct AttemptEnd {
  bool sent = false;            // a byte may have left
  bool usage_known = false;     // the provider said what it counted
  bool stale = false;           // it went into a connection that the other side had closed: asked again, it may pass
  bool other_key = false;       // its key was taken out, and there is another
  bool in_journal = false;      // its intent is
  std::uint64_t journaled = 0;  // its outcome, for egress::Gate::synced()
  ledger::Pico cost;            // that budgets were charged
};

class RemoteCall final : public AnswerStream {
 public:
  struct Options {
    std::string attempt;  // id
    // What these point to outlives the call.
    std::string_view request;  // the decision's id
    std::string_view principal;
    std::string_view route;
    std::string_view purpose = "answer";
    base::Deadline deadline;
    std::optional<std::int64_t> cost_cap_micro;  // what is left of it
    bool fresh = false;                          // on a connection that has not served before
    bool counts = true;                          // a failure counts against the target: see Breaker::failed()
    std::int32_t default_max_tokens = 4096;      // for requests without a limit, where each token costs
  };

  // `request` outlives it.
  RemoteCall(Outside& outside, const AnswerRequest& request, routing::RemoteTarget target, Options options);
  ~RemoteCall() override;

  // Price, reservation, turn, permit, sending, in this order: each may refuse, and nothing has left then but after the
  // last. Errors: kUnknownPrice, kBudgetExhausted, those of Health::admit(), kPolicyDenied, kJournalFailed, those of
  // Provider::ask().
  [[nodiscard]] Result<void> send(const base::Clock& clock, base::Yield yield);

  // What send() would reserve; nothing is written or sent. Errors: kUnknownPrice, kBudgetExhausted for more than the
  // route's cap, and for what the provider cannot do.
  [[nodiscard]] Result<ledger::Pico> most(const base::Clock& clock);

  [[nodiscard]] std::optional<AnswerEvent> next(const base::Clock& clock, base::Deadline wake,
                                                base::Yield yield) override;

  // The pipeline has no more use for it. A stream that is paid for, and whose client has left, is read on to its end,
  // within bounds, for what it costs is told there.
  void give_up(const Error& why, const base::Clock& clock, base::Yield yield);
  // Settles, once; after the last event, an error, or when the pipeline gives it up.
  AttemptEnd end();
  // Lets the connection serve again. REQUIRES: the last event came.
  void release(base::Yield yield);

  // A byte may have left.
  [[nodiscard]] bool sent() const { return trace_.sent; }
  // The answer comes in OpenAI's own bytes.
  [[nodiscard]] bool raw() const { return question_.dialect == types::Dialect::kOpenAi; }
  [[nodiscard]] const types::Usage& usage() const { return usage_; }
  [[nodiscard]] egress::Durability durability() const { return durability_; }
  // The limit of tokens that Shoal put in; none: the client's own, or none at all.
  [[nodiscard]] std::optional<std::int32_t> added_limit() const { return added_limit_; }

 private:
  [[nodiscard]] Result<ledger::Pico> bound(std::size_t body_bytes) const;
  [[nodiscard]] Result<const ledger::PriceRow*> price(const base::Clock& clock) const;
  [[nodiscard]] std::optional<std::int32_t> limit_to_add(bool free) const;
  // Errors: kBudgetExhausted.
  [[nodiscard]] Result<void> check_cap(const ledger::Pico& amount) const;
  [[nodiscard]] audit::Outcome outcome(std::optional<ledger::Pico>& cost) const;
  void note_intent(audit::Intent& intent) const;
  void client_left(const base::Clock& clock);
  [[nodiscard]] bool may_drain() const;
  void end_drain();
  void note_failure(const Error& error);
  void judge();

  Outside& outside_;
  const std::shared_ptr<const OutsideConfig> config_;
  const AnswerRequest& request_;
  const routing::RemoteTarget target_;
  const Options options_;
  const std::shared_ptr<provider::Provider> provider_;
  provider::Question question_;
  const ledger::PriceRow* row_ = nullptr;
  std::optional<provider::Turn> turn_;
  std::optional<provider::Turn::Failure> failed_;  // none: it did not, or that says nothing of the provider
  std::unique_ptr<provider::RemoteAnswer> answer_;
  egress::Durability durability_ = egress::Durability::kBatch;
  std::optional<std::int32_t> added_limit_;
  ledger::Pico amount_;  // reserved
  types::Usage usage_;
  std::string upstream_id_;
  std::string failure_;  // slug
  bool reserved_ = false;
  bool permitted_ = false;
  provider::Trace trace_;
  std::size_t finished_ = 0;  // answers that said that they are
  bool usage_seen_ = false;
  bool usage_final_ = false;  // nothing is counted after it
  bool complete_ = false;
  std::stop_source stop_;  // of the exchange
  base::Deadline drain_until_;
  std::size_t drained_from_ = 0;  // bytes that had come when the client left
  bool draining_ = false;
  bool usage_known_ = false;
  bool other_tier_ = false;  // the provider says that it answered in a tier whose price is not known
  bool refused_ = false;     // the provider answered with an error: it bills nothing
  std::optional<AttemptEnd> ended_;
  // Last, so that it is gone before what it uses.
  std::optional<std::stop_callback<std::function<void()>>> on_client_left_;
};

}  // namespace shoal::gateway
