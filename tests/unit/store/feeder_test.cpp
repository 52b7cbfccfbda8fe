// The thread that feeds the store, with a real journal: what comes in, in what order, what happens when the store is
// slow, fails or is damaged, and who is told.
#include "shoal/store/feeder.h"

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

#include "shoal/audit/journal.h"

#include "contract.h"
#include "fake_store.h"
#include "history.h"
#include "support/temporary_folder.h"

namespace shoal::store {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kLongMs = 3'600'000;
constexpr std::uint8_t kType = 1;

using Texts = std::vector<std::string>;

Texts numbers(int from, int to) {
  Texts texts;
  for (int i = from; i <= to; ++i) texts.push_back("record " + std::to_string(i));
  return texts;
}

class FeederTest : public ::testing::Test {
 protected:
  ~FeederTest() override {
    state_->hold(false);
    close();
  }

  void open_journal() {
    audit::JournalOptions options;
    options.segments.folder = folder_.path() / "journal";
    options.segments.segment_bytes = std::uint64_t{64} << 10;
    journal_ = must(audit::Journal::open(io_.get_executor(), clock_, disk_, options));
  }
  // With the fake, unless another store is given.
  void open(FeederOptions options = {}, std::unique_ptr<Store> store = nullptr) {
    if (!journal_) open_journal();
    if (!store) store = std::make_unique<FakeStore>(state_);
    feeder_ = must(Feeder::start(io_.get_executor(), clock_, *journal_, std::move(store), options));
  }
  void close() {
    if (journal_) journal_->close().ignore("the test has looked");
    feeder_.reset();
    journal_.reset();
  }
  // Runs `body` on the I/O thread, to its end.
  void run(const std::function<void(base::Yield)>& body) {
    base::spawn(io_, "test", body);
    io_.restart();
    io_.run();
  }
  // Appends, and waits until all is on disk.
  void append(const Texts& texts, const base::Yield& yield) {
    std::uint64_t last = 0;
    for (const std::string& text : texts) {
      last = must(journal_->append(kType, text, audit::Urgency::kQuiet));
      appended_.push_back(text);
      if (last % 1000 == 0) must(journal_->synced(last, {}, yield));
    }
    must(journal_->synced(last, {}, yield));
  }
  // Who waits for the disk is told before the copies are made.
  void wait_for_copies() {
    while (feeder_->status().durable_sequence < appended_.size()) std::this_thread::yield();
  }
  // A journal of an earlier run.
  void write_earlier(int count) {
    open_journal();
    run([&](const base::Yield& yield) { append(numbers(1, count), yield); });
    close();
  }
  Result<void> flush(const base::Yield& yield) { return feeder_->flush({}, yield); }
  Texts applied() {
    const std::lock_guard lock(state_->mutex);
    return state_->payloads;
  }
  void fail_next(ErrorCode code, int times = 1) {
    const std::lock_guard lock(state_->mutex);
    for (int i = 0; i < times; ++i) state_->failures.emplace_back(code, "told to");
  }

  test::TemporaryFolder folder_;
  boost::asio::io_context io_{1};
  base::SystemClock clock_;
  audit::RealDisk disk_;
  std::unique_ptr<audit::Journal> journal_;
  const std::shared_ptr<FakeState> state_ = std::make_shared<FakeState>();
  Texts appended_;  // to the journal, by this test
  std::unique_ptr<Feeder> feeder_;
};

TEST_F(FeederTest, AppliesWhatGetsToTheDiskInOrder) {
  open();
  run([&](const base::Yield& yield) {
    append(numbers(1, 500), yield);
    must(flush(yield));
    EXPECT_EQ(applied(), appended_);
    append(numbers(501, 510), yield);
    must(flush(yield));
    EXPECT_EQ(applied(), appended_);
  });
  const FeederStatus status = feeder_->status();
  EXPECT_EQ(status.applied_sequence, 510U);
  EXPECT_EQ(status.durable_sequence, 510U);
  EXPECT_EQ(status.copied_bytes, 0U);
  EXPECT_EQ(status.fell_behind + status.begun_anew + status.failures, 0U);
  EXPECT_FALSE(status.error);
  EXPECT_NE(state_->thread, std::this_thread::get_id());
}

TEST_F(FeederTest, AppliesByItselfToo) {
  open({.apply_every_ms = 1});
  run([&](const base::Yield& yield) { append(numbers(1, 100), yield); });
  while (applied().size() < 100) std::this_thread::yield();
  EXPECT_EQ(applied(), appended_);
}

TEST_F(FeederTest, CollectsUntilTheTimeHasComeOrSomebodyAsks) {
  open({.apply_every_ms = kLongMs});
  run([&](const base::Yield& yield) {
    must(flush(yield));
    append(numbers(1, 3), yield);
    wait_for_copies();
    must(flush(yield));
    for (int i = 4; i < 50; ++i) {
      append(numbers(i, i), yield);
      must(feeder_->query([](Store&) { return Result<int>(1); }, {}, yield));
    }
    EXPECT_EQ(applied().size(), 3U);
    wait_for_copies();
    must(flush(yield));
    EXPECT_EQ(applied(), appended_);
  });
  EXPECT_EQ(state_->batches, (std::vector<std::size_t>{3, 46}));
}

TEST_F(FeederTest, CatchesUpAtStartAndThenGivesUpOnIntentsOfEarlierRuns) {
  write_earlier(3000);
  {
    // The store of an earlier run had some of it.
    const std::lock_guard lock(state_->mutex);
    open_journal();
    state_->journal = journal_->recovery().journal_id;
    state_->last = 1000;
    state_->payloads = numbers(1, 1000);
  }
  state_->hold(true);
  open({.max_transaction_bytes = 2000});
  run([&](const base::Yield& yield) { append(numbers(3001, 3100), yield); });
  state_->hold(false);
  run([&](const base::Yield& yield) { must(flush(yield)); });
  EXPECT_EQ(applied(), numbers(1, 3100));
  EXPECT_EQ(state_->resolved_at, std::vector<std::uint64_t>{3000});
  EXPECT_EQ(state_->used_from, std::vector<std::uint64_t>{1});
  EXPECT_GT(state_->batches.size(), 20U) << "not all in one transaction";
  for (const std::size_t size : state_->batches) EXPECT_LT(size, 300U);
}

// A Book that is filled then lacks nothing.
TEST_F(FeederTest, NobodyIsToldThatAllIsInBeforeIntentsOfEarlierRunsAreResolved) {
  write_earlier(10);
  open_journal();
  state_->journal = journal_->recovery().journal_id;
  state_->last = 10;
  state_->resolve_failures.assign(2, Error(ErrorCode::kIo, "full"));
  open({.first_retry_ms = kLongMs, .last_retry_ms = kLongMs});
  run([&](const base::Yield& yield) {
    for (int tries = 0; tries < 3 && !flush(yield).ok(); ++tries) EXPECT_TRUE(state_->resolved_at.empty());
  });
  EXPECT_EQ(state_->resolved_at, std::vector<std::uint64_t>{10});
  EXPECT_TRUE(state_->resolve_failures.empty());
}

TEST_F(FeederTest, QueriesGetTheirTurnWhileItCatchesUp) {
  write_earlier(3000);
  state_->hold(true);
  open({.max_transaction_bytes = 2000});
  state_->wait_until_it_waits();
  std::uint64_t seen = 0;
  base::spawn(io_, "query", [&](const base::Yield& yield) {
    seen = must(feeder_->query([](Store& store) { return Result<std::uint64_t>(store.last_sequence()); }, {}, yield));
  });
  run([&](const base::Yield& yield) {
    state_->hold(false);
    must(flush(yield));
  });
  EXPECT_GT(seen, 0U);
  EXPECT_LT(seen, 300U);
  EXPECT_EQ(applied().size(), 3000U);
}

TEST_F(FeederTest, AStoreThatIsSlowHoldsNobodyUpAndMissesNothing) {
  constexpr std::size_t kMost = 20'000;
  open({.max_copied_bytes = kMost, .apply_every_ms = 1});
  state_->hold(true);
  run([&](const base::Yield& yield) {
    append(numbers(1, 1), yield);
    state_->wait_until_it_waits();
    for (int i = 2; i <= 20'000; i += 500) {
      append(numbers(i, i + 499), yield);
      EXPECT_LE(feeder_->status().copied_bytes, kMost + 100);
    }
  });
  wait_for_copies();
  EXPECT_GT(feeder_->status().fell_behind, 10U);
  EXPECT_EQ(feeder_->status().applied_sequence, 0U);
  state_->hold(false);
  run([&](const base::Yield& yield) { must(flush(yield)); });
  EXPECT_EQ(applied(), appended_);
  // Now from copies again.
  const std::uint64_t fell_behind = feeder_->status().fell_behind;
  run([&](const base::Yield& yield) {
    append(numbers(1, 50), yield);
    must(flush(yield));
  });
  EXPECT_EQ(applied(), appended_);
  EXPECT_EQ(feeder_->status().fell_behind, fell_behind);
}

TEST_F(FeederTest, WhileRecordsComeItRestsAndAFlushEndsTheRest) {
  constexpr std::int64_t kForever = 1'000'000'000;
  open({.apply_every_ms = 0, .rest_factor = kForever});
  run([&](const base::Yield& yield) {
    must(flush(yield));
    state_->hold(true);
    append(numbers(1, 1), yield);
    state_->wait_until_it_waits();
    append(numbers(2, 5), yield);
    wait_for_copies();
    state_->hold(false);
    // The first query may come before the next transaction either way; the later ones only where it rests.
    for (int query = 0; query < 20; ++query) {
      const auto seen = feeder_->query([](Store& store) { return Result<std::uint64_t>(store.last_sequence()); },
                                       base::Deadline::after_ms(clock_, 30'000), yield);
      ASSERT_TRUE(seen.ok()) << "queries are answered while it rests";
      ASSERT_EQ(*seen, 1U) << "it rests after the first transaction, for more came meanwhile";
    }
    EXPECT_TRUE(feeder_->flush(base::Deadline::after_ms(clock_, 30'000), yield).ok());
    EXPECT_EQ(applied(), appended_);
  });
}

TEST_F(FeederTest, WhatCouldNotBeAppliedIsTriedAgain) {
  std::vector<std::string> told;  // for the log
  open({.apply_every_ms = kLongMs,
        .first_retry_ms = kLongMs,
        .last_retry_ms = kLongMs,
        .on_failure = [&](const Error& error) { told.emplace_back(error.info().slug); },
        .on_recovery = [&] { told.emplace_back("recovered"); }});
  run([&](const base::Yield& yield) {
    must(flush(yield));
    fail_next(ErrorCode::kIo, 2);
    append(numbers(1, 10), yield);
    const auto failed = flush(yield);
    ASSERT_FALSE(failed.ok());
    EXPECT_EQ(failed.error().code(), ErrorCode::kIo);
    EXPECT_EQ(feeder_->status().error->code(), ErrorCode::kIo);
    append(numbers(11, 20), yield);
    EXPECT_FALSE(flush(yield).ok());
    EXPECT_TRUE(applied().empty());
    must(flush(yield));
    EXPECT_EQ(applied(), appended_);
  });
  EXPECT_FALSE(feeder_->status().error);
  EXPECT_GE(feeder_->status().failures, 2U);
  EXPECT_EQ(feeder_->status().begun_anew, 0U);
  EXPECT_EQ(told, (std::vector<std::string>{"io", "recovered"})) << "once for both tries";
}

TEST_F(FeederTest, ItTriesAgainByItself) {
  fail_next(ErrorCode::kIo, 5);
  open({.apply_every_ms = 1, .first_retry_ms = 1, .last_retry_ms = 4});
  run([&](const base::Yield& yield) { append(numbers(1, 100), yield); });
  while (applied().size() < 100) std::this_thread::yield();
  EXPECT_EQ(applied(), appended_);
}

TEST_F(FeederTest, AStoreThatIsDamagedIsFedFromTheBeginning) {
  write_earlier(100);
  open({.apply_every_ms = kLongMs, .first_retry_ms = kLongMs, .last_retry_ms = kLongMs});
  run([&](const base::Yield& yield) {
    append(numbers(101, 200), yield);
    must(flush(yield));
    fail_next(ErrorCode::kStoreDamaged);
    {
      const std::lock_guard lock(state_->mutex);
      state_->start_failures.emplace_back(ErrorCode::kIo, "full");
    }
    append(numbers(201, 210), yield);
    EXPECT_EQ(flush(yield).error().code(), ErrorCode::kIo) << "there is no room for a new one";
    must(flush(yield));
    EXPECT_EQ(applied(), numbers(1, 210));
  });
  EXPECT_EQ(state_->starts_over, 2);
  EXPECT_EQ(feeder_->status().begun_anew, 1U);
  EXPECT_EQ(state_->resolved_at, (std::vector<std::uint64_t>{100, 100}));
}

TEST_F(FeederTest, WhoFlushesWaitsForAStoreThatBeginsAnew) {
  write_earlier(100);
  open({.apply_every_ms = kLongMs, .first_retry_ms = kLongMs, .last_retry_ms = kLongMs});
  run([&](const base::Yield& yield) {
    must(flush(yield));
    fail_next(ErrorCode::kStoreDamaged);
    append(numbers(101, 110), yield);
    must(flush(yield));
    EXPECT_EQ(applied(), numbers(1, 110));
    EXPECT_FALSE(feeder_->status().error);
    // Not for one that is damaged again and again.
    fail_next(ErrorCode::kStoreDamaged, 2);
    append(numbers(111, 120), yield);
    EXPECT_EQ(flush(yield).error().code(), ErrorCode::kStoreDamaged);
    must(flush(yield));
    EXPECT_EQ(applied(), numbers(1, 120));
  });
  EXPECT_EQ(feeder_->status().begun_anew, 3U);
  EXPECT_EQ(feeder_->status().failures, 3U);
}

TEST_F(FeederTest, AQueryThatFindsDamageHasItRepaired) {
  write_earlier(10);
  open();
  run([&](const base::Yield& yield) {
    must(flush(yield));
    const auto answer = feeder_->query(
        [](Store&) -> Result<int> { return Error(ErrorCode::kStoreDamaged, "a page is torn"); }, {}, yield);
    ASSERT_FALSE(answer.ok());
    EXPECT_EQ(answer.error().code(), ErrorCode::kStoreDamaged);
    EXPECT_EQ(answer.error().message(), "a page is torn");
    must(flush(yield));
  });
  EXPECT_EQ(state_->starts_over, 1);
  EXPECT_EQ(applied(), numbers(1, 10));
}

TEST_F(FeederTest, AStoreThatHasMoreThanTheJournalBeginsAnew) {
  write_earlier(10);
  open_journal();
  state_->journal = journal_->recovery().journal_id;
  state_->last = 11;
  state_->payloads = Texts(11, "what the journal never had");
  open();
  run([&](const base::Yield& yield) {
    append(numbers(11, 12), yield);
    must(flush(yield));
  });
  EXPECT_EQ(state_->starts_over, 1);
  EXPECT_EQ(applied(), numbers(1, 12));
}

TEST_F(FeederTest, RecordsThatAreGoneFromTheJournalAreSkipped) {
  write_earlier(10'000);
  fs::remove(folder_.path() / "journal" / "000000000001.journal");
  open();
  run([&](const base::Yield& yield) { must(flush(yield)); });
  const std::uint64_t first = journal_->recovery().first_sequence;
  EXPECT_GT(first, 1000U);
  EXPECT_EQ(applied(), numbers(static_cast<int>(first), 10'000));
}

TEST_F(FeederTest, RecordsThatGoWhileItRunsAreSkipped) {
  open({.max_copied_bytes = 1000, .apply_every_ms = 1});
  state_->hold(true);
  run([&](const base::Yield& yield) {
    append(numbers(1, 1), yield);
    state_->wait_until_it_waits();
    append(numbers(2, 20'000), yield);
  });
  fs::remove(folder_.path() / "journal" / "000000000001.journal");
  state_->hold(false);
  run([&](const base::Yield& yield) { must(flush(yield)); });
  ASSERT_EQ(state_->used_from.size(), 2U);
  Texts expected = numbers(static_cast<int>(state_->used_from[1]), 20'000);
  expected.insert(expected.begin(), "record 1");
  EXPECT_EQ(applied(), expected);
}

TEST_F(FeederTest, AJournalThatIsGoneIsAnErrorAndNoEndlessLoop) {
  open({.max_copied_bytes = 1000, .apply_every_ms = 1, .first_retry_ms = kLongMs, .last_retry_ms = kLongMs});
  state_->hold(true);
  run([&](const base::Yield& yield) {
    append(numbers(1, 1), yield);
    state_->wait_until_it_waits();
    append(numbers(2, 2000), yield);
  });
  wait_for_copies();
  // The journal makes no file any more when the next one is ready.
  while (!journal_->stats().next_segment_ready) std::this_thread::yield();
  fs::rename(folder_.path() / "journal", folder_.path() / "moved");
  fs::create_directory(folder_.path() / "journal");
  state_->hold(false);
  run([&](const base::Yield& yield) {
    const auto flushed = flush(yield);
    ASSERT_FALSE(flushed.ok());
    EXPECT_EQ(flushed.error().code(), ErrorCode::kJournalDamaged);
  });
  EXPECT_EQ(applied(), numbers(1, 1));
  EXPECT_EQ(feeder_->status().error->code(), ErrorCode::kJournalDamaged);
}

TEST_F(FeederTest, AQueryRunsOnTheStoresThreadAndComesBack) {
  open();
  run([&](const base::Yield& yield) {
    append(numbers(1, 5), yield);
    must(flush(yield));
    const std::thread::id here = std::this_thread::get_id();
    const auto there = must(feeder_->query(
        [](Store& store) -> Result<std::pair<std::thread::id, std::uint64_t>> {
          return std::pair(std::this_thread::get_id(), store.last_sequence());
        },
        {}, yield));
    EXPECT_EQ(std::this_thread::get_id(), here);
    EXPECT_EQ(there.first, state_->thread);
    EXPECT_EQ(there.second, 5U);
    const auto nothing = feeder_->query([](Store&) -> Result<void> { return {}; }, {}, yield);
    EXPECT_TRUE(nothing.ok());
  });
}

TEST_F(FeederTest, WhoWaitsForAQueryLeavesAtItsDeadline) {
  open({.apply_every_ms = 1});
  std::atomic<int> ran = 0;
  run([&](const base::Yield& yield) {
    state_->hold(true);
    append(numbers(1, 1), yield);
    state_->wait_until_it_waits();
    const auto deadline = base::Deadline::after_ms(clock_, 20);
    const auto late = feeder_->query([&](Store&) { return Result<int>(++ran); }, deadline, yield);
    ASSERT_FALSE(late.ok());
    EXPECT_EQ(late.error().code(), ErrorCode::kDeadlineExceeded);
    EXPECT_EQ(feeder_->flush(base::Deadline::after_ms(clock_, 1), yield).error().code(), ErrorCode::kDeadlineExceeded);
    state_->hold(false);
    EXPECT_EQ(must(feeder_->query([&](Store&) { return Result<int>(ran.load()); }, {}, yield)), 0)
        << "nobody waits for it any more";
  });
}

TEST_F(FeederTest, AnAnswerThatComesTooLateIsDropped) {
  open();
  std::atomic<bool> began = false;
  std::atomic<bool> go = false;
  std::atomic<bool> done = false;
  const auto ask = [&](Store&) -> Result<std::string> {
    began = true;
    while (!go) std::this_thread::yield();
    done = true;
    return std::string(1000, 'x');
  };
  run([&](const base::Yield& yield) {
    // One that had not begun by its deadline is not run at all.
    while (!began) {
      const auto late = feeder_->query(ask, base::Deadline::after_ms(clock_, 20), yield);
      ASSERT_FALSE(late.ok());
      EXPECT_EQ(late.error().code(), ErrorCode::kDeadlineExceeded);
    }
    go = true;
  });
  while (!done) std::this_thread::yield();
  run([&](const base::Yield& yield) { must(flush(yield)); });
}

TEST_F(FeederTest, ClosesWithAllThatHasCome) {
  open({.apply_every_ms = kLongMs});
  run([&](const base::Yield& yield) {
    must(flush(yield));
    append(numbers(1, 3), yield);
    must(flush(yield));
    append(numbers(4, 100), yield);
  });
  EXPECT_EQ(applied().size(), 3U);
  must(journal_->close());
  feeder_->close();
  EXPECT_EQ(applied(), appended_);
  run([&](const base::Yield& yield) {
    EXPECT_EQ(flush(yield).error().code(), ErrorCode::kShuttingDown);
    EXPECT_EQ(feeder_->query([](Store&) { return Result<int>(1); }, {}, yield).error().code(),
              ErrorCode::kShuttingDown);
  });
}

TEST_F(FeederTest, WhatHasComeGoesInSeveralTransactions) {
  open({.apply_every_ms = kLongMs, .max_transaction_bytes = 1000});
  run([&](const base::Yield& yield) {
    must(flush(yield));
    append(numbers(1, 500), yield);
    wait_for_copies();
    must(flush(yield));
  });
  EXPECT_EQ(applied(), appended_);
  for (const std::size_t size : state_->batches) EXPECT_LT(size, 200U);
}

TEST_F(FeederTest, ClosesBeforeItHasCaughtUp) {
  write_earlier(3000);
  state_->hold(true);
  open({.max_transaction_bytes = 2000});
  state_->wait_until_it_waits();
  std::thread closer([&] { feeder_->close(); });
  run([&](const base::Yield& yield) {
    while (feeder_->flush(base::Deadline::after_ms(clock_, 1), yield).error().code() != ErrorCode::kShuttingDown) {
    }
  });
  state_->hold(false);
  closer.join();
  EXPECT_LT(applied().size(), 300U) << "the rest comes with the next start";
}

TEST_F(FeederTest, WhoStillWaitsWhenItClosesIsTold) {
  open({.apply_every_ms = 1});
  state_->hold(true);
  int told = 0;
  base::spawn(io_, "query", [&](const base::Yield& yield) {
    append(numbers(1, 1), yield);
    state_->wait_until_it_waits();
    base::spawn(io_, "closer", [&](const base::Yield&) {
      std::thread release([&] { state_->hold(false); });
      feeder_->close();
      release.join();
    });
    const auto answer = feeder_->query([](Store&) { return Result<int>(1); }, {}, yield);
    told += !answer.ok() && answer.error().code() == ErrorCode::kShuttingDown ? 1 : 0;
  });
  io_.run();
  EXPECT_EQ(told, 1);
}

TEST_F(FeederTest, ItMayGoBeforeTheJournal) {
  open();
  run([&](const base::Yield& yield) { append(numbers(1, 10), yield); });
  feeder_.reset();
  run([&](const base::Yield& yield) { append(numbers(11, 20), yield); });
  close();
  open();
  run([&](const base::Yield& yield) { must(flush(yield)); });
  EXPECT_EQ(applied(), appended_);
}

// Everything at once: a store on disk, records faster than it takes them, queries in between, and restarts.
TEST_F(FeederTest, ARealStoreGetsEveryRecordOverManyRestarts) {
  History history;
  fill(history, 7, 8000);
  std::size_t next = 0;
  for (std::size_t round = 0; round < 8; ++round) {
    open_journal();
    open({.max_copied_bytes = 10'000, .apply_every_ms = 2, .max_transaction_bytes = 5'000},
         must(sqlite::open_store({.folder = folder_.path() / "store"})));
    bool asking = true;
    base::spawn(io_, "queries", [&](const base::Yield& yield) {
      while (asking) {
        must(feeder_->query([](Store& store) { return store.receipts({.limit = 3}); }, {}, yield));
      }
    });
    run([&](const base::Yield& yield) {
      for (std::uint64_t last = 0; next < history.all().size() * (round + 1) / 8; ++next) {
        const audit::Record& record = history.all()[next];
        last = must(journal_->append(record.type, record.payload, audit::Urgency::kQuiet));
        if (next % 50 == 0) must(journal_->synced(last, {}, yield));
      }
      if (round % 3 == 2) must(flush(yield));
      asking = false;
    });
    if (round % 2 == 0) {
      feeder_.reset();
    }
    close();
  }
  open({}, must(sqlite::open_store({.folder = folder_.path() / "store"})));
  test::TemporaryFolder other;
  auto direct = must(sqlite::open_store({.folder = other.path()}));
  must(direct->use_journal("another", 1));
  must(direct->apply(history.all()));
  must(direct->resolve_unknown(0));
  run([&](const base::Yield& yield) {
    must(flush(yield));
    const auto found =
        must(feeder_->query([](Store& store) { return store.costs(CostsBy::kModel, 0, kDay * 2); }, {}, yield));
    const auto expected = must(direct->costs(CostsBy::kModel, 0, kDay * 2));
    EXPECT_TRUE(found.rows == expected.rows);
    const auto page = must(feeder_->query([](Store& store) { return store.receipts({.limit = 1000}); }, {}, yield));
    EXPECT_TRUE(page == must(direct->receipts({.limit = 1000})));
  });
  EXPECT_EQ(feeder_->status().applied_sequence, history.all().size());
}

}  // namespace
}  // namespace shoal::store
