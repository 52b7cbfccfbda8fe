#include "shoal/gateway/audits.h"

#include <deque>
#include <optional>
#include <stop_token>
#include <utility>

#include <fmt/format.h>

#include "shoal/gateway/drift.h"
#include "shoal/gateway/remote_call.h"
#include "shoal/gateway/resolve.h"

namespace shoal::gateway {

// Stays where it is: `asks` points into it.
struct Audits::Question {
  std::string decision;
  std::string route;
  routing::RemoteTarget target;
  std::optional<std::int64_t> cost_cap_micro;
  std::string kept;
  std::string body;
  std::string system_prompt;
  std::optional<types::ChatRequest> chat;
  AnswerRequest asks;

  [[nodiscard]] std::size_t bytes() const { return 2 * body.size() + kept.size(); }
};

struct Audits::State {
  Outside& outside;
  const base::Clock& clock;
  base::Log& log;
  const Comparison comparison;
  const AuditOptions options;
  std::deque<std::unique_ptr<Question>> waiting{};
  std::size_t bytes = 0;    // of those
  std::size_t running = 0;  // coroutines
  AuditCounts counts{};
  std::stop_source stop{};

  // What nobody can write down is not known; the receipt still says that it was drawn.
  void write(const audit::Label& label) {
    if (outside.journal == nullptr) return;
    std::string line;
    audit::print(label, line);
    outside.journal->append(static_cast<std::uint8_t>(audit::RecordType::kLabel), line, audit::Urgency::kQuiet)
        .ignore("the label is lost; what the journal lost is told by its own error");
  }

  void label(audit::LabelKind kind, std::string_view decision, const types::Principal& principal, bool right,
             const std::string& by) {
    write({.request = std::string(decision),
           .unix_ms = clock.unix_ms(),
           .kind = kind,
           .right = right,
           .source = by,
           .how = comparison.name,
           .note = {},
           .principal = principal.id});
    if (outside.drift != nullptr) outside.drift->labelled(decision, kind, right);
  }
};

Audits::Audits(base::Executor executor, Outside& outside, const base::Clock& clock, base::Log& log,
               Comparison comparison, AuditOptions options)
    : executor_(std::move(executor)),
      state_(std::make_shared<State>(State{outside, clock, log, std::move(comparison), options})) {}

Audits::~Audits() {
  stop();
}

void Audits::stop() {
  state_->waiting.clear();
  state_->bytes = 0;
  state_->stop.request_stop();
}

const AuditCounts& Audits::counts() const {
  return state_->counts;
}

std::size_t Audits::waiting() const {
  return state_->waiting.size() + state_->running;
}

void Audits::ask(const AnswerRequest& request, const routing::Route& route, std::string_view decision,
                 std::string kept) {
  if (state_->stop.stop_requested() || route.remote.empty()) return;
  auto question = std::make_unique<Question>();
  Question& q = *question;
  q.decision = decision;
  q.route = route.name;
  q.target = route.remote.front();
  q.cost_cap_micro = route.cost_cap_micro;
  q.kept = std::move(kept);
  q.body = request.body;
  q.system_prompt = request.added_system_prompt;
  if (request.chat != nullptr) q.chat = *request.chat;
  q.asks = request;
  q.asks.body = q.body;
  q.asks.added_system_prompt = q.system_prompt;
  q.asks.chat = q.chat ? &*q.chat : nullptr;
  q.asks.cancel = state_->stop.get_token();
  if (state_->waiting.size() >= state_->options.max_waiting ||
      state_->bytes + q.bytes() > state_->options.max_waiting_bytes) {
    ++state_->counts.dropped;
    return;
  }
  state_->bytes += q.bytes();
  state_->waiting.push_back(std::move(question));
  if (state_->running >= state_->options.at_once) return;
  ++state_->running;
  base::spawn(executor_, "audit", [state = state_](const base::Yield& yield) { work(state, yield); });
}

void Audits::work(const std::shared_ptr<State>& state, const base::Yield& yield) {
  while (!state->waiting.empty()) {
    const std::unique_ptr<Question> question = std::move(state->waiting.front());
    state->waiting.pop_front();
    state->bytes -= question->bytes();
    const auto answer = answer_of(*state, *question, yield);
    if (!answer.ok()) {
      ++state->counts.failed;
      if (!state->stop.stop_requested()) {
        state->log.info("an audit got no answer",
                        {{"decision", question->decision}, {"code", answer.error().info().slug}});
      }
      continue;
    }
    const bool right = state->comparison.agrees(question->kept, *answer);
    ++(right ? state->counts.right : state->counts.wrong);
    state->label(audit::LabelKind::kAudit, question->decision, question->asks.principal, right,
                 question->target.provider + "/" + question->target.model);
  }
  --state->running;
}

// What the provider says to it, whole. Errors: those of state_of() and of RemoteCall.
Result<std::string> Audits::answer_of(State& state, const Question& question, const base::Yield& yield) {
  // Gone since, open breaker, full: nobody insists.
  routing::RemoteState now = state_of(state.outside, question.target);
  if (now.out) return *std::move(now.out);
  RemoteCall::Options options;
  options.attempt = question.decision + "-audit";
  options.request = question.decision;
  options.principal = question.asks.principal.id;
  options.route = question.route;
  options.purpose = "audit";
  options.deadline = base::Deadline::after_ms(state.clock, state.options.deadline_ms);
  options.cost_cap_micro = question.cost_cap_micro;
  RemoteCall call(state.outside, question.asks, question.target, std::move(options));
  const auto read = [&]() -> Result<std::string> {
    SHOAL_TRY(call.send(state.clock, yield));
    std::string text;
    for (bool last = false; !last;) {
      auto event = call.next(state.clock, {}, yield);
      if (!event) continue;
      if (auto* error = std::get_if<Error>(&event->what)) return std::move(*error);
      const auto& remote = std::get<types::RemoteEvent>(event->what);
      for (const types::AnswerDelta& delta : remote.deltas) text += delta.text;
      last = remote.last;
    }
    call.release(yield);
    return text;
  };
  auto text = read();
  if (!text.ok()) call.give_up(text.error(), state.clock, yield);
  call.end();
  state.outside.book.finish(question.decision);
  return text;
}

void Audits::compare(std::string_view decision, const types::Principal& principal, std::string_view draft,
                     std::string_view answer, const std::string& by) {
  state_->label(audit::LabelKind::kEscalation, decision, principal, state_->comparison.agrees(draft, answer), by);
}

}  // namespace shoal::gateway
