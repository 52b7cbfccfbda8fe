// Feeder: the thread that has the store. It takes the journal's batches as they get to the disk, applies them, catches
// up at start, and runs queries in between. Requests never wait for it, and what happens to the store never happens to
// them: the copies it keeps are bounded, and what it drops, or could not apply, it reads from the journal again.
//
//   auto feeder = SHOAL_TRY(Feeder::start(io, clock, journal, std::move(store), {}));
//   SHOAL_TRY(feeder->flush(deadline, yield));  // what is on disk by now is in the store
//   auto page = SHOAL_TRY(feeder->query([](Store& store) { return store.receipts({}); }, deadline, yield));
//
// A store that fails (a full disk) is tried again, after a while that grows; one that is damaged begins anew at once
// and is fed from the beginning of the journal; status() tells. Intents of earlier runs that have no outcome when all
// records of those runs are in become unknown. Owned by cli/'s App, after the journal, which outlives it. Threads: the
// I/O thread, but for status().
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "shoal/audit/journal.h"
#include "shoal/base/async.h"
#include "shoal/base/clock.h"
#include "shoal/base/result.h"
#include "shoal/store/store.h"

namespace shoal::store {

struct FeederOptions {
  std::size_t max_copied_bytes = std::size_t{4} << 20;  // of records that wait; more are read from the journal
  std::int64_t apply_every_ms = 50;                     // at most so often
  std::size_t max_transaction_bytes = std::size_t{256} << 10;
  // While records keep coming it rests so many times as long as a transaction took the processor, so that requests get
  // that. What waits meanwhile is in the journal. A flush ends the rest.
  std::int64_t rest_factor = 31;
  std::int64_t first_retry_ms = 100;  // after a failure; doubles up to the last
  std::int64_t last_retry_ms = 30'000;
  // Told on its thread, which holds no lock of a caller: the store cannot be written any more; it can again.
  std::function<void(const Error&)> on_failure{};
  std::function<void()> on_recovery{};
};

struct FeederStatus {
  std::uint64_t applied_sequence = 0;  // the last record that is in the store
  std::uint64_t durable_sequence = 0;  // the last that is to be
  std::size_t copied_bytes = 0;
  std::uint64_t transactions = 0;  // since the start
  std::uint64_t fell_behind = 0;   // how often copies were dropped
  std::uint64_t begun_anew = 0;    // how often the store was damaged, or had what the journal has not
  std::uint64_t failures = 0;      // of applying
  std::optional<Error> error{};    // of the last try to apply, if that failed
};

class Feeder {
 public:
  // Begins to catch up at once. REQUIRES: nothing was appended to the journal since it was opened, and nobody else has
  // asked for on_durable(). Errors: kIo when there can be no thread.
  static Result<std::unique_ptr<Feeder>> start(base::Executor io, const base::Clock& clock, audit::Journal& journal,
                                               std::unique_ptr<Store> store, FeederOptions options);
  Feeder(const Feeder&) = delete;
  Feeder& operator=(const Feeder&) = delete;
  // As close().
  ~Feeder();

  // Suspends until all that was appended to the journal by now was applied; where the journal has failed, all of it
  // that is on disk. After a failure it tries at once, and it waits for a store that begins anew. Errors: those of
  // Store::apply() and Journal::read(), kDeadlineExceeded, kShuttingDown.
  Result<void> flush(base::Deadline deadline, base::Yield yield);

  // Runs `ask` on the store's thread, and suspends until it is done: Result<T> ask(Store&). It has what it needs by
  // value, since it may still run after kDeadlineExceeded; before it runs, that drops it. It sees what was applied:
  // flush() first, where it must be all. Errors: those of `ask`, kDeadlineExceeded, kShuttingDown.
  template <class Ask>
  std::invoke_result_t<Ask, Store&> query(Ask ask, base::Deadline deadline, base::Yield yield) {
    using Answer = std::invoke_result_t<Ask, Store&>;
    const auto answer = std::make_shared<std::optional<Answer>>();
    SHOAL_TRY(run(
        [answer, ask = std::move(ask)](Store& store) mutable -> std::optional<Error> {
          const Answer& got = answer->emplace(ask(store));
          return got.ok() ? std::nullopt : std::optional(got.error());
        },
        deadline, std::move(yield)));
    return *std::move(*answer);
  }

  [[nodiscard]] FeederStatus status() const;  // any thread

  // Applies what has come, if it can, and ends the thread: close the journal first. Later calls get kShuttingDown.
  // Blocks. The I/O thread, or any when that has ended.
  void close();

 private:
  class Worker;
  explicit Feeder(std::shared_ptr<Worker> worker) : worker_(std::move(worker)) {}
  using Job = std::function<std::optional<Error>(Store&)>;

  // The error that `job` gives back is for the worker to see: its caller has it already.
  Result<void> run(Job job, base::Deadline deadline, base::Yield yield);

  std::shared_ptr<Worker> worker_;
};

}  // namespace shoal::store
