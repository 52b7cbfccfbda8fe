// Nothing gets a permit before its intent is on disk, and some things never get one.
#include "shoal/egress/gate.h"

#include <atomic>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

namespace shoal::egress {
namespace {

using testing::HasSubstr;

// The machine's disk, whose syncs can be made to fail.
class FailingDisk final : public audit::Disk {
 public:
  std::atomic<bool> fails = false;  // the writer's thread reads it

  Result<std::unique_ptr<audit::File>> open(const std::filesystem::path& path, audit::OpenMode mode) override {
    return std::unique_ptr<audit::File>(std::make_unique<Failing>(*this, SHOAL_TRY(real_.open(path, mode))));
  }
  Result<void> rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    return real_.rename(from, to);
  }
  Result<void> remove(const std::filesystem::path& path) override { return real_.remove(path); }
  Result<std::vector<std::string>> list(const std::filesystem::path& folder) override { return real_.list(folder); }
  Result<void> make_folder(const std::filesystem::path& folder) override { return real_.make_folder(folder); }
  Result<void> sync_folder(const std::filesystem::path& folder) override { return real_.sync_folder(folder); }
  Result<std::unique_ptr<audit::FolderLock>> lock_folder(const std::filesystem::path& folder) override {
    return real_.lock_folder(folder);
  }

 private:
  struct Failing final : audit::File {
    Failing(FailingDisk& of, std::unique_ptr<audit::File> real) : disk(of), file(std::move(real)) {}
    Result<std::size_t> read_at(std::uint64_t offset, std::span<char> into) override {
      return file->read_at(offset, into);
    }
    Result<std::size_t> write_at(std::uint64_t offset, std::string_view bytes) override {
      return file->write_at(offset, bytes);
    }
    Result<void> sync() override {
      if (disk.fails) return Error(ErrorCode::kIo, "the disk is gone");
      return file->sync();
    }
    Result<std::uint64_t> size() override { return file->size(); }
    FailingDisk& disk;
    std::unique_ptr<audit::File> file;
  };
  audit::RealDisk real_;
};

class GateTest : public testing::Test {
 protected:
  void SetUp() override {
    audit::JournalOptions options;
    options.segments.folder = folder_;
    options.segments.segment_bytes = 65'536;
    auto opened = audit::Journal::open(io.get_executor(), clock, disk, std::move(options));
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    journal = std::move(opened).value();
  }
  void TearDown() override {
    journal.reset();
    std::filesystem::remove_all(folder_);
  }
  static Departure departure() {
    Departure out;
    out.intent.attempt = "a-1";
    out.intent.request = "a";
    out.intent.provider = "openai";
    out.intent.model = "gpt";
    out.intent.purpose = "answer";
    out.intent.reserved_pico = 12'345;
    out.intent.price = "openai/gpt@2026-01-01";
    out.body = "what leaves";
    return out;
  }
  Result<EgressPermit> seal(Gate& gate, Departure what, std::int64_t within_ms = 5'000) {
    std::optional<Result<EgressPermit>> out;
    base::spawn(io, "test", [&](base::Yield yield) {
      out.emplace(gate.seal(std::move(what), base::Deadline::after_ms(clock, within_ms), yield));
    });
    io.restart();
    while (!out) io.run_one();
    return *std::move(out);
  }
  // The records that are on disk.
  std::vector<std::string> written() {
    std::vector<std::string> out;
    EXPECT_TRUE(journal
                    ->read(0,
                           [&](const audit::Record& record) -> Result<void> {
                             out.emplace_back(record.payload);
                             return {};
                           })
                    .ok());
    return out;
  }

  base::asio::io_context io{1};
  base::SystemClock clock;
  FailingDisk disk;
  std::unique_ptr<audit::Journal> journal;

 private:
  const std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) / ("gate_" + std::to_string(::getpid()));
};

TEST_F(GateTest, TheIntentIsOnDiskBeforeThereIsAPermit) {
  Gate gate(journal.get(), clock, true);
  const auto permit = seal(gate, departure());
  ASSERT_TRUE(permit.ok()) << permit.error().message();
  EXPECT_EQ(permit->body(), "what leaves");
  EXPECT_EQ(permit->provider(), "openai");
  EXPECT_EQ(permit->attempt(), "a-1");
  const auto lines = written();
  ASSERT_EQ(lines.size(), 1U);
  const auto intent = audit::parse_intent(lines[0]);
  ASSERT_TRUE(intent.ok());
  EXPECT_EQ(intent->attempt, "a-1");
  EXPECT_EQ(intent->body_bytes, 11);
  // printf 'what leaves' | sha256sum
  EXPECT_EQ(intent->body_sha256, "8f022b19a4e73a7684a59053f169e2e2c017d0e6c2c810db167176c6baf22072");
  EXPECT_GT(intent->unix_ms, 0);
}

TEST_F(GateTest, WithoutAJournalNothingLeavesThatNeedsOne) {
  Gate gate(nullptr, clock, true);
  const auto refused = seal(gate, departure());
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kJournalFailed);
  Departure local = departure();
  local.durability = Durability::kNone;
  local.local_upstream = true;
  EXPECT_TRUE(seal(gate, std::move(local)).ok());
}

TEST_F(GateTest, AFailedSyncShutsItForGood) {
  Gate gate(journal.get(), clock, true);
  disk.fails = true;
  const auto refused = seal(gate, departure());
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kJournalFailed);
  disk.fails = false;
  EXPECT_FALSE(seal(gate, departure()).ok()) << "nobody knows what the disk kept";
}

// Its intent gets to the disk all the same, and without an outcome it would count as spent.
TEST_F(GateTest, WhatCameTooLateToLeaveIsWrittenDownAsNotSent) {
  Gate gate(journal.get(), clock, true);
  const auto late = seal(gate, departure(), 0);
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code(), ErrorCode::kDeadlineExceeded);
  ASSERT_TRUE(journal->close().ok());
  const auto lines = written();
  ASSERT_EQ(lines.size(), 2U);
  const auto outcome = audit::parse_outcome(lines[1]);
  ASSERT_TRUE(outcome.ok()) << outcome.error().message();
  EXPECT_EQ(outcome->attempt, "a-1");
  EXPECT_EQ(outcome->kind, audit::OutcomeKind::kNotSent);
}

TEST_F(GateTest, PolicyComesBeforeTheJournal) {
  Gate closed(journal.get(), clock, false);
  const auto off = seal(closed, departure());
  ASSERT_FALSE(off.ok());
  EXPECT_EQ(off.error().code(), ErrorCode::kPolicyDenied);
  EXPECT_THAT(off.error().message(), HasSubstr("egress.allowed"));

  Gate gate(journal.get(), clock, true);
  Departure secret = departure();
  secret.local_only = true;
  const auto kept = seal(gate, std::move(secret));
  ASSERT_FALSE(kept.ok());
  EXPECT_EQ(kept.error().code(), ErrorCode::kPolicyDenied);
  EXPECT_THAT(kept.error().message(), HasSubstr("local_only"));

  Departure bold = departure();
  bold.durability = Durability::kNone;
  const auto unjournaled = seal(gate, std::move(bold));
  ASSERT_FALSE(unjournaled.ok());
  EXPECT_EQ(unjournaled.error().code(), ErrorCode::kPolicyDenied);
  EXPECT_TRUE(written().empty());

  gate.allow(false);
  EXPECT_FALSE(seal(gate, departure()).ok());
  gate.allow(true);
  EXPECT_TRUE(seal(gate, departure()).ok());
}

TEST_F(GateTest, WhatBecameOfItIsWrittenAndWithStrictWaitedFor) {
  Gate gate(journal.get(), clock, true);
  audit::Outcome outcome;
  outcome.attempt = "a-1";
  outcome.kind = audit::OutcomeKind::kSettled;
  outcome.cost_pico = 7;
  EXPECT_EQ(*gate.ended(outcome, Durability::kNone), 0U);
  const auto sequence = gate.ended(outcome, Durability::kStrict);
  ASSERT_TRUE(sequence.ok());
  EXPECT_GT(*sequence, 0U);
  bool done = false;
  base::spawn(io, "test", [&](base::Yield yield) {
    EXPECT_TRUE(gate.synced(*sequence, base::Deadline::after_ms(clock, 5'000), yield).ok());
    EXPECT_TRUE(gate.synced(0, {}, yield).ok());
    done = true;
  });
  while (!done) io.run_one();
  const auto lines = written();
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(audit::parse_outcome(lines[0])->cost_pico, 7);
}

}  // namespace
}  // namespace shoal::egress
