// A Store in memory that does what a test tells it: wait, fail, be damaged. It keeps the records as they come, and
// answers no question.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "shoal/store/store.h"

namespace shoal::store {

// What the test sees of it, from its own thread.
struct FakeState {
  std::mutex mutex;
  std::condition_variable changed;
  // Below: under the mutex.
  bool held = false;                   // apply() waits
  bool waits = false;                  // it does
  std::deque<Error> failures;          // of the next calls of apply()
  std::deque<Error> start_failures;    // of the next calls of start_over()
  std::deque<Error> resolve_failures;  // of the next calls of resolve_unknown()
  std::vector<std::string> payloads;
  std::uint64_t last = 0;
  std::string journal;
  std::vector<std::uint64_t> used_from;    // first_sequence of each use_journal()
  std::vector<std::uint64_t> resolved_at;  // the last record at each resolve_unknown()
  std::vector<std::size_t> batches;        // records of each apply()
  int starts_over = 0;
  std::thread::id thread;

  void hold(bool on) {
    const std::lock_guard lock(mutex);
    held = on;
    changed.notify_all();
  }
  void wait_until_it_waits() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return waits; });
  }
};

class FakeStore final : public Store {
 public:
  explicit FakeStore(std::shared_ptr<FakeState> state) : state_(std::move(state)) {}

  Result<void> use_journal(std::string_view journal_id, std::uint64_t first_sequence) override {
    const std::lock_guard lock(state_->mutex);
    if (state_->journal != journal_id) state_->last = 0;
    state_->journal = journal_id;
    state_->last = std::max(state_->last, first_sequence - 1);
    state_->used_from.push_back(first_sequence);
    return {};
  }
  std::uint64_t last_sequence() const override {
    const std::lock_guard lock(state_->mutex);
    return state_->last;
  }
  Result<void> apply(std::span<const audit::Record> records) override {
    std::unique_lock lock(state_->mutex);
    state_->thread = std::this_thread::get_id();
    state_->waits = state_->held;
    state_->changed.notify_all();
    state_->changed.wait(lock, [this] { return !state_->held; });
    state_->waits = false;
    if (!state_->failures.empty()) {
      const Error failure = state_->failures.front();
      state_->failures.pop_front();
      return failure;
    }
    std::size_t count = 0;
    for (const audit::Record& record : records) {
      if (record.sequence <= state_->last) continue;
      if (record.sequence != state_->last + 1) return Error(ErrorCode::kInternal, "a gap");
      state_->payloads.emplace_back(record.payload);
      ++state_->last;
      ++count;
    }
    state_->batches.push_back(count);
    return {};
  }
  Result<void> start_over() override {
    const std::lock_guard lock(state_->mutex);
    ++state_->starts_over;
    if (!state_->start_failures.empty()) {
      const Error failure = state_->start_failures.front();
      state_->start_failures.pop_front();
      return failure;
    }
    state_->payloads.clear();
    state_->last = 0;
    state_->journal.clear();
    return {};
  }
  Result<std::uint64_t> resolve_unknown(std::int64_t) override {
    const std::lock_guard lock(state_->mutex);
    if (!state_->resolve_failures.empty()) {
      const Error failure = state_->resolve_failures.front();
      state_->resolve_failures.pop_front();
      return failure;
    }
    state_->resolved_at.push_back(state_->last);
    return std::uint64_t{0};
  }

  Result<StoreStats> stats() override { return StoreStats{}; }
  Result<std::vector<OpenIntent>> open_intents() override { return std::vector<OpenIntent>(); }
  Result<std::vector<Committed>> committed(std::int64_t, std::int64_t) override { return std::vector<Committed>(); }
  Result<Request> receipt(std::string_view) override { return Request(); }
  Result<std::vector<ReceiptRow>> receipts(const ReceiptFilter&) override { return std::vector<ReceiptRow>(); }
  Result<std::vector<JudgedAnswer>> judged(const JudgedFilter&) override { return std::vector<JudgedAnswer>(); }
  Result<CostReport> costs(CostsBy, std::int64_t, std::int64_t) override { return CostReport(); }
  Result<RepriceProgress> reprice(const Price&, const Progress&) override { return RepriceProgress(); }
  Result<std::uint64_t> prune(std::int64_t, std::uint64_t) override { return std::uint64_t{0}; }
  Result<Key> create_key(const NewKey&, std::int64_t) override { return Key(); }
  Result<Key> revoke_key(std::string_view, std::int64_t) override { return Key(); }
  Result<std::vector<Key>> list_keys() override { return std::vector<Key>(); }
  Result<Key> key_by_hash(const KeyHash&) override { return Key(); }

 private:
  const std::shared_ptr<FakeState> state_;
};

}  // namespace shoal::store
