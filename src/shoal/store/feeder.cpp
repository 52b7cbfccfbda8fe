#include "shoal/store/feeder.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <ctime>
#include <deque>
#include <mutex>
#include <span>
#include <system_error>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include <boost/asio/post.hpp>

#include "shoal/base/scheduling.h"
#include "shoal/store/record_batch.h"

namespace shoal::store {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

Error shutting_down() {
  return {ErrorCode::kShuttingDown, "the store is closed"};
}

// A coroutine that waits for the worker. The I/O thread's, but for `left`.
struct Waiting {
  explicit Waiting(const base::Executor& io) : done(io) {}

  base::Timer done;
  bool ready = false;
  std::optional<Error> error;
  std::atomic<bool> left = false;  // it has gone on without an answer
};

// What this thread has had of a processor.
std::chrono::nanoseconds computed() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

}  // namespace

class Feeder::Worker : public std::enable_shared_from_this<Worker> {
 public:
  Worker(base::Executor io, const base::Clock& clock, audit::Journal& journal, std::unique_ptr<Store> store,
         FeederOptions options)
      : io_(std::move(io)),
        clock_(clock),
        journal_(journal),
        earlier_(journal.recovery().next_sequence - 1),
        options_(options),
        durable_(earlier_),
        store_(std::move(store)) {}

  // Once.
  Result<void> start();

  Result<void> flush(base::Deadline deadline, base::Yield yield);
  Result<void> run_job(Job job, base::Deadline deadline, base::Yield yield);
  [[nodiscard]] FeederStatus status() const;
  void close();

 private:
  struct Flush {
    std::uint64_t target;
    std::shared_ptr<Waiting> waiting;
  };
  struct Query {
    Job job;
    std::shared_ptr<Waiting> waiting;
  };

  // The journal's writer.
  void copy(std::span<const audit::Record> records);

  // The I/O thread.
  Result<void> wait(const std::shared_ptr<Waiting>& waiting, base::Deadline deadline, base::Yield yield);

  // The worker, with the lock.
  [[nodiscard]] bool has_new() const { return damaged_ || !resolved_ || durable_ > status_.applied_sequence; }
  void sleep(std::unique_lock<std::mutex>& lock);
  [[nodiscard]] bool is_time_to_feed() const;
  // Whether waiting is of use: it goes on at once, without the damage.
  bool note(const Result<void>& fed);
  void answer_flushes(const std::optional<Error>& failure);

  // The worker, without the lock.
  void run();
  Result<void> feed();
  Result<void> attach();
  Result<void> read_to(std::uint64_t last);
  Result<void> skip_what_is_gone();
  Result<void> apply(std::span<const audit::Record> records);
  void rest(std::chrono::nanoseconds worked);
  Result<void> apply(const RecordBatch& batch);
  void run_jobs();
  void answer(std::shared_ptr<Waiting> waiting, std::optional<Error> error);
  [[nodiscard]] bool closing() const;
  [[nodiscard]] std::uint64_t applied() const { return store_->last_sequence(); }

  const base::Executor io_;
  const base::Clock& clock_;
  audit::Journal& journal_;
  const std::uint64_t earlier_;  // the last record of earlier runs
  const FeederOptions options_;

  mutable std::mutex mutex_;
  // Below: under mutex_.
  std::condition_variable wake_;
  bool sleeps_ = false;  // the worker, until somebody wakes it
  bool closing_ = false;
  std::uint64_t durable_;
  RecordBatch copies_;
  std::vector<Flush> flushes_;
  std::deque<Query> queries_;
  FeederStatus status_;
  bool resolved_ = false;  // intents of earlier runs
  steady_clock::time_point next_feed_{};
  std::int64_t retry_ms_ = 0;
  std::uint64_t durable_before_ = 0;  // when the last transaction ended

  // The worker's.
  std::unique_ptr<Store> store_;
  bool attached_ = false;
  bool damaged_ = false;
  RecordBatch taken_;
  std::vector<audit::Record> records_;
  std::thread thread_;
};

Result<void> Feeder::Worker::start() {
  try {
    thread_ = base::start_thread("store", [this] { run(); });
  } catch (const std::system_error& e) {
    return Error(ErrorCode::kIo, fmt::format("cannot start the thread that feeds the store: {}", e.what()));
  }
  journal_.on_durable([self = shared_from_this()](std::span<const audit::Record> records) { self->copy(records); });
  return {};
}

// No more than copying: whoever appends waits for it.
void Feeder::Worker::copy(std::span<const audit::Record> records) {
  const std::lock_guard lock(mutex_);
  if (closing_ || records.empty()) return;
  durable_ = records.back().sequence;
  for (const audit::Record& record : records) {
    if (copies_.bytes() + record.payload.size() > options_.max_copied_bytes) {
      copies_.clear();
      ++status_.fell_behind;
    }
    copies_.add(record);
  }
  if (sleeps_) wake_.notify_one();
}

Result<void> Feeder::Worker::flush(base::Deadline deadline, base::Yield yield) {
  // What was appended a moment ago is on its way to the disk. Where that has failed, what is on it is all there is.
  if (const std::uint64_t last = journal_.stats().next_sequence - 1; last > journal_.stats().synced_sequence) {
    auto synced = journal_.synced(last, deadline, yield);
    if (!synced.ok() && synced.error().code() != ErrorCode::kJournalFailed) return synced;
  }
  const auto waiting = std::make_shared<Waiting>(io_);
  {
    const std::uint64_t target = journal_.stats().synced_sequence;
    const std::lock_guard lock(mutex_);
    if (closing_) return shutting_down();
    flushes_.push_back({.target = target, .waiting = waiting});
    wake_.notify_one();
  }
  return wait(waiting, deadline, std::move(yield));
}

Result<void> Feeder::Worker::run_job(Job job, base::Deadline deadline, base::Yield yield) {
  const auto waiting = std::make_shared<Waiting>(io_);
  {
    const std::lock_guard lock(mutex_);
    if (closing_) return shutting_down();
    queries_.push_back({.job = std::move(job), .waiting = waiting});
    wake_.notify_one();
  }
  return wait(waiting, deadline, std::move(yield));
}

// What the worker posts runs on this thread too, so nothing comes between the caller and this.
Result<void> Feeder::Worker::wait(const std::shared_ptr<Waiting>& waiting, base::Deadline deadline, base::Yield yield) {
  if (deadline.never()) {
    waiting->done.expires_at(base::Timer::time_point::max());
  } else {
    waiting->done.expires_after(std::chrono::nanoseconds(deadline.left_ns(clock_)));
  }
  base::error_code ec;
  waiting->done.async_wait(yield[ec]);
  if (!waiting->ready) {
    waiting->left = true;
    return Error(ErrorCode::kDeadlineExceeded, "the store did not answer before the deadline");
  }
  if (waiting->error) return *std::move(waiting->error);
  return {};
}

FeederStatus Feeder::Worker::status() const {
  const std::lock_guard lock(mutex_);
  FeederStatus status = status_;
  status.durable_sequence = durable_;
  status.copied_bytes = copies_.bytes();
  return status;
}

bool Feeder::Worker::closing() const {
  const std::lock_guard lock(mutex_);
  return closing_;
}

void Feeder::Worker::close() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    wake_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
  store_.reset();
}

void Feeder::Worker::run() {
  std::unique_lock lock(mutex_);
  for (bool last = false; !last;) {
    sleep(lock);
    last = closing_;
    std::optional<Error> failure;
    if (has_new() && (last || is_time_to_feed())) {
      lock.unlock();
      const auto fed = feed();
      lock.lock();
      if (!note(fed)) failure = status_.error;
    }
    if (last) failure = shutting_down();
    answer_flushes(failure);
    lock.unlock();
    run_jobs();
    lock.lock();
  }
}

// Until there is something to do.
void Feeder::Worker::sleep(std::unique_lock<std::mutex>& lock) {
  const auto is_awake = [this] { return closing_ || !queries_.empty() || (has_new() && is_time_to_feed()); };
  while (!is_awake()) {
    const bool flushed =
        std::ranges::any_of(flushes_, [this](const Flush& flush) { return flush.target <= status_.applied_sequence; });
    if (flushed && !has_new()) return;
    if (has_new()) {
      // Whoever copies does not wake it: the time is known.
      wake_.wait_until(lock, next_feed_);
    } else {
      sleeps_ = true;
      wake_.wait(lock);
      sleeps_ = false;
    }
  }
}

bool Feeder::Worker::is_time_to_feed() const {
  return !flushes_.empty() || steady_clock::now() >= next_feed_;
}

bool Feeder::Worker::note(const Result<void>& fed) {
  if (fed.ok()) {
    if (status_.error && options_.on_recovery) options_.on_recovery();
    status_.error.reset();
    retry_ms_ = 0;
    next_feed_ = steady_clock::now() + milliseconds(options_.apply_every_ms);
    return true;
  }
  const bool is_damage = fed.error().code() == ErrorCode::kStoreDamaged;
  const bool goes_on = is_damage && retry_ms_ == 0;
  damaged_ = damaged_ || is_damage;
  ++status_.failures;
  if (!status_.error && options_.on_failure) options_.on_failure(fed.error());
  status_.error = fed.error();
  retry_ms_ = retry_ms_ == 0 ? options_.first_retry_ms : std::min(retry_ms_ * 2, options_.last_retry_ms);
  next_feed_ = steady_clock::now() + milliseconds(goes_on ? 0 : retry_ms_);
  return goes_on;
}

// Those that are served; all, when it failed.
void Feeder::Worker::answer_flushes(const std::optional<Error>& failure) {
  std::erase_if(flushes_, [&](Flush& flush) {
    const bool served = flush.target <= status_.applied_sequence && resolved_;
    if (served) answer(std::move(flush.waiting), std::nullopt);
    if (!served && failure) answer(std::move(flush.waiting), failure);
    return served || failure;
  });
}

void Feeder::Worker::answer(std::shared_ptr<Waiting> waiting, std::optional<Error> error) {
  base::asio::post(io_, [waiting = std::move(waiting), error = std::move(error)]() mutable {
    waiting->ready = true;
    waiting->error = std::move(error);
    waiting->done.cancel();
  });
}

void Feeder::Worker::run_jobs() {
  std::unique_lock lock(mutex_);
  while (!queries_.empty()) {
    const Query query = std::move(queries_.front());
    queries_.pop_front();
    const bool closing = closing_;
    lock.unlock();
    if (closing) {
      answer(query.waiting, shutting_down());
    } else if (!query.waiting->left) {
      const std::optional<Error> error = query.job(*store_);
      if (error && error->code() == ErrorCode::kStoreDamaged) damaged_ = true;
      answer(query.waiting, std::nullopt);
    }
    lock.lock();
  }
}

// One try to bring the store to what is on disk.
Result<void> Feeder::Worker::feed() {
  SHOAL_TRY(attach());
  bool resolved = false;
  {
    const std::lock_guard lock(mutex_);
    resolved = resolved_;
  }
  if (!resolved) {
    SHOAL_TRY(read_to(earlier_));
    if (applied() < earlier_) return {};  // it is closing, or some are gone: the rest comes next time
    SHOAL_TRY(store_->resolve_unknown(clock_.unix_seconds() * 1000));
  }
  std::uint64_t target = 0;
  {
    const std::lock_guard lock(mutex_);
    resolved_ = true;
    target = durable_;
    taken_.clear();
    std::swap(taken_, copies_);
  }
  // Copies that nothing is missing before; the rest is in the journal.
  if (!taken_.empty() && taken_.first() <= applied() + 1) SHOAL_TRY(apply(taken_));
  taken_.clear();
  return read_to(target);
}

// Makes the store one of this journal, where it is not.
Result<void> Feeder::Worker::attach() {
  const audit::Recovery& recovery = journal_.recovery();
  if (!damaged_ && !attached_) {
    SHOAL_TRY(store_->use_journal(recovery.journal_id, recovery.first_sequence));
    // It has what the journal has not: somebody put an older copy of one of them there. The journal is the truth.
    damaged_ = applied() > earlier_;
  }
  if (damaged_) {
    SHOAL_TRY(store_->start_over());
    damaged_ = false;
    attached_ = false;
    {
      const std::lock_guard lock(mutex_);
      ++status_.begun_anew;
      resolved_ = false;
    }
    SHOAL_TRY(store_->use_journal(recovery.journal_id, recovery.first_sequence));
  }
  attached_ = true;
  const std::lock_guard lock(mutex_);
  status_.applied_sequence = applied();
  return {};
}

// Applies what the journal has, up to `last`. Queries get their turn in between; it ends early when it is closing.
Result<void> Feeder::Worker::read_to(std::uint64_t last) {
  if (applied() >= last) return {};
  bool enough = false;
  RecordBatch batch;
  const auto apply_batch = [&]() -> Result<void> {
    SHOAL_TRY(apply(batch));
    batch.clear();
    run_jobs();
    enough = closing();
    return {};
  };
  auto read = journal_.read(applied() + 1, [&](const audit::Record& record) -> Result<void> {
    if (record.sequence > last) enough = true;
    if (enough) return Error(ErrorCode::kCancelled, "enough was read");
    batch.add(record);
    if (batch.bytes() >= options_.max_transaction_bytes) SHOAL_TRY(apply_batch());
    return {};
  });
  if (!read.ok() && read.error().code() == ErrorCode::kNotFound) return skip_what_is_gone();
  if (!read.ok() && !enough) return read;
  if (!batch.empty()) SHOAL_TRY(apply_batch());
  if (enough || applied() >= last) return {};
  return Error(ErrorCode::kJournalDamaged,
               fmt::format("the journal ends with record {}, and record {} was in it", applied(), last));
}

// The journal has dropped records that the store has not. What it still has comes next time.
Result<void> Feeder::Worker::skip_what_is_gone() {
  std::uint64_t oldest = 0;
  auto read = journal_.read(0, [&](const audit::Record& record) -> Result<void> {
    oldest = record.sequence;
    return Error(ErrorCode::kCancelled, "the first is enough");
  });
  if (oldest == 0 && !read.ok()) return read;
  if (oldest == 0) return Error(ErrorCode::kJournalDamaged, "no record is left in the journal");
  return store_->use_journal(journal_.recovery().journal_id, oldest);
}

Result<void> Feeder::Worker::apply(const RecordBatch& batch) {
  batch.view(records_);
  std::span<const audit::Record> rest = records_;
  while (!rest.empty()) {
    std::size_t count = 0;
    for (std::size_t bytes = 0; count < rest.size() && bytes < options_.max_transaction_bytes; ++count) {
      bytes += rest[count].payload.size();
    }
    SHOAL_TRY(apply(rest.first(count)));
    rest = rest.subspan(count);
  }
  return {};
}

Result<void> Feeder::Worker::apply(std::span<const audit::Record> records) {
  const std::chrono::nanoseconds before = computed();
  SHOAL_TRY(store_->apply(records));
  {
    const std::lock_guard lock(mutex_);
    ++status_.transactions;
    status_.applied_sequence = applied();
  }
  rest(computed() - before);
  return {};
}

void Feeder::Worker::rest(std::chrono::nanoseconds worked) {
  std::unique_lock lock(mutex_);
  // At a start everybody waits for it.
  if (std::exchange(durable_before_, durable_) == durable_ || !resolved_) return;
  const auto until = steady_clock::now() + worked * options_.rest_factor;
  while (!closing_ && flushes_.empty() && steady_clock::now() < until) {
    if (queries_.empty()) {
      wake_.wait_until(lock, until);
      continue;
    }
    lock.unlock();
    run_jobs();
    lock.lock();
  }
}

Result<std::unique_ptr<Feeder>> Feeder::start(base::Executor io, const base::Clock& clock, audit::Journal& journal,
                                              std::unique_ptr<Store> store, FeederOptions options) {
  auto worker = std::make_shared<Worker>(std::move(io), clock, journal, std::move(store), options);
  SHOAL_TRY(worker->start());
  return std::unique_ptr<Feeder>(new Feeder(std::move(worker)));
}

Feeder::~Feeder() {
  close();
}

Result<void> Feeder::flush(base::Deadline deadline, base::Yield yield) {
  return worker_->flush(deadline, std::move(yield));
}

Result<void> Feeder::run(Job job, base::Deadline deadline, base::Yield yield) {
  return worker_->run_job(std::move(job), deadline, std::move(yield));
}

FeederStatus Feeder::status() const {
  return worker_->status();
}

void Feeder::close() {
  worker_->close();
}

}  // namespace shoal::store
