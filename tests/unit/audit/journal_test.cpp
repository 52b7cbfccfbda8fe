// The journal with its threads: who waits, who is woken and when, what is written together, and what happens when the
// disk is slow, full or broken.
#include "shoal/audit/journal.h"

#include <atomic>
#include <future>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "shoal/audit/disk.h"

#include "sim_disk.h"
#include "support/temporary_folder.h"

namespace shoal::audit {
namespace {

using Texts = std::vector<std::string>;

const std::filesystem::path kFolder = "/journal";
constexpr std::int64_t kLongMs = 3'600'000;

JournalOptions options() {
  return {.segments = {.folder = kFolder, .segment_bytes = std::uint64_t{64} << 10},
          .quiet_ms = kLongMs,
          .max_pending_bytes = std::size_t{1} << 20};
}

class JournalTest : public ::testing::Test {
 protected:
  ~JournalTest() override { disk_.release_syncs(); }

  void open(JournalOptions with = options()) {
    with.on_failure = [this](const Error& error) { told_.push_back(error.message()); };
    auto opened = Journal::open(io_.get_executor(), clock_, disk_, with);
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    journal_ = *std::move(opened);
  }
  // Until the writer's thread has nothing to do: what fails or is held then is a record.
  void wait_until_prepared() {
    while (!journal_->stats().next_segment_ready) std::this_thread::yield();
  }
  // A coroutine; run() runs all of them to their end.
  void spawn(std::function<void(base::Yield)> body) { base::spawn(io_, "test", std::move(body)); }
  void run() {
    io_.restart();
    io_.run();
  }
  std::uint64_t append(const std::string& text, Urgency urgency = Urgency::kPrompt) {
    const auto sequence = journal_->append(7, text, urgency);
    EXPECT_TRUE(sequence.ok()) << sequence.error().message();
    return sequence.ok() ? *sequence : 0;
  }
  // The writer begins when what is ready has run. REQUIRES: no coroutine runs this.
  std::uint64_t append_and_poll(const std::string& text) {
    const std::uint64_t sequence = append(text);
    io_.restart();
    io_.poll();
    return sequence;
  }
  Result<void> synced(std::uint64_t sequence, const base::Yield& yield) {
    return journal_->synced(sequence, {}, yield);
  }
  // Appends and waits.
  void write(const std::string& text) {
    spawn([this, text](const base::Yield& yield) { EXPECT_TRUE(synced(append(text), yield).ok()); });
    run();
  }
  Texts read(std::uint64_t from = 0) {
    Texts texts;
    const auto result = journal_->read(from, [&](const Record& record) -> Result<void> {
      EXPECT_EQ(record.type, 7);
      texts.emplace_back(record.payload);
      return {};
    });
    EXPECT_TRUE(result.ok()) << result.error().message();
    return texts;
  }
  static ErrorCode code_of(const Result<void>& result) {
    return result.ok() ? ErrorCode::kInternal : result.error().code();
  }

  SimDisk disk_;
  base::SystemClock clock_;
  boost::asio::io_context io_{1};
  std::vector<std::string> told_;  // by on_failure, before the journal has ended
  std::unique_ptr<Journal> journal_;
};

TEST_F(JournalTest, WhatIsSyncedOutlivesAPowerCut) {
  open();
  EXPECT_EQ(journal_->stats().synced_sequence, 0U);
  write("one");
  write("two");
  EXPECT_EQ(journal_->stats().synced_sequence, 2U);
  disk_.cut_power();
  journal_.reset();
  disk_.power_on();
  open();
  EXPECT_EQ(journal_->recovery().next_sequence, 3U);
  EXPECT_EQ(read(), (Texts{"one", "two"}));
  EXPECT_EQ(read(2), Texts{"two"});
  write("three");
  EXPECT_EQ(read(), (Texts{"one", "two", "three"}));
}

TEST_F(JournalTest, WhatIsOnDiskIsNotWaitedFor) {
  open();
  write("one");
  bool resumed_at_once = false;
  spawn([&](const base::Yield& yield) {
    bool others_ran = false;
    boost::asio::post(io_, [&] { others_ran = true; });
    EXPECT_TRUE(synced(1, yield).ok());
    resumed_at_once = !others_ran;
    boost::asio::post(io_, yield);
  });
  run();
  EXPECT_TRUE(resumed_at_once);
}

// Whatever comes while the disk is busy is one batch, one sync, one waking.
TEST_F(JournalTest, WhatComesDuringASyncIsOneBatch) {
  open();
  wait_until_prepared();
  disk_.hold_syncs();
  int woken = 0;
  int rounds = 0;
  int last_round = -1;
  spawn([&](const base::Yield& yield) { EXPECT_TRUE(synced(append("first"), yield).ok()); });
  io_.restart();
  io_.poll();
  disk_.wait_for_held_sync();
  const SimCounts before = disk_.counts();
  for (int i = 0; i < 50; ++i) {
    spawn([&](const base::Yield& yield) {
      EXPECT_TRUE(synced(append("later"), yield).ok());
      ++woken;
      if (last_round != rounds) last_round = rounds;
    });
  }
  io_.poll();
  disk_.release_syncs();
  while (woken < 50) {
    ++rounds;
    io_.run_one();
  }
  EXPECT_EQ(disk_.counts().syncs, before.syncs + 1);
  EXPECT_EQ(disk_.counts().writes, before.writes + 1);
  EXPECT_EQ(journal_->stats().batches, 2U);
  EXPECT_EQ(read().size(), 51U);
  // The first waking may have served the first waiter alone; not one for each.
  EXPECT_LE(rounds, 3);
}

TEST_F(JournalTest, OneSyncIsForAllThatAreReady) {
  open();
  for (int i = 0; i < 20; ++i) {
    spawn([&](const base::Yield& yield) {
      const std::uint64_t sequence = append("x");
      std::this_thread::sleep_for(std::chrono::milliseconds(1));  // the writer could begin
      EXPECT_TRUE(synced(sequence, yield).ok());
    });
  }
  run();
  EXPECT_EQ(journal_->stats().batches, 1U);
  EXPECT_EQ(read().size(), 20U);
}

// One hour is what quiet ones wait here.
TEST_F(JournalTest, AQuietRecordIsWrittenWithTheNextPromptOne) {
  open();
  for (int i = 0; i < 20; ++i) append("quiet", Urgency::kQuiet);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(journal_->stats().batches, 0U);
  write("prompt");
  EXPECT_EQ(journal_->stats().batches, 1U);
  EXPECT_EQ(read().size(), 21U);
}

TEST_F(JournalTest, AQuietRecordAloneIsWrittenSoon) {
  JournalOptions soon = options();
  soon.quiet_ms = 5;
  open(soon);
  for (int i = 1; i <= 3; ++i) {
    append("quiet", Urgency::kQuiet);
    while (journal_->stats().synced_sequence < static_cast<std::uint64_t>(i)) std::this_thread::yield();
  }
  EXPECT_EQ(read().size(), 3U);
}

TEST_F(JournalTest, AQuietRecordThatIsWaitedForIsPrompt) {
  open();
  const std::uint64_t first = append("quiet", Urgency::kQuiet);
  append("quiet", Urgency::kQuiet);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));  // the writer naps
  spawn([&](const base::Yield& yield) { EXPECT_TRUE(synced(first, yield).ok()); });
  run();
  EXPECT_EQ(read().size(), 2U);
}

// Waiting for what is being written already does not write early what is quiet and came later.
TEST_F(JournalTest, OnlyWhatIsWaitedForBecomesPrompt) {
  open();
  wait_until_prepared();
  disk_.hold_syncs();
  const std::uint64_t first = append_and_poll("prompt");
  disk_.wait_for_held_sync();
  append("quiet", Urgency::kQuiet);
  spawn([&](const base::Yield& yield) { EXPECT_TRUE(synced(first, yield).ok()); });
  io_.poll();
  disk_.release_syncs();
  run();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(journal_->stats().synced_sequence, 1U);
}

TEST_F(JournalTest, WhatTheDiskCannotTakeIsRefusedUntilItCan) {
  JournalOptions little = options();
  little.max_pending_bytes = 3000;
  open(little);
  wait_until_prepared();
  disk_.hold_syncs();
  const std::string text(1000 - kFrameHeadBytes, 'x');
  append_and_poll(text);
  disk_.wait_for_held_sync();
  append(text);
  const std::uint64_t last = append(text);
  for (int i = 0; i < 3; ++i) {
    const auto refused = journal_->append(7, "y", Urgency::kPrompt);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code(), ErrorCode::kOverloaded);
  }
  EXPECT_EQ(journal_->stats().pending_bytes, 3000U);
  disk_.release_syncs();
  spawn([&](const base::Yield& yield) {
    EXPECT_TRUE(synced(last, yield).ok());
    EXPECT_EQ(append("z"), last + 1);  // a refused one has no number
    EXPECT_TRUE(synced(last + 1, yield).ok());
  });
  run();
  EXPECT_EQ(read().size(), 4U);
}

TEST_F(JournalTest, ARecordHasALimit) {
  JournalOptions with = options();
  with.segments.segment_bytes = std::uint64_t{4} << 20;
  with.max_pending_bytes = std::size_t{8} << 20;
  open(with);
  const auto refused = journal_->append(7, std::string(kMaxPayloadBytes + 1, 'x'), Urgency::kPrompt);
  EXPECT_EQ(refused.error().code(), ErrorCode::kPayloadTooLarge);
  write(std::string(kMaxPayloadBytes, 'x'));
  EXPECT_EQ(read(), Texts{std::string(kMaxPayloadBytes, 'x')});

  journal_.reset();
  disk_.restore({});
  open();  // with segments of 64 KiB
  const std::size_t most = (std::size_t{64} << 10) - kSegmentHeadBytes - kFrameHeadBytes;
  EXPECT_EQ(journal_->append(7, std::string(most + 1, 'x'), Urgency::kPrompt).error().code(),
            ErrorCode::kPayloadTooLarge);
  write("before");
  write(std::string(most, 'x'));
  EXPECT_EQ(read(2), Texts{std::string(most, 'x')});
}

TEST_F(JournalTest, EachWaiterHasADeadlineOfItsOwn) {
  open();
  wait_until_prepared();
  disk_.hold_syncs();
  Texts order;
  const auto wait = [&](const std::string& name, std::int64_t ms, ErrorCode expected) {
    spawn([this, &order, name, ms, expected](const base::Yield& yield) {
      const auto deadline = ms < 0 ? base::Deadline() : base::Deadline::after_ms(clock_, ms);
      const auto result = journal_->synced(append(name), deadline, yield);
      EXPECT_EQ(code_of(result), expected) << name;
      order.push_back(name);
      if (name == "250 ms") disk_.release_syncs();
    });
  };
  // In the order of their deadlines: on a machine that stands still they may all have passed when it goes on.
  wait("an hour", kLongMs, ErrorCode::kInternal);
  wait("passed", 0, ErrorCode::kDeadlineExceeded);
  wait("30 ms", 30, ErrorCode::kDeadlineExceeded);
  wait("60 ms", 60, ErrorCode::kDeadlineExceeded);
  wait("250 ms", 250, ErrorCode::kDeadlineExceeded);  // past the longest that the timer is set for
  wait("never", -1, ErrorCode::kInternal);
  run();
  EXPECT_EQ(order, (Texts{"passed", "30 ms", "60 ms", "250 ms", "an hour", "never"}));
  // Those that were late are written all the same.
  EXPECT_EQ(read().size(), 6U);
}

TEST_F(JournalTest, AFailedSyncIsTheEndAndIsNotTriedAgain) {
  for (const bool write_fails : {false, true}) {
    disk_.restore({});
    open();
    write("kept");
    wait_until_prepared();
    disk_.hold_syncs();
    Texts failed;
    const auto ask = [&](const std::string& text) {
      spawn([this, &failed, text](const base::Yield& yield) {
        const auto result = synced(append(text), yield);
        EXPECT_EQ(code_of(result), ErrorCode::kJournalFailed);
        if (!result.ok()) failed.push_back(result.error().message());
      });
    };
    if (write_fails) {
      disk_.release_syncs();
      disk_.set_faults({.write_in = 1});
    } else {
      disk_.set_faults({.sync_in = 1});
    }
    ask("in the batch");
    io_.restart();
    io_.poll();
    if (!write_fails) disk_.wait_for_held_sync();
    if (!write_fails) ask("in the next");
    io_.poll();
    disk_.release_syncs();
    run();
    EXPECT_EQ(failed.size(), write_fails ? 1U : 2U);
    EXPECT_NE(failed.front().find("simulated"), std::string::npos) << failed.front();
    EXPECT_TRUE(journal_->poisoned());
    ASSERT_EQ(told_.size(), 1U) << "once, for the log";
    EXPECT_NE(told_.front().find("simulated"), std::string::npos) << told_.front();
    told_.clear();

    const SimCounts before = disk_.counts();
    disk_.set_faults({});
    EXPECT_EQ(journal_->append(7, "later", Urgency::kPrompt).error().code(), ErrorCode::kJournalFailed);
    spawn([&](const base::Yield& yield) {
      EXPECT_EQ(code_of(synced(2, yield)), ErrorCode::kJournalFailed);
      EXPECT_TRUE(synced(1, yield).ok());
    });
    run();
    EXPECT_EQ(read(), Texts{"kept"});
    EXPECT_EQ(code_of(journal_->close()), ErrorCode::kJournalFailed);
    EXPECT_EQ(disk_.counts().writes, before.writes);
    journal_.reset();
    EXPECT_EQ(disk_.counts().writes, before.writes);
    // The next server goes on where the records end that it finds, which may be more than were acknowledged.
    open();
    EXPECT_FALSE(journal_->poisoned());
    const Texts found = read();
    const Texts written = {"kept", "in the batch"};
    ASSERT_LE(found.size(), 2U);
    EXPECT_EQ(found, Texts(written.begin(), written.begin() + static_cast<std::ptrdiff_t>(found.size())));
    write("goes on");
    journal_.reset();
  }
}

TEST_F(JournalTest, AFullDiskIsSaidBeforeItHurts) {
  JournalOptions with = options();
  with.segments.segment_bytes = 4096;
  disk_.set_faults({.room_bytes = 4096});
  open(with);
  write("a");
  while (journal_->stats().prepare_error.empty()) std::this_thread::yield();
  EXPECT_NE(journal_->stats().prepare_error.find("no space"), std::string::npos);
  EXPECT_FALSE(journal_->poisoned());
  disk_.set_faults({});
  write(std::string(1000, 'b'));
  while (!journal_->stats().prepare_error.empty()) std::this_thread::yield();
  write(std::string(3000, 'c'));
  EXPECT_EQ(read().size(), 3U);
  wait_until_prepared();
  disk_.set_faults({.room_bytes = 3 * 4096});
  write(std::string(3000, 'd'));
  spawn([&](const base::Yield& yield) {
    EXPECT_EQ(code_of(synced(append(std::string(3000, 'e')), yield)), ErrorCode::kJournalFailed);
  });
  run();
  EXPECT_TRUE(journal_->poisoned());
  EXPECT_EQ(read().size(), 4U);
}

TEST_F(JournalTest, TheConsumerGetsAllThatIsOnDiskInOrderAndNothingElse) {
  JournalOptions with = options();
  with.segments.segment_bytes = 4096;
  open(with);
  write("before");
  journal_->close().ignore("it is opened again");
  journal_.reset();
  open(with);
  std::mutex mutex;
  Texts consumed;
  std::vector<std::uint64_t> sequences;
  journal_->on_durable([&](std::span<const Record> records) {
    const std::lock_guard lock(mutex);
    for (const Record& record : records) {
      sequences.push_back(record.sequence);
      consumed.emplace_back(record.payload);
      EXPECT_EQ(record.type, 7);
    }
  });
  Texts sent;
  for (int i = 0; i < 8; ++i) {
    spawn([&, i](const base::Yield& yield) {
      for (int k = 0; k < 30; ++k) {
        const std::string text = std::to_string(i) + "/" + std::to_string(k) + std::string(100, 'x');
        sent.push_back(text);
        const std::uint64_t sequence = append(text, k % 3 == 0 ? Urgency::kQuiet : Urgency::kPrompt);
        if (k % 3 == 2) {
          EXPECT_TRUE(synced(sequence, yield).ok());
        }
      }
    });
  }
  run();
  ASSERT_TRUE(journal_->close().ok());
  EXPECT_EQ(consumed, sent);
  for (std::size_t i = 0; i < sequences.size(); ++i) EXPECT_EQ(sequences[i], i + 2);
  EXPECT_EQ(read(2), sent);

  journal_.reset();
  open(with);
  consumed.clear();
  journal_->on_durable([&](std::span<const Record> records) {
    for (const Record& record : records) consumed.emplace_back(record.payload);
  });
  wait_until_prepared();
  disk_.set_faults({.sync_in = 1});
  spawn([&](const base::Yield& yield) { EXPECT_FALSE(synced(append("lost"), yield).ok()); });
  run();
  journal_.reset();
  EXPECT_TRUE(consumed.empty());
}

TEST_F(JournalTest, ClosingWritesWhatIsThereAndEndsEverything) {
  open();
  std::optional<Result<void>> waited;
  append("quiet", Urgency::kQuiet);
  spawn([&](const base::Yield& yield) { waited = synced(append("prompt"), yield); });
  io_.poll();
  append("quiet too", Urgency::kQuiet);
  EXPECT_TRUE(journal_->close().ok());
  EXPECT_EQ(read().size(), 3U);
  run();
  ASSERT_TRUE(waited.has_value());
  EXPECT_TRUE(waited->ok());
  EXPECT_EQ(journal_->append(7, "late", Urgency::kPrompt).error().code(), ErrorCode::kShuttingDown);
  EXPECT_TRUE(journal_->close().ok());
  spawn([&](const base::Yield& yield) { EXPECT_TRUE(synced(3, yield).ok()); });
  run();
}

TEST_F(JournalTest, DestroyingItWritesWhatIsThereAndWakesWhoeverWaits) {
  open();
  std::optional<Result<void>> waited;
  spawn([&](const base::Yield& yield) {
    const std::uint64_t sequence = append("a", Urgency::kQuiet);
    waited = journal_->synced(sequence, base::Deadline::after_ms(clock_, kLongMs), yield);
  });
  io_.poll();
  append("b", Urgency::kQuiet);
  journal_.reset();
  run();  // ends, though the deadline is an hour away
  ASSERT_TRUE(waited.has_value());
  EXPECT_TRUE(waited->ok());
  open();
  EXPECT_EQ(read(), (Texts{"a", "b"}));
}

// Of the coroutine nothing is left: AddressSanitizer would say so.
TEST_F(JournalTest, WhoeverWaitsWhenTheLoopEndsIsUnwound) {
  struct Unwound {
    bool& flag;
    ~Unwound() { flag = true; }
  };
  bool unwound = false;
  {
    boost::asio::io_context io(1);
    auto opened = Journal::open(io.get_executor(), clock_, disk_, options());
    ASSERT_TRUE(opened.ok());
    base::spawn(io, "test", [&](const base::Yield& yield) {
      const Unwound at_the_end(unwound);
      const auto sequence = (*opened)->append(7, "a", Urgency::kQuiet);
      (*opened)->synced(*sequence, base::Deadline::after_ms(clock_, kLongMs), yield).ignore("it is unwound");
      ADD_FAILURE() << "it was resumed";
    });
    io.poll();
    while ((*opened)->stats().synced_sequence < 1) std::this_thread::yield();
    opened->reset();
    EXPECT_FALSE(unwound);
  }
  EXPECT_TRUE(unwound);
}

TEST_F(JournalTest, ReadingGoesOnWhileOthersAppend) {
  JournalOptions with = options();
  with.segments.segment_bytes = 8192;
  open(with);
  std::atomic<bool> ends = false;
  std::atomic<std::uint64_t> reads = 0;
  std::thread reader([&] {
    while (!ends || reads < 20) {
      const std::uint64_t least = journal_->stats().synced_sequence;
      std::uint64_t seen = 0;
      const auto result = journal_->read(0, [&](const Record& record) -> Result<void> {
        EXPECT_EQ(record.sequence, ++seen);
        EXPECT_TRUE(record.payload.starts_with(std::to_string(record.sequence) + " "));
        return {};
      });
      EXPECT_TRUE(result.ok()) << result.error().message();
      EXPECT_GE(seen, least);
      ++reads;
    }
  });
  spawn([&](const base::Yield& yield) {
    for (int i = 1; i <= 400; ++i) {
      const std::uint64_t sequence = append(std::to_string(i) + " " + std::string(static_cast<std::size_t>(i), 'x'));
      EXPECT_TRUE(synced(sequence, yield).ok());
    }
  });
  run();
  ends = true;
  reader.join();
}

TEST_F(JournalTest, OpeningFailsWithWhatIsWrong) {
  open();
  write("a");
  write("b");
  const auto second = Journal::open(io_.get_executor(), clock_, disk_, options());
  EXPECT_EQ(second.error().code(), ErrorCode::kIo);
  journal_.reset();
  const auto file = kFolder / segment_name(1);
  std::string bytes = disk_.bytes_of(file);
  bytes[kSegmentHeadBytes + kFrameHeadBytes] ^= 1;
  disk_.set_bytes(file, bytes);
  const auto damaged = Journal::open(io_.get_executor(), clock_, disk_, options());
  EXPECT_EQ(damaged.error().code(), ErrorCode::kJournalDamaged);
}

TEST(JournalOnDisk, WorksOnTheMachinesOwnDisk) {
  const test::TemporaryFolder folder;
  RealDisk disk;
  base::SystemClock clock;
  boost::asio::io_context io(1);
  JournalOptions with;
  with.segments.folder = folder.path() / "data" / "journal";
  with.segments.segment_bytes = std::uint64_t{128} << 10;
  std::uint64_t expected = 0;
  for (int life = 0; life < 3; ++life) {
    auto journal = Journal::open(io.get_executor(), clock, disk, with);
    ASSERT_TRUE(journal.ok()) << journal.error().message();
    EXPECT_EQ((*journal)->recovery().next_sequence, expected + 1);
    EXPECT_EQ((*journal)->recovery().cut_bytes, 0U);
    for (int i = 0; i < 4; ++i) {
      base::spawn(io, "test", [&](const base::Yield& yield) {
        for (int k = 0; k < 100; ++k) {
          const auto sequence = (*journal)->append(7, std::string(500, 'x'), Urgency::kPrompt);
          ASSERT_TRUE(sequence.ok());
          ASSERT_TRUE((*journal)->synced(*sequence, base::Deadline::after_ms(clock, kLongMs), yield).ok());
          ++expected;
        }
      });
    }
    io.restart();
    io.run();
    std::uint64_t seen = 0;
    const auto read = (*journal)->read(0, [&](const Record& record) -> Result<void> {
      EXPECT_EQ(record.sequence, ++seen);
      return {};
    });
    EXPECT_TRUE(read.ok());
    EXPECT_EQ(seen, expected);
  }
}

}  // namespace
}  // namespace shoal::audit
