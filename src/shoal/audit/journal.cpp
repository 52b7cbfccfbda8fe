#include "shoal/audit/journal.h"

#include <atomic>
#include <cassert>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <boost/asio/post.hpp>

#include "shoal/audit/segment.h"
#include "shoal/audit/waiters.h"
#include "shoal/base/scheduling.h"

namespace shoal::audit {
namespace {

constexpr std::size_t kKeptBytes = std::size_t{256} << 10;  // memory of a batch that is kept for the next one
constexpr std::int64_t kTurnNs = 100'000;                   // the shortest that there is

}  // namespace

// The I/O thread fills `filling_` while the writer writes `writing_`; the mutex is held for copies only.
class Journal::Impl {
 public:
  Impl(base::Executor io, const base::Clock& clock, Disk& disk, JournalOptions options,
       std::unique_ptr<Segments> segments)
      : io_(io),
        disk_(disk),
        options_(std::move(options)),
        segments_(std::move(segments)),
        recovery_(segments_->recovery()),
        wakes_(std::make_shared<Wakes>(std::move(io), clock)),
        next_sequence_(recovery_.next_sequence),
        filling_from_(next_sequence_) {
    wakes_->synced = next_sequence_ - 1;
    counts_.next_segment_ready = segments_->next_is_ready();
  }

  ~Impl() { close().ignore("whoever waits has been told"); }

  // Once, before everything else.
  Result<void> start();
  Result<std::uint64_t> append(std::uint8_t type, std::string_view payload, Urgency urgency);
  Result<void> synced(std::uint64_t sequence, base::Deadline deadline, base::Yield yield);
  Result<void> close();
  void on_durable(std::function<void(std::span<const Record>)> consume);

  [[nodiscard]] Result<void> read(std::uint64_t from, const RecordVisit& visit) const {
    return read_records(disk_, options_.segments.folder, from, synced_sequence(), visit);
  }
  [[nodiscard]] const Recovery& recovery() const { return recovery_; }
  [[nodiscard]] bool poisoned() const { return poisoned_; }
  [[nodiscard]] JournalStats stats() const;

 private:
  // What the I/O thread shares with the writer, and with what the writer has posted, which may outlive the journal.
  struct Wakes {
    Wakes(base::Executor io, const base::Clock& clock) : waiters(std::make_shared<Waiters>(std::move(io), clock)) {}

    enum class Writer : std::uint8_t { kAwake, kNaps, kSleeps };

    const std::shared_ptr<Waiters> waiters;  // the I/O thread's
    std::mutex mutex;
    std::condition_variable wake;
    Writer writer_is = Writer::kAwake;
    std::uint64_t synced = 0;      // the last sequence number that is on disk
    std::optional<Error> failure;  // poisoned
    bool posted = false;           // settle() will run, and has not
    bool asked = false;            // begin() will run, and has not
    bool prompt = false;           // what was appended is to be written at once
  };
  using Writer = Wakes::Writer;

  [[nodiscard]] std::uint64_t synced_sequence() const;
  static void wake_writer(Wakes& wakes, std::unique_lock<std::mutex>& lock);
  void ask_for_prompt(std::unique_lock<std::mutex>& lock);
  static void settle(Wakes& wakes);

  void run();
  bool take_batch();
  void prepare(std::unique_lock<std::mutex>& lock);
  void publish(Result<void> written);
  void deliver();

  const base::Executor io_;
  Disk& disk_;
  const JournalOptions options_;
  const std::unique_ptr<Segments> segments_;  // the writer's
  const Recovery recovery_;
  const std::shared_ptr<Wakes> wakes_;
  std::atomic<bool> poisoned_ = false;

  // Below: under wakes_->mutex.
  std::uint64_t next_sequence_;
  std::uint64_t filling_from_;  // sequence number that filling_ begins with
  std::string filling_;
  bool closing_ = false;
  std::size_t writing_bytes_ = 0;
  std::function<void(std::span<const Record>)> consume_;
  JournalStats counts_;

  // The writer's.
  std::string writing_;
  std::uint64_t writing_to_ = 0;  // the last sequence number in writing_
  std::vector<Record> records_;
  std::thread writer_;  // last: it uses all of these
};

Result<void> Journal::Impl::start() {
  try {
    writer_ = base::start_thread("journal", [this] { run(); });
  } catch (const std::system_error& e) {
    return Error(ErrorCode::kIo, fmt::format("cannot start the thread that writes the journal: {}", e.what()));
  }
  return {};
}

Result<std::uint64_t> Journal::Impl::append(std::uint8_t type, std::string_view payload, Urgency urgency) {
  if (payload.size() > segments_->max_payload_bytes()) {
    return Error(ErrorCode::kPayloadTooLarge, fmt::format("a record of {} bytes; the journal takes {} at most",
                                                          payload.size(), segments_->max_payload_bytes()));
  }
  std::unique_lock lock(wakes_->mutex);
  if (wakes_->failure) return *wakes_->failure;
  if (closing_) return Error(ErrorCode::kShuttingDown, "the journal is closed");
  if (filling_.size() + writing_bytes_ + kFrameHeadBytes + payload.size() > options_.max_pending_bytes) {
    return Error(ErrorCode::kOverloaded,
                 fmt::format("the disk is slow: {} bytes wait to be written to the journal, the most that may",
                             filling_.size() + writing_bytes_));
  }
  append_frame(filling_, next_sequence_, type, payload);
  const std::uint64_t sequence = next_sequence_++;
  if (urgency == Urgency::kPrompt) {
    ask_for_prompt(lock);
  } else if (wakes_->writer_is == Writer::kSleeps) {
    // The first quiet one wakes a writer that sleeps, so that it looks at the time from then on.
    wake_writer(*wakes_, lock);
  }
  return sequence;
}

Result<void> Journal::Impl::synced(std::uint64_t sequence, base::Deadline deadline, base::Yield yield) {
  std::unique_lock lock(wakes_->mutex);
  assert(sequence > 0 && sequence < next_sequence_);
  if (sequence <= wakes_->synced) return {};
  if (wakes_->failure) return *wakes_->failure;
  wakes_->waiters->announce();
  if (sequence >= filling_from_) ask_for_prompt(lock);
  if (lock) lock.unlock();
  return wakes_->waiters->wait(sequence, deadline, std::move(yield));
}

// The writer begins when those that are ready now have had their turn: they append too, and one sync is for all. A sync
// takes the processor for as long as a request does, and begun at the first record it would be for two or three.
void Journal::Impl::ask_for_prompt(std::unique_lock<std::mutex>& lock) {
  if (wakes_->prompt || std::exchange(wakes_->asked, true)) return;
  lock.unlock();
  base::asio::post(io_, [wakes = wakes_] {
    std::unique_lock taken(wakes->mutex);
    wakes->asked = false;
    wakes->prompt = true;
    if (wakes->writer_is != Writer::kAwake) wake_writer(*wakes, taken);
  });
}

// Woken with the lock taken it would only wait for that.
void Journal::Impl::wake_writer(Wakes& wakes, std::unique_lock<std::mutex>& lock) {
  wakes.writer_is = Writer::kAwake;
  lock.unlock();
  wakes.wake.notify_one();
}

std::uint64_t Journal::Impl::synced_sequence() const {
  const std::lock_guard lock(wakes_->mutex);
  return wakes_->synced;
}

JournalStats Journal::Impl::stats() const {
  const std::lock_guard lock(wakes_->mutex);
  JournalStats stats = counts_;
  stats.next_sequence = next_sequence_;
  stats.synced_sequence = wakes_->synced;
  stats.pending_bytes = filling_.size() + writing_bytes_;
  return stats;
}

void Journal::Impl::on_durable(std::function<void(std::span<const Record>)> consume) {
  const std::lock_guard lock(wakes_->mutex);
  assert(next_sequence_ == recovery_.next_sequence && !consume_);
  consume_ = std::move(consume);
}

Result<void> Journal::Impl::close() {
  {
    std::unique_lock lock(wakes_->mutex);
    closing_ = true;
    wake_writer(*wakes_, lock);
  }
  if (writer_.joinable()) writer_.join();
  const std::lock_guard lock(wakes_->mutex);
  if (wakes_->failure) return *wakes_->failure;
  return {};
}

void Journal::Impl::run() {
  base::ask_for_turns_of(kTurnNs);  // requests wait for it; without that it runs as others do
  while (take_batch()) {
    auto written = segments_->write(writing_);
    const bool ok = written.ok();
    publish(std::move(written));
    if (!ok) return;
    deliver();
  }
}

// Waits until there is something to write. False: it was closed, and all is written.
bool Journal::Impl::take_batch() {
  std::unique_lock lock(wakes_->mutex);
  std::optional<std::chrono::steady_clock::time_point> quiet_until;
  while (!closing_) {
    if (filling_.empty()) {
      wakes_->prompt = false;  // it went with a batch that was begun before that was said
      if (segments_->wants_to_prepare(true)) {
        prepare(lock);
        continue;
      }
      wakes_->writer_is = Writer::kSleeps;
      wakes_->wake.wait(lock);
    } else {
      if (wakes_->prompt) break;
      const auto now = std::chrono::steady_clock::now();
      if (!quiet_until) quiet_until = now + std::chrono::milliseconds(options_.quiet_ms);
      if (now >= *quiet_until) break;
      wakes_->writer_is = Writer::kNaps;
      wakes_->wake.wait_until(lock, *quiet_until);
    }
    wakes_->writer_is = Writer::kAwake;
  }
  if (filling_.empty()) return false;
  if (segments_->wants_to_prepare(false)) prepare(lock);
  writing_.clear();
  if (writing_.capacity() > kKeptBytes) writing_.shrink_to_fit();
  std::swap(filling_, writing_);
  writing_bytes_ = writing_.size();
  writing_to_ = next_sequence_ - 1;
  filling_from_ = next_sequence_;
  wakes_->prompt = false;
  return true;
}

void Journal::Impl::prepare(std::unique_lock<std::mutex>& lock) {
  lock.unlock();
  const auto prepared = segments_->prepare();
  lock.lock();
  counts_.next_segment_ready = segments_->next_is_ready();
  counts_.prepare_error = prepared.ok() ? "" : prepared.error().message();
}

void Journal::Impl::publish(Result<void> written) {
  bool post = false;
  std::optional<Error> failure;
  {
    const std::lock_guard lock(wakes_->mutex);
    writing_bytes_ = 0;
    if (written.ok()) {
      wakes_->synced = writing_to_;
      ++counts_.batches;
      counts_.bytes += writing_.size();
      counts_.next_segment_ready = segments_->next_is_ready();
    } else {
      wakes_->failure = Error(ErrorCode::kJournalFailed,
                              fmt::format("the journal cannot be written any more: {}", written.error().message()));
      failure = wakes_->failure;
      poisoned_ = true;
    }
    post = wakes_->waiters->count() > 0 && !wakes_->posted;
    wakes_->posted = wakes_->posted || post;
  }
  if (failure && options_.on_failure) options_.on_failure(*failure);
  if (post) base::asio::post(io_, [wakes = wakes_] { settle(*wakes); });
}

void Journal::Impl::settle(Wakes& wakes) {
  std::uint64_t synced = 0;
  std::optional<Error> failure;
  {
    const std::lock_guard lock(wakes.mutex);
    wakes.posted = false;
    synced = wakes.synced;
    failure = wakes.failure;
  }
  wakes.waiters->settle(synced, failure);
}

void Journal::Impl::deliver() {
  if (!consume_) return;
  records_.clear();
  for (std::string_view rest = writing_; !rest.empty();) {
    const Frame frame = unsealed_frame(rest);
    records_.push_back(frame.record);
    rest.remove_prefix(frame.bytes);
  }
  consume_(records_);
}

Journal::Journal(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Journal::~Journal() = default;

Result<std::unique_ptr<Journal>> Journal::open(base::Executor io, const base::Clock& clock, Disk& disk,
                                               JournalOptions options) {
  auto segments = SHOAL_TRY(Segments::open(disk, options.segments));
  auto impl = std::make_unique<Impl>(std::move(io), clock, disk, std::move(options), std::move(segments));
  SHOAL_TRY(impl->start());
  return std::unique_ptr<Journal>(new Journal(std::move(impl)));
}

const Recovery& Journal::recovery() const {
  return impl_->recovery();
}
Result<std::uint64_t> Journal::append(std::uint8_t type, std::string_view payload, Urgency urgency) {
  return impl_->append(type, payload, urgency);
}
Result<void> Journal::synced(std::uint64_t sequence, base::Deadline deadline, base::Yield yield) {
  return impl_->synced(sequence, deadline, std::move(yield));
}
Result<void> Journal::read(std::uint64_t from, const std::function<Result<void>(const Record&)>& visit) const {
  return impl_->read(from, visit);
}
void Journal::on_durable(std::function<void(std::span<const Record>)> consume) {
  impl_->on_durable(std::move(consume));
}
bool Journal::poisoned() const {
  return impl_->poisoned();
}
JournalStats Journal::stats() const {
  return impl_->stats();
}
Result<void> Journal::close() {
  return impl_->close();
}

}  // namespace shoal::audit
