// The life of a request. Read it from the top: admit, route, draft locally or ask a provider, keep, reply, settle.
#include "shoal/gateway/pipeline.h"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "shoal/base/ids.h"
#include "shoal/gateway/attempts.h"
#include "shoal/gateway/audits.h"
#include "shoal/gateway/draft.h"
#include "shoal/gateway/drift.h"
#include "shoal/gateway/judgement.h"
#include "shoal/gateway/local_requests.h"
#include "shoal/gateway/receipts.h"
#include "shoal/gateway/remote_call.h"
#include "shoal/gateway/resolve.h"
#include "shoal/gateway/task_draft.h"
#include "shoal/routing/plan.h"
#include "shoal/routing/prefix_judge.h"

namespace shoal::gateway {
namespace {

using routing::Candidate;
using routing::Verdict;

// One request on its way. Lives on the stack of its coroutine.
class Life {
 public:
  Life(engine::Engine& engine, Outside* outside, const base::Clock& clock, const PipelineOptions& options,
       AnswerRequest& request, AnswerSink& sink)
      : engine_(engine),
        outside_(outside),
        clock_(clock),
        options_(options),
        request_(request),
        sink_(sink),
        admitted_ns_(clock.monotonic_ns()) {}

  // Errors: whatever the client is to be told.
  Result<void> run(base::Yield yield) {
    // --- admit: one deadline for everything that follows, retries and all.
    deadline_ = base::Deadline::after_ms(clock_, options_.request_timeout_ms);
    deadline_.at_ns = std::min(deadline_.at_ns, request_.deadline.at_ns);
    if (sink_.streams()) wake_ = base::Deadline::after_ms(clock_, options_.hold_ms);
    assert(request_.prompt_count() > 0 && request_.params.n >= 1);
    receipt_.decision_id = base::random_id();

    // --- route: who may answer, in which order; what falls out is named.
    Resolved resolved =
        SHOAL_TRY(resolve(engine_, outside_, options_.default_model, request_, sink_.streams(), clock_));
    route_ = std::move(resolved.route);
    receipt_.route = route_.name;
    routing::Plan plan = routing::plan(route_, {request_.needs, request_.local_only, request_.prefer}, resolved.world);
    receipt_.reasons = std::move(plan.reasons);
    if (plan.escalates) take_escalation();
    if (plan.candidates.empty()) return *std::move(plan.refusal);
    add_system_prompt();
    calibration_ = resolved.calibration;
    certificate_ = resolved.certificate;

    // --- draft locally, or ask a provider; again or on to the next one when that may help, until the client has seen a
    // byte.
    attempts_.emplace(outside_, route_, receipt_.reasons);
    for (std::size_t at = 0;;) {
      const Candidate& candidate = plan.candidates[at];
      auto kept = attempt(candidate, at > 0, yield);
      if (kept.ok()) return {};
      const Error error = std::move(kept).error();
      attempts_->failed(error, candidate.local);
      // FENCE: what the client has seen is never replaced.
      if (sink_.committed()) break;
      const auto next = attempts_->after(error, plan.candidates, at, unsure_, deadline_, clock_);
      if (!next) break;
      note_move(error, next->effect);
      if (next->wait_ms > 0) {
        const routing::RemoteTarget& target = route_.remote[candidate.remote];
        SHOAL_TRY(pause(next->wait_ms, "waiting for " + target.provider, yield));
        if (!attempts_->ready(target)) break;
      }
      at = next->at;
    }
    return attempts_->last_word();
  }

  // --- settle: what it cost is final now, and the receipt is kept.
  void close(int status) {
    if (outside_ == nullptr || std::exchange(closed_, true)) return;
    if (attempts_ && attempts_->at_providers() > 0)
      receipt_.billed_micro = outside_->book.finish(receipt_.decision_id).billed.value;
    add_comparison(receipt_, *outside_->config, route_, clock_.unix_seconds());
    std::optional<audit::Judged> judged;
    if (judgement_) judged = judgement_->record(receipt_.decision, status);
    if (judged) count(outside_->judged, *judged);
    // Risks are estimated from all that was judged.
    const bool needed = (attempts_ && attempts_->journaled()) || (judged && route_.audit_share > 0);
    if (!outside_->config->all_receipts && !needed) return;
    keep_receipt(*outside_, receipt_, request_, route_, judged, admitted_ns_, clock_, status);
    if (judged && outside_->drift != nullptr)
      outside_->drift->judged(receipt_.decision_id, receipt_.route, *judged, receipt_.confidence);
  }

  [[nodiscard]] const types::Receipt& receipt() const { return receipt_; }

 private:
  // The route's own, for a chat that has none: drafts and providers see the same.
  void add_system_prompt() {
    if (route_.system_prompt.empty() || request_.chat == nullptr) return;
    const auto is_system = [](const types::Message& message) { return message.role == types::Role::kSystem; };
    if (std::ranges::any_of(request_.chat->messages, is_system)) return;
    prompted_ = *request_.chat;
    prompted_->messages.insert(prompted_->messages.begin(),
                               {.role = types::Role::kSystem, .content = route_.system_prompt, .name = {}});
    request_.chat = &*prompted_;
    request_.added_system_prompt = route_.system_prompt;
    receipt_.reasons.push_back({"system_prompt", "none", "the route has one", "added"});
  }

  // What one candidate says, to its end.
  Result<void> attempt(const Candidate& candidate, bool moved, base::Yield yield) {
    receipt_.raw = false;
    if (candidate.local) {
      drafted_ = true;
      return draft(candidate, moved, yield);
    }
    const routing::RemoteTarget& target = route_.remote[candidate.remote];
    receipt_.model = target.provider + "/" + target.model;
    receipt_.decision = drafted_ ? types::Decision::kEscalated : types::Decision::kRemote;
    const Attempts::Begun begun = attempts_->begin(candidate.remote);
    RemoteCall::Options options;
    options.attempt = fmt::format("{}-{}", receipt_.decision_id, begun.number);
    options.request = receipt_.decision_id;
    options.principal = request_.principal.id;
    options.route = route_.name;
    options.deadline = deadline_;
    options.cost_cap_micro = begun.cost_cap_micro;
    options.fresh = begun.fresh;
    options.counts = begun.counts;
    RemoteCall call(*outside_, request_, target, std::move(options));
    if (judgement_) judgement_->begin_theirs();
    receipt_.raw = call.raw();
    auto sent = call.send(clock_, yield);
    // The client is told with the first byte of the answer.
    if (call.sent()) note_egress(target.provider);
    auto said = sent.ok() ? relay(call, "waiting for " + target.provider, nullptr, yield) : std::move(sent);
    if (!said.ok()) call.give_up(said.error(), clock_, yield);
    attempts_->ended(candidate.remote, call.end(), !said.ok());
    // What is paid for is told, also when nobody has the answer.
    if (said.ok() || call.end().usage_known) receipt_.usage = call.usage();
    SHOAL_TRY(std::move(said));
    receipt_.durability = egress::durability_name(call.durability());
    if (const auto limit = call.added_limit()) {
      receipt_.reasons.push_back({"max_tokens", "none", "always bounded", fmt::format("set to {}", *limit)});
    }
    if (call.durability() == egress::Durability::kStrict)
      SHOAL_TRY(outside_->gate.synced(call.end().journaled, deadline_, yield));
    return reply(&call, yield);
  }

  // What the local model says, to its end; or until it is clear that it is not sure enough: kLowConfidence.
  Result<void> draft(const Candidate& candidate, bool moved, base::Yield yield) {
    if (candidate.fallback) void_promise();
    receipt_.model = route_.local;
    receipt_.decision = moved ? types::Decision::kFailedOver : types::Decision::kLocal;
    receipt_.usage = {};
    receipt_.timings = {};
    const std::unique_ptr<AnswerStream> answers = begin_local(yield);
    std::optional<routing::PrefixJudge> judge;
    if (candidate.judged) {
      judge.emplace(routing::JudgeOptions{
          .answers = request_.answers(),
          .threshold = route_.threshold,
          .commit_tokens = route_.commit_tokens,
          .commit_ms = route_.commit_ms,
          .streams = sink_.streams() && route_.latency == routing::Latency::kInteractive,
          // What a certificate counted as never kept is not kept.
          .keep_unknown = route_.on_null_confidence == routing::NullConfidence::kKeep && route_.risk <= 0,
          .prompts = asked_of(request_),
          .tables = calibration_});
      judgement_.emplace(route_, certificate_, calibration_, request_, outside_->audits != nullptr);
      receipt_.threshold = route_.threshold;
      commit_by_.at_ns = admitted_ns_ + route_.commit_ms * 1'000'000;
    }
    SHOAL_TRY(relay(*answers, "loading " + route_.local, judge ? &*judge : nullptr, yield));
    return reply(nullptr, yield);
  }

  // The local model, or the trained task that the route has in its place.
  std::unique_ptr<AnswerStream> begin_local(base::Yield yield) {
    if (route_.local_task == nullptr) {
      return std::make_unique<Draft>(engine_, local_requests(request_, route_.local, deadline_, sink_.streams()),
                                     request_.cancel, yield);
    }
    TaskDraftOptions options{.embed_by = base::Deadline::after_ms(clock_, route_.commit_ms),
                             .certified_only = route_.risk > 0};
    options.embed_by.at_ns = std::min(options.embed_by.at_ns, deadline_.at_ns);
    return std::make_unique<TaskDraft>(engine_, outside_->task_scorer(), *route_.local_task, request_, options);
  }

  // Passes on what comes, until all answers are complete. `judge`, of a local model's answers, may be null.
  Result<void> relay(AnswerStream& stream, const std::string& waiting_for, routing::PrefixJudge* judge,
                     base::Yield yield) {
    std::size_t open = request_.answers();
    std::size_t started = 0;
    receipt_.signals.assign(open, {});
    receipt_.hidden_states.assign(request_.params.hidden_state ? request_.prompt_count() : 0, {});
    while (open > 0) {
      const bool judging = judge != nullptr && judge->verdict() == Verdict::kWait && !commit_by_.never();
      std::optional<AnswerEvent> event =
          stream.next(clock_, judging && commit_by_.at_ns < wake_.at_ns ? commit_by_ : wake_, yield);
      if (!event && judging && commit_by_.passed(clock_)) {
        // FENCE: the client waits no longer than commit_ms for a local answer that may still be thrown away.
        judge->late();
        SHOAL_TRY(heed(*judge));
        commit_by_ = {};
        continue;
      }
      if (!event) {
        // FENCE: the status line leaves now; what fails after this is an error frame in a 200. It names no model.
        if (!sink_.open()) SHOAL_TRY(sink_.open_stream(receipt_, yield));
        SHOAL_TRY(sink_.ping(started == 0 ? waiting_for : std::string("ping"), yield));
        wake_ = base::Deadline::after_ms(clock_, options_.ping_interval_ms);
        continue;
      }
      if (auto* error = std::get_if<Error>(&event->what)) return std::move(*error);
      if (std::holds_alternative<Started>(event->what)) {
        if (started++ == 0) started_ns_ = clock_.monotonic_ns();
        continue;
      }
      if (auto* scored = std::get_if<Scored>(&event->what)) {
        std::ranges::move(scored->notes, std::back_inserter(receipt_.reasons));
        receipt_.estimated = scored->estimated;
        if (judge == nullptr) continue;
        judge->scored(event->answer, scored->confidence, std::move(scored->unknown));
        SHOAL_TRY(heed(*judge));
        continue;
      }
      if (auto* remote = std::get_if<types::RemoteEvent>(&event->what)) {
        started = 1;
        if (remote->last) open = 0;
        if (judgement_) judgement_->hear(*remote);
        // FENCE: a provider's first content commits, not its first byte: what only says that it began is held back.
        if (sink_.streams() && !sink_.committed() && !shows(*remote)) {
          held_.push_back(std::move(*remote));
          continue;
        }
        if (sink_.streams()) SHOAL_TRY(commit(yield));
        SHOAL_TRY(sink_.relay(std::move(*remote), yield));
      } else {
        // FENCE: the first token commits. A prompt that does not fit or a worker that cannot start has failed before
        // this line, with a status of its own; what fails after it is an error frame.
        assert(started > 0);
        if (std::holds_alternative<engine::FinishEvent>(event->what)) --open;
        if (judge != nullptr) judgement_->hear(*event);
        if (judge != nullptr && judge->verdict() == Verdict::kWait) {
          hear(*event, *judge);
          SHOAL_TRY(heed(*judge));
          // FENCE: what may still be thrown away is shown to no client.
          if (sink_.streams() && judge->verdict() == Verdict::kWait) {
            held_local_.push_back(*std::move(event));
            continue;
          }
        }
        if (sink_.streams()) SHOAL_TRY(commit(yield));
        SHOAL_TRY(say(*event, yield));
      }
      if (sink_.streams()) wake_ = base::Deadline::after_ms(clock_, options_.ping_interval_ms);
    }
    return {};
  }

  static void hear(const AnswerEvent& event, routing::PrefixJudge& judge) {
    if (const auto* token = std::get_if<engine::TokenEvent>(&event.what)) {
      judge.add(event.answer, token->token, token->text);
    } else {
      const auto& finish = std::get<engine::FinishEvent>(event.what);
      judge.finish(event.answer, finish.text, finish.reason == types::FinishReason::kLength);
    }
  }

  // --- judge: how sure it is goes into the receipt, whatever comes of it. Errors: kLowConfidence.
  Result<void> heed(const routing::PrefixJudge& judge) {
    if (judge.verdict() == Verdict::kWait) return {};
    receipt_.confidence = judge.confidence();
    receipt_.reasons.push_back(judge.reason());
    receipt_.reasons.insert(receipt_.reasons.end(), judge.checks().begin(), judge.checks().end());
    judgement_->settle(judge.verdict(), receipt_.decision_id);
    if (judgement_->drawn()) {
      const routing::RemoteTarget& target = route_.remote.front();
      receipt_.reasons.push_back({"audit", "drawn", fmt::format("audit_share {}", route_.audit_share),
                                  fmt::format("ask {}/{} too, afterwards", target.provider, target.model)});
    }
    if (judge.verdict() == Verdict::kKeep) return {};
    if (!take_escalation()) return escalated_too_often();
    unsure_ = true;
    // What was computed in vain is paid for all the same.
    if (started_ns_ > 0)
      receipt_.timings.decode_us = static_cast<std::uint64_t>(clock_.monotonic_ns() - started_ns_) / 1000;
    return Error(ErrorCode::kLowConfidence,
                 fmt::format("{} was not sure enough of its answer: {} {}, wanted {}", receipt_.model,
                             judge.reason().signal, judge.reason().value, judge.reason().rule));
  }

  // One of those that the key may have in this hour; of what goes to a provider unread, too. Counts when there is none.
  bool take_escalation() {
    return outside_->escalations.take(route_.name, request_.principal.id, route_.escalations_per_hour,
                                      clock_.monotonic_ns());
  }

  // FENCE: who makes one answer after the other unsure does not spend everybody's budget. Errors: kBudgetExhausted.
  Result<void> escalated_too_often() {
    const std::string rule = fmt::format("escalations_per_hour {}", route_.escalations_per_hour);
    receipt_.reasons.push_back({"escalations", "used up", rule, route_.local_on_budget ? "keep" : "fail"});
    if (!route_.local_on_budget) {
      return Error(ErrorCode::kBudgetExhausted,
                   fmt::format("the local answer was not sure enough, and this key has used up {} of the route \"{}\"",
                               rule, route_.name));
    }
    void_promise();
    return {};
  }

  // No promise holds for what is kept in spite of the judge.
  void void_promise() {
    for (types::Reason& reason : receipt_.reasons) {
      if (reason.signal == "certificate") reason.value = "void: kept though it is not sure enough";
    }
  }

  // More of a local answer, or its end.
  Result<void> say(AnswerEvent& event, base::Yield yield) {
    if (auto* token = std::get_if<engine::TokenEvent>(&event.what))
      return sink_.token(event.answer, token->token, token->text, yield);
    auto& finish = std::get<engine::FinishEvent>(event.what);
    SHOAL_TRY(sink_.finished(event.answer, finish.reason, finish.text, yield));
    add_finished(receipt_, request_, event.answer, finish);
    return {};
  }

  static bool shows(const types::RemoteEvent& event) {
    return event.last || std::ranges::any_of(event.deltas, [](const types::AnswerDelta& delta) {
             return delta.has_content() || delta.finish;
           });
  }

  Result<void> commit(base::Yield yield) {
    if (sink_.committed()) return {};
    SHOAL_TRY(sink_.commit(receipt_, yield));
    for (types::RemoteEvent& event : std::exchange(held_, {})) SHOAL_TRY(sink_.relay(std::move(event), yield));
    for (AnswerEvent& event : std::exchange(held_local_, {})) SHOAL_TRY(say(event, yield));
    return {};
  }

  // --- reply: the receipt, with what it cost, ends the answer.
  Result<void> reply(RemoteCall* call, base::Yield yield) {
    SHOAL_TRY(commit(yield));
    if (judgement_) note_late_miss();
    close(200);
    auto done = sink_.done(receipt_, yield);
    if (judgement_ && outside_->audits != nullptr) look_back();
    SHOAL_TRY(std::move(done));
    if (call != nullptr) call->release(yield);
    return {};
  }

  // What was sure enough by its first tokens, and is not as a whole: it was sent, and counts as kept.
  void note_late_miss() {
    const auto confidence = judgement_->late_miss();
    if (!confidence) return;
    receipt_.reasons.push_back({"late_miss", fmt::format("{:.4f}", *confidence),
                                fmt::format("at least {} for the whole answer", route_.threshold),
                                "keep, for it was sent"});
  }

  // --- look back: the client has its answer; what is held against another model's becomes a label.
  void look_back() {
    if (judgement_->compares() && receipt_.decision == types::Decision::kEscalated) {
      outside_->audits->compare(receipt_.decision_id, request_.principal, judgement_->drafted(), judgement_->theirs(),
                                receipt_.model);
    } else if (judgement_->drawn()) {
      outside_->audits->ask(request_, route_, receipt_.decision_id, judgement_->drafted());
    }
  }

  // Waits, and shows the client signs of life. Errors: kCancelled, those of the sink.
  Result<void> pause(std::int64_t ms, const std::string& waiting_for, base::Yield yield) {
    const base::Deadline until = base::Deadline::after_ms(clock_, ms);
    base::Timer timer(yield.get_executor());
    const std::stop_callback gone(request_.cancel, [&timer] { timer.cancel(); });
    while (!until.passed(clock_) && !request_.cancel.stop_requested()) {
      timer.expires_after(std::chrono::nanoseconds(std::min(until.left_ns(clock_), wake_.left_ns(clock_))));
      base::error_code woken;
      timer.async_wait(yield[woken]);
      if (!wake_.passed(clock_)) continue;
      if (!sink_.open()) SHOAL_TRY(sink_.open_stream(receipt_, yield));
      SHOAL_TRY(sink_.ping(waiting_for, yield));
      wake_ = base::Deadline::after_ms(clock_, options_.ping_interval_ms);
    }
    if (request_.cancel.stop_requested()) return Error(ErrorCode::kCancelled, "the client went away");
    return {};
  }

  void note_move(const Error& error, std::string effect) {
    // Of confidence the judge has told.
    if (error.code() == ErrorCode::kBudgetExhausted) {
      receipt_.reasons.push_back({"budget", error.message(), receipt_.model, std::move(effect)});
    } else if (error.code() != ErrorCode::kLowConfidence) {
      receipt_.reasons.push_back({"error", std::string(error.info().slug), receipt_.model, std::move(effect)});
    }
    held_.clear();
    held_local_.clear();
    sink_.discard();
  }

  void note_egress(const std::string& provider) {
    if (receipt_.egress == "none") {
      receipt_.egress = provider;
    } else if (!("," + receipt_.egress + ",").contains("," + provider + ",")) {
      receipt_.egress += "," + provider;
    }
  }

  engine::Engine& engine_;
  Outside* const outside_;
  const base::Clock& clock_;
  const PipelineOptions& options_;
  AnswerRequest& request_;
  AnswerSink& sink_;
  base::Deadline deadline_;
  base::Deadline wake_;
  routing::Route route_;
  std::optional<types::ChatRequest> prompted_;  // the request with the route's system prompt
  types::Receipt receipt_;
  routing::Calibration calibration_;                   // of the local model
  const routing::Certificate* certificate_ = nullptr;  // of the threshold
  std::optional<Judgement> judgement_;                 // of a draft that is judged
  base::Deadline commit_by_;                           // a judged answer is sure by then, or is not
  std::int64_t admitted_ns_;
  std::int64_t started_ns_ = 0;  // the local model took the prompt
  bool drafted_ = false;         // the local model was asked
  bool unsure_ = false;          // its answer was thrown away
  std::vector<types::RemoteEvent> held_;
  std::vector<AnswerEvent> held_local_;  // until the judge has spoken
  std::optional<Attempts> attempts_;
  bool closed_ = false;
};

}  // namespace

Pipeline::Pipeline(engine::Engine& engine, Outside* outside, const base::Clock& clock, base::Log& log,
                   PipelineOptions options)
    : engine_(engine), outside_(outside), clock_(clock), log_(log), options_(std::move(options)) {}

void Pipeline::answer(AnswerRequest request, AnswerSink& sink, base::Yield yield) {
  Life life(engine_, outside_, clock_, options_, request, sink);
  auto done = life.run(yield);
  if (done.ok()) return;
  const Error& error = done.error();
  life.close(error.info().http_status);
  log_.info("request failed", {{"request", request.id}, {"code", error.info().slug}, {"committed", sink.committed()}});
  sink.fail(error, life.receipt(), yield);
}

std::vector<types::OtherModel> Pipeline::other_models() const {
  std::vector<types::OtherModel> all;
  if (outside_ == nullptr) return all;
  for (const routing::Route& route : outside_->config->routes) all.push_back({route.name, {}});
  for (const auto& provider : outside_->config->providers.all()) {
    const provider::ProviderOptions& options = provider->options();
    for (const std::string& model : options.models) all.push_back({options.name + "/" + model, options.name});
  }
  return all;
}

Result<Explanation> Pipeline::explain(const AnswerRequest& request) const {
  return gateway::explain(engine_, outside_, clock_, options_.default_model, request);
}

}  // namespace shoal::gateway
