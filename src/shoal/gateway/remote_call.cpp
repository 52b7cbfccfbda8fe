#include "shoal/gateway/remote_call.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include <fmt/format.h>

#include "shoal/ledger/usage.h"
#include "shoal/provider/failure.h"

namespace shoal::gateway {
namespace {

// After the deadline of its request a hold is taken as spent.
constexpr std::int64_t kHoldSlackS = 60;
// Of a stream that is read on after its client has left.
constexpr std::int64_t kDrainMs = 30'000;
constexpr std::size_t kDrainBytes = std::size_t{1} << 20;
constexpr std::size_t kMaxDrains = 16;

// Of a provider that is declared local and has no price of its own.
const ledger::PriceRow& free_row() {
  static const ledger::PriceRow kRow = [] {
    ledger::PriceRow row;
    row.provider = "local";
    row.model = "*";
    row.source = "provider.NAME.local = true";
    return row;
  }();
  return kRow;
}

audit::TokenCounts counts_of(const ledger::TokenCounts& counts) {
  return {counts.input,          counts.cache_read, counts.cache_write_5m,
          counts.cache_write_1h, counts.output,     counts.reasoning};
}

}  // namespace

RemoteCall::RemoteCall(Outside& outside, const AnswerRequest& request, routing::RemoteTarget target, Options options)
    : outside_(outside),
      config_(outside.config),
      request_(request),
      target_(std::move(target)),
      options_(std::move(options)),
      provider_(config_->providers.find(target_.provider)) {
  question_.chat = request.chat != nullptr;
  question_.body = request.body;
  question_.added_system_prompt = request.added_system_prompt;
  question_.request = request.chat;
  question_.stream = request.params.stream;
  question_.answers = request.answers();
  question_.hops = request.hops + 1;
  if (provider_) question_ = provider_->for_me(question_);
}

RemoteCall::~RemoteCall() {
  end();
}

Result<const ledger::PriceRow*> RemoteCall::price(const base::Clock& clock) const {
  const std::int64_t now = clock.unix_seconds();
  if (!provider_->options().local) return config_->prices.find(target_.provider, target_.model, now);
  const ledger::PriceRow* const row = config_->prices.row(target_.provider, target_.model, now);
  return row != nullptr ? row : &free_row();
}

Result<ledger::Pico> RemoteCall::bound(std::size_t body_bytes) const {
  ledger::AttemptFacts facts;
  facts.body_bytes = static_cast<std::int64_t>(body_bytes);
  facts.n = static_cast<std::int64_t>(request_.answers());
  facts.max_tokens = request_.params.max_tokens.value_or(options_.default_max_tokens);
  if (request_.chat != nullptr) {
    facts.messages = static_cast<std::int64_t>(request_.chat->messages.size());
    facts.tools = static_cast<std::int64_t>(request_.chat->tools.size());
    for (const types::Message& message : request_.chat->messages) {
      for (const types::ContentPart& part : message.parts)
        facts.images += part.kind == types::ContentPart::Kind::kImage;
    }
  }
  for (const types::Need& need : request_.needs) {
    if (need.kind == types::NeedKind::kAudio) facts.audio = true;
    if (need.kind == types::NeedKind::kPaid) {
      return Error(ErrorCode::kUnknownPrice,
                   fmt::format("what {} costs at {} is not known, so nothing was sent", need.param, target_.provider))
          .with_param(need.param);
    }
  }
  return ledger::bound(*row_, facts);
}

// What costs is always bounded; Anthropic's API takes no request without a limit.
std::optional<std::int32_t> RemoteCall::limit_to_add(bool free) const {
  if (request_.params.max_tokens) return std::nullopt;
  if (free && provider_->options().dialect != types::Dialect::kAnthropic) return std::nullopt;
  return options_.default_max_tokens;
}

Result<ledger::Pico> RemoteCall::most(const base::Clock& clock) {
  assert(provider_ && !permitted_);
  row_ = SHOAL_TRY(price(clock));
  if (row_ == &free_row()) return ledger::Pico();
  const std::string body = SHOAL_TRY(provider_->body_of(question_, target_.model, limit_to_add(false)));
  const ledger::Pico amount = SHOAL_TRY(bound(body.size()));
  SHOAL_TRY(check_cap(amount));
  return amount;
}

Result<void> RemoteCall::check_cap(const ledger::Pico& amount) const {
  if (!options_.cost_cap_micro || ledger::round_up_to_micro(amount).value <= *options_.cost_cap_micro) return {};
  return Error(
      ErrorCode::kBudgetExhausted,
      fmt::format("this request may cost {} USD at {}, more than the {} USD that its route allows", ledger::usd(amount),
                  target_.provider, ledger::usd(ledger::Micro{*options_.cost_cap_micro})));
}

Result<void> RemoteCall::send(const base::Clock& clock, base::Yield yield) {
  assert(provider_ && !permitted_);
  const provider::ProviderOptions& options = provider_->options();
  durability_ = options.durability;
  row_ = SHOAL_TRY(price(clock));
  const bool free = row_ == &free_row();
  added_limit_ = limit_to_add(free);
  std::string body = SHOAL_TRY(provider_->body_of(question_, target_.model, added_limit_));

  // FENCE: what it may cost is taken from every budget before anything is written or sent.
  if (!free) amount_ = SHOAL_TRY(bound(body.size()));
  SHOAL_TRY(check_cap(amount_));
  const std::int64_t now = clock.unix_seconds();
  if (!free) {
    SHOAL_TRY(outside_.book.reserve({.chain = outside_.budgets.of(target_.provider, options_.principal),
                                     .attempt = options_.attempt,
                                     .request = std::string(options_.request),
                                     .amount = amount_,
                                     .expires = now + options_.deadline.left_ns(clock) / 1'000'000'000 + kHoldSlackS},
                                    now));
    reserved_ = true;
  }
  turn_.emplace(SHOAL_TRY(provider_->health().admit(target_.model)));
  egress::Departure departure;
  departure.intent.attempt = options_.attempt;
  departure.intent.provider = target_.provider;
  if (durability_ != egress::Durability::kNone) note_intent(departure.intent);
  departure.body = std::move(body);
  departure.durability = durability_;
  departure.local_upstream = options.local;
  departure.local_only = request_.local_only;
  egress::EgressPermit permit = SHOAL_TRY(outside_.gate.seal(std::move(departure), options_.deadline, yield));
  permitted_ = true;

  on_client_left_.emplace(request_.cancel, [this, &clock] { client_left(clock); });
  auto asked = provider_->ask(std::move(permit), *turn_, question_, target_.model,
                              {options_.deadline, stop_.get_token(), options_.fresh}, trace_, std::move(yield));
  if (!asked.ok()) {
    note_failure(asked.error());
    return std::move(asked).error();
  }
  answer_ = std::move(asked).value();
  return {};
}

// What is written down of the attempt.
void RemoteCall::note_intent(audit::Intent& intent) const {
  intent.request = options_.request;
  intent.principal = options_.principal;
  intent.model = target_.model;
  intent.purpose = options_.purpose;
  intent.reserved_pico = amount_.value();
  intent.price = row_->id();
  intent.route = options_.route;
}

bool RemoteCall::may_drain() const {
  return answer_ && !complete_ && question_.stream && reserved_ && provider_->options().drain &&
         outside_.drains.running < kMaxDrains;
}

void RemoteCall::client_left(const base::Clock& clock) {
  if (may_drain()) {
    draining_ = true;
    ++outside_.drains.running;
    drain_until_ = base::Deadline::after_ms(clock, kDrainMs);
    drained_from_ = answer_->received();
    return;
  }
  if (question_.stream && reserved_ && answer_ && !complete_) ++outside_.drains.cancelled;
  stop_.request_stop();
}

void RemoteCall::give_up(const Error& why, const base::Clock& clock, base::Yield yield) {
  while (draining_ && !complete_ && failure_.empty()) {
    const auto event = next(clock, drain_until_, yield);
    if (!event || std::holds_alternative<Error>(event->what)) break;
  }
  if (failure_.empty()) note_failure(why);
}

void RemoteCall::end_drain() {
  if (!std::exchange(draining_, false)) return;
  --outside_.drains.running;
  ++(usage_known_ ? outside_.drains.settled : outside_.drains.given_up);
}

std::optional<AnswerEvent> RemoteCall::next(const base::Clock& clock, base::Deadline wake, base::Yield yield) {
  assert(answer_ && !ended_);
  if (draining_ && (drain_until_.passed(clock) || answer_->received() > drained_from_ + kDrainBytes)) {
    Error enough(ErrorCode::kCancelled, "the client went away");
    note_failure(enough);
    return AnswerEvent{0, std::move(enough)};
  }
  auto came = answer_->next({std::min(wake.at_ns, drain_until_.at_ns)}, std::move(yield));
  if (!came.ok()) {
    trace_.stale = answer_->stale();
    note_failure(came.error());
    // A provider that answers with an error bills nothing; one that breaks off has billed something.
    refused_ = answer_->status() >= 400;
    return AnswerEvent{0, std::move(came).error()};
  }
  if (!*came) return std::nullopt;
  types::RemoteEvent& event = **came;
  finished_ += static_cast<std::size_t>(
      std::ranges::count_if(event.deltas, [](const types::AnswerDelta& delta) { return delta.finish.has_value(); }));
  complete_ = event.last;
  other_tier_ = other_tier_ || !event.service_tier.empty();
  if (event.bad_usage) {
    usage_ = {};
    usage_seen_ = usage_final_ = false;
  } else if (event.usage) {
    usage_ = *event.usage;
    usage_seen_ = true;
    // Some count as they go: what they say before the end is not what they will ask for.
    usage_final_ = finished_ >= question_.answers;
  }
  usage_known_ = usage_final_ || (complete_ && usage_seen_);
  if (std::ranges::any_of(event.deltas, &types::AnswerDelta::has_content)) turn_->answers();
  if (!event.id.empty() && upstream_id_.empty()) upstream_id_ = event.id;
  return AnswerEvent{0, std::move(event)};
}

void RemoteCall::release(base::Yield yield) {
  answer_->release(std::move(yield));
}

// `cost`: nothing when it is not known.
audit::Outcome RemoteCall::outcome(std::optional<ledger::Pico>& cost) const {
  audit::Outcome out;
  out.attempt = options_.attempt;
  out.status = answer_ ? answer_->status() : 0;
  out.failure = failure_;
  out.upstream_id = upstream_id_;
  if (!trace_.sent) {
    out.kind = audit::OutcomeKind::kNotSent;
    cost = ledger::Pico();
    return out;
  }
  if (refused_) {
    out.kind = audit::OutcomeKind::kSettled;
    cost = ledger::Pico();
    return out;
  }
  out.kind = audit::OutcomeKind::kUnknown;
  if (!usage_known_) return out;
  const auto counts = ledger::disjoint(usage_);
  if (!counts.ok()) return out;
  out.tokens = counts_of(*counts);
  if (other_tier_ && row_ != &free_row()) return out;
  auto exact = ledger::cost(*row_, *counts);
  if (!exact.ok()) return out;
  out.kind = audit::OutcomeKind::kSettled;
  out.cost_pico = exact->value();
  cost = *exact;
  return out;
}

void RemoteCall::note_failure(const Error& error) {
  failure_ = error.info().slug;
  // A connection that the other side had closed while nobody used it says nothing.
  if (trace_.stale) return;
  failed_ = {.failure = provider::class_of(error),
             .rate_limited = error.code() == ErrorCode::kRateLimited,
             .forbidden = answer_ && answer_->status() == 403,
             .retry_after_ms = error.retry_after_ms(),
             .counts = options_.counts};
}

// What the attempt says of the provider.
void RemoteCall::judge() {
  if (!turn_) return;
  if (complete_) {
    turn_->succeeded();
  } else if (failed_) {
    ended_->other_key = turn_->failed(*failed_).other_key;
  }
  turn_.reset();
}

AttemptEnd RemoteCall::end() {
  if (ended_) return *ended_;
  on_client_left_.reset();
  end_drain();
  ended_.emplace();
  ended_->sent = trace_.sent;
  ended_->stale = trace_.stale;
  ended_->usage_known = usage_known_;
  if (!permitted_) {
    if (reserved_) outside_.book.release(options_.attempt);
    return *ended_;
  }
  ended_->in_journal = durability_ != egress::Durability::kNone;
  judge();
  if (!reserved_ && !ended_->in_journal) return *ended_;
  std::optional<ledger::Pico> cost;
  const audit::Outcome out = outcome(cost);
  if (reserved_) {
    ended_->cost = trace_.sent ? cost.value_or(amount_) : ledger::Pico();
    const bool held = trace_.sent ? outside_.book.settle(options_.attempt, ended_->cost).has_value()
                                  : outside_.book.release(options_.attempt);
    // Its hold expired while it ran, and was journaled as unknown then.
    if (!held) return *ended_;
  }
  // What cannot be written counts as unknown when the journal is read again.
  auto journaled = outside_.gate.ended(out, durability_);
  if (journaled.ok()) ended_->journaled = *journaled;
  return *ended_;
}

}  // namespace shoal::gateway
