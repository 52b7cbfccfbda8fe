#include "shoal/audit/waiters.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include <boost/asio/dispatch.hpp>

namespace shoal::audit {
namespace asio = base::asio;
namespace {

constexpr std::int64_t kNotArmed = std::numeric_limits<std::int64_t>::max();
// A far deadline is looked at again ten times a second, so that a timer nobody needs any more ends soon by itself: to
// cancel it would cost every request more.
constexpr std::int64_t kLongestTimerNs = 100'000'000;

}  // namespace

struct Waiters::Waiter {
  virtual ~Waiter() = default;
  virtual void resume() = 0;

  std::uint64_t sequence = 0;
  base::Deadline deadline;
  Result<void>* outcome = nullptr;  // on the stack of the coroutine
};

template <class Handler>
struct Waiters::Suspended final : Waiter {
  explicit Suspended(Handler h) : handler(std::move(h)) {}
  void resume() override { asio::dispatch(std::move(handler)); }

  Handler handler;
};

Waiters::Waiters(base::Executor io, const base::Clock& clock)
    : io_(std::move(io)), clock_(clock), timer_(io_), armed_for_ns_(kNotArmed) {}

Waiters::~Waiters() = default;

// Touches no member after it was resumed: `this` may be gone.
Result<void> Waiters::wait(std::uint64_t sequence, base::Deadline deadline, base::Yield yield) {
  Result<void> outcome;
  asio::async_initiate<base::Yield, void()>(
      [&](auto handler) {
        auto waiter = std::make_unique<Suspended<decltype(handler)>>(std::move(handler));
        waiter->sequence = sequence;
        waiter->deadline = deadline;
        waiter->outcome = &outcome;
        add(std::move(waiter));
      },
      yield);
  return outcome;
}

void Waiters::add(std::unique_ptr<Waiter> waiter) {
  if (waiting_.empty()) work_.emplace(io_);
  waiting_.push_back(std::move(waiter));
  if (!waiting_.back()->deadline.never() && armed_for_ns_ > waiting_.back()->deadline.at_ns) arm();
}

template <class Decide>
void Waiters::resume_where(Decide decide) {
  // They may wait again at once, so they are taken out first.
  std::vector<std::unique_ptr<Waiter>> ready = std::move(resumed_);
  std::size_t kept = 0;
  for (std::unique_ptr<Waiter>& waiter : waiting_) {
    if (decide(*waiter)) {
      ready.push_back(std::move(waiter));
    } else {
      std::swap(waiting_[kept++], waiter);
    }
  }
  waiting_.resize(kept);
  const auto work = waiting_.empty() ? std::exchange(work_, std::nullopt) : std::nullopt;
  count_ -= ready.size();
  for (const auto& waiter : ready) waiter->resume();
  ready.clear();
  resumed_ = std::move(ready);
}

void Waiters::settle(std::uint64_t synced, const std::optional<Error>& failure) {
  resume_where([&](const Waiter& waiter) {
    if (waiter.sequence <= synced) return true;
    if (failure) *waiter.outcome = *failure;
    return failure.has_value();
  });
}

void Waiters::arm() {
  const std::int64_t now_ns = clock_.monotonic_ns();
  std::int64_t at_ns = kNotArmed;
  for (const auto& waiter : waiting_) at_ns = std::min(at_ns, waiter->deadline.at_ns);
  if (at_ns == kNotArmed) return;
  armed_for_ns_ = std::min(at_ns, now_ns + kLongestTimerNs);
  timer_.expires_after(std::chrono::nanoseconds(std::max<std::int64_t>(armed_for_ns_ - now_ns, 0)));
  timer_.async_wait([weak = weak_from_this()](base::error_code ec) {
    const auto self = weak.lock();
    if (self && !ec) self->expire();
  });
}

void Waiters::expire() {
  armed_for_ns_ = kNotArmed;
  const std::int64_t now_ns = clock_.monotonic_ns();
  resume_where([&](const Waiter& waiter) {
    if (waiter.deadline.at_ns > now_ns) return false;
    *waiter.outcome = Error(ErrorCode::kDeadlineExceeded, "the record was not on disk before the request's deadline");
    return true;
  });
  arm();
}

}  // namespace shoal::audit
