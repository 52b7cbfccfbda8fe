#include "shoal/gateway/draft.h"

#include <cassert>
#include <chrono>
#include <deque>
#include <utility>

namespace shoal::gateway {
namespace {

// Events that wait for the pipeline. A full queue stops the readers, and with them the credits of the worker.
constexpr std::size_t kMaxWaiting = 16;

}  // namespace

struct Draft::State {
  explicit State(const base::Executor& executor) : arrived(executor), space(executor) {
    // Set once: setting it anew would wake the other readers that wait, each of which would set it again.
    space.expires_at(base::Timer::time_point::max());
  }

  std::unique_ptr<engine::Generation> only;  // the one answer there is, once it has started: read where it is wanted
  std::deque<AnswerEvent> waiting;
  std::stop_source stop;  // of the answers
  base::Timer arrived;    // cancelled when an event comes
  base::Timer space;      // cancelled when an event is taken
  bool closed = false;

  void push(AnswerEvent event, base::Yield yield) {
    while (waiting.size() >= kMaxWaiting && !closed) {
      base::error_code woken;
      space.async_wait(yield[woken]);
    }
    if (closed) return;
    waiting.push_back(std::move(event));
    arrived.cancel();
  }

  void close() {
    closed = true;
    stop.request_stop();
    arrived.cancel();
    space.cancel();
  }
};

namespace {

bool ends(const AnswerEvent& event) {
  return std::holds_alternative<engine::FinishEvent>(event.what) || std::holds_alternative<Error>(event.what);
}

// What Generation::next() returned; none: its wake-up.
std::optional<AnswerEvent> event_of(std::size_t answer, Result<std::optional<engine::GenerateEvent>> next) {
  if (!next.ok()) return AnswerEvent{answer, std::move(next).error()};
  if (!next->has_value()) return std::nullopt;
  AnswerEvent event{answer, Started{}};
  std::visit([&event](auto&& piece) { event.what = std::forward<decltype(piece)>(piece); }, std::move(**next));
  return event;
}

}  // namespace

Draft::Draft(engine::Engine& engine, std::vector<engine::GenerateRequest> requests, const std::stop_token& cancel,
             base::Yield yield)
    : state_(std::make_shared<State>(yield.get_executor())), on_cancel_(cancel, [this] { this->cancel(); }) {
  assert(!requests.empty());
  for (std::size_t answer = 0; answer < requests.size(); ++answer) {
    requests[answer].cancel = state_->stop.get_token();
    base::spawn(yield.get_executor(), "draft",
                [state = state_, &engine, answer, only = requests.size() == 1,
                 request = std::move(requests[answer])](base::Yield reader) mutable {
                  auto started = engine.start(std::move(request), reader);
                  if (!started.ok()) {
                    state->push({answer, std::move(started).error()}, reader);
                    return;
                  }
                  std::unique_ptr<engine::Generation> generation = std::move(started).value();
                  if (state->closed) return;
                  const Started accepted{generation->prompt_tokens()};
                  if (only) {
                    state->only = std::move(generation);
                    state->push({answer, accepted}, reader);
                    return;
                  }
                  state->push({answer, accepted}, reader);
                  for (bool ended = false; !ended && !state->closed;) {
                    auto event = event_of(answer, generation->next(reader, base::Deadline{}));
                    if (!event) continue;
                    ended = ends(*event);
                    state->push(std::move(*event), reader);
                  }
                });
  }
}

Draft::~Draft() {
  state_->close();
}

void Draft::cancel() {
  if (state_->closed) return;
  state_->close();
  state_->waiting.clear();
}

std::optional<AnswerEvent> Draft::next(const base::Clock& clock, base::Deadline wake, base::Yield yield) {
  while (state_->waiting.empty()) {
    if (state_->closed) return AnswerEvent{0, Error(ErrorCode::kCancelled, "the client went away")};
    if (state_->only) {
      auto event = event_of(0, state_->only->next(yield, wake));
      if (state_->closed) continue;
      if (event && ends(*event)) state_->only.reset();
      return event;
    }
    if (wake.passed(clock)) return std::nullopt;
    if (wake.never()) {
      state_->arrived.expires_at(base::Timer::time_point::max());
    } else {
      state_->arrived.expires_after(std::chrono::nanoseconds(wake.left_ns(clock)));
    }
    base::error_code woken;
    state_->arrived.async_wait(yield[woken]);
  }
  AnswerEvent event = std::move(state_->waiting.front());
  state_->waiting.pop_front();
  state_->space.cancel();
  return event;
}

}  // namespace shoal::gateway
