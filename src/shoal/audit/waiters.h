// Waiters: the coroutines that wait until a record is on disk, and what wakes them: one call for a whole batch, or
// their deadlines, which share one timer. While one waits, the I/O loop does not end.
// Place: the I/O thread's half of Journal. Owned by the Journal and by what it has posted to the I/O thread, with
// shared_ptr. Threads: the I/O thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>

#include "shoal/base/async.h"
#include "shoal/base/clock.h"
#include "shoal/base/result.h"

namespace shoal::audit {

class Waiters : public std::enable_shared_from_this<Waiters> {
 public:
  Waiters(base::Executor io, const base::Clock& clock);
  Waiters(const Waiters&) = delete;
  Waiters& operator=(const Waiters&) = delete;
  // Whoever still waits is unwound.
  ~Waiters();

  // Suspends until settle() says that the record is on disk. REQUIRES: announce() before it. Errors: what settle() was
  // given, kDeadlineExceeded.
  Result<void> wait(std::uint64_t sequence, base::Deadline deadline, base::Yield yield);

  // Resumes those who wait for a record up to `synced`, and all others with `failure`, where there is one.
  void settle(std::uint64_t synced, const std::optional<Error>& failure);

  // Before wait(): from then on it counts. Any thread may ask how many there are.
  void announce() { ++count_; }
  [[nodiscard]] std::size_t count() const { return count_; }

 private:
  struct Waiter;
  template <class Handler>
  struct Suspended;

  void add(std::unique_ptr<Waiter> waiter);
  void arm();
  void expire();
  // Takes out those for whom `decide` has an outcome, and resumes them, in order.
  template <class Decide>
  void resume_where(Decide decide);

  base::Executor io_;
  const base::Clock& clock_;
  base::Timer timer_;
  std::int64_t armed_for_ns_;  // monotonic; the largest number: not armed
  std::atomic<std::size_t> count_ = 0;
  std::vector<std::unique_ptr<Waiter>> waiting_;
  std::vector<std::unique_ptr<Waiter>> resumed_;  // empty but for its memory
  std::optional<base::asio::executor_work_guard<base::Executor>> work_;
};

}  // namespace shoal::audit
