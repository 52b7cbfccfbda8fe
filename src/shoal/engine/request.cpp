#include "shoal/engine/request.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace shoal::engine {
namespace {

// asio adds the wait to "now"; a day is far enough and cannot overflow.
constexpr std::int64_t kLongestWaitNs = std::int64_t{86'400} * 1'000'000'000;

}  // namespace

void Request::wait(const base::Clock& clock, base::Deadline until, base::Yield yield) {
  const std::int64_t at_ns = std::min(until.at_ns, deadline.at_ns);
  const std::int64_t left_ns = base::Deadline{at_ns}.left_ns(clock);
  if (left_ns == 0) return;
  wake.expires_after(std::chrono::nanoseconds(std::min(left_ns, kLongestWaitNs)));
  base::error_code ignored;
  wake.async_wait(yield[ignored]);
}

WorkerGeneration::~WorkerGeneration() {
  cancel();
}

void WorkerGeneration::cancel() {
  if (request_->state == RequestState::kDone) {
    // Finished but not read to the end: what waits in the buffer is not wanted any more.
    if (!request_->failure) request_->failure = cancelled_error();
    request_->events.clear();
    request_->notify();
    return;
  }
  if (const auto owner = owner_.lock()) {
    owner->end(request_, cancelled_error());
    request_->events.clear();
  }
}

Result<std::optional<GenerateEvent>> WorkerGeneration::next(base::Yield yield, base::Deadline wake) {
  // Held over the wait: the caller may destroy this object from another handler meanwhile.
  const auto request = request_;
  const auto& clock = clock_;
  const auto owner = owner_;
  while (true) {
    if (!request->events.empty()) {
      GenerateEvent event = std::move(request->events.front());
      request->events.pop_front();
      if (std::holds_alternative<TokenEvent>(event)) {
        ++request->taken;
        if (const auto host = owner.lock()) host->top_up(request);
      }
      return std::optional<GenerateEvent>(std::move(event));
    }
    if (request->failure) return *request->failure;
    if (request->state == RequestState::kDone) {
      return Error(ErrorCode::kInternal, "this answer is complete already; it has no further event");
    }
    if (request->deadline.passed(clock)) {
      if (const auto host = owner.lock()) host->end(request, deadline_error());
      return deadline_error();
    }
    if (wake.passed(clock)) return std::optional<GenerateEvent>();
    request->wait(clock, wake, yield);
  }
}

Error deadline_error() {
  return Error(ErrorCode::kDeadlineExceeded, "the deadline of the request passed before its answer was complete");
}

Error cancelled_error() {
  return Error(ErrorCode::kCancelled, "the request was cancelled");
}

}  // namespace shoal::engine
