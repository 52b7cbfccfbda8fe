// The journal on disk, without threads: what is written is found again, in order and once; what is damaged is named,
// and never changed; what was torn is cut off, and never comes back.
#include "shoal/audit/segments.h"

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "shoal/audit/crc32c.h"

#include "sim_disk.h"

namespace shoal::audit {
namespace {

using Texts = std::vector<std::string>;

const std::filesystem::path kFolder = "/journal";
constexpr std::uint64_t kSmall = kMinSegmentBytes;

SegmentsOptions small() {
  return {.folder = kFolder, .segment_bytes = kSmall};
}

std::filesystem::path segment(std::uint64_t number) {
  return kFolder / segment_name(number);
}

// Records of type 1 as one batch, which begin with `sequence`.
std::string batch(std::uint64_t sequence, const Texts& texts) {
  std::string frames;
  for (const std::string& text : texts) append_frame(frames, sequence++, 1, text);
  return frames;
}

class SegmentsTest : public ::testing::Test {
 protected:
  std::unique_ptr<Segments> open(SegmentsOptions options = small()) {
    auto opened = Segments::open(disk_, std::move(options));
    EXPECT_TRUE(opened.ok()) << opened.error().message();
    return opened.ok() ? *std::move(opened) : nullptr;
  }
  Error open_error(SegmentsOptions options = small()) {
    const auto opened = Segments::open(disk_, std::move(options));
    return opened.ok() ? Error(ErrorCode::kInternal, "it opens") : opened.error();
  }
  // Writes each text as a batch of its own.
  void write(Segments& segments, const Texts& texts) {
    for (const std::string& text : texts) write_batch(segments, {text});
  }
  void write_batch(Segments& segments, const Texts& texts) {
    std::string frames = batch(written_.size() + 1, texts);
    ASSERT_TRUE(segments.write(frames).ok());
    written_.insert(written_.end(), texts.begin(), texts.end());
  }
  // What a reader gets, from `from` to the last.
  Texts read(std::uint64_t up_to, std::uint64_t from = 0) {
    Texts texts;
    std::uint64_t expected = from == 0 ? 1 : from;
    const auto result = read_records(disk_, kFolder, from, up_to, [&](const Record& record) -> Result<void> {
      EXPECT_EQ(record.sequence, expected++);
      EXPECT_EQ(record.type, 1);
      texts.emplace_back(record.payload);
      return {};
    });
    EXPECT_TRUE(result.ok()) << result.error().message();
    return texts;
  }

  SimDisk disk_;
  Texts written_;
};

TEST_F(SegmentsTest, AnEmptyFolderBecomesAJournal) {
  const auto segments = open();
  EXPECT_EQ(segments->recovery().first_sequence, 1U);
  EXPECT_EQ(segments->recovery().next_sequence, 1U);
  EXPECT_EQ(segments->recovery().journal_id.size(), kJournalIdBytes);
  EXPECT_EQ(disk_.files().size(), 1U);
  EXPECT_EQ(disk_.bytes_of(segment(1)).size(), kSmall);
  EXPECT_TRUE(read(0).empty());
}

TEST_F(SegmentsTest, RecordsAreFoundAgainWithTheirBytes) {
  const std::string all = [] {
    std::string bytes;
    for (int c = 0; c < 256; ++c) bytes += static_cast<char>(c);
    return bytes;
  }();
  {
    const auto segments = open();
    write_batch(*segments, {"one", "", all});
    write_batch(*segments, {"four"});
  }
  const auto again = open();
  EXPECT_EQ(again->recovery().next_sequence, 5U);
  EXPECT_EQ(again->recovery().cut_bytes, 0U);
  EXPECT_EQ(read(4), (Texts{"one", "", all, "four"}));
  EXPECT_EQ(read(3, 2), (Texts{"", all}));
}

TEST_F(SegmentsTest, ABatchThatDoesNotFitGoesOnInTheNextSegment) {
  const std::string large(900, 'x');
  std::string id;
  {
    const auto segments = open();
    id = segments->recovery().journal_id;
    write_batch(*segments, {large + "1", large + "2", large + "3", large + "4", large + "5", large + "6", large + "7"});
    write(*segments, {"last"});
  }
  EXPECT_TRUE(disk_.files().contains(segment(3).string()));
  const auto again = open();
  EXPECT_EQ(again->recovery().segments, 3U);
  EXPECT_EQ(again->recovery().journal_id, id);
  EXPECT_EQ(read(8), written_);
  EXPECT_EQ(read(8, 4), (Texts{large + "4", large + "5", large + "6", large + "7", "last"}));
  EXPECT_EQ(read(4, 4), (Texts{large + "4"}));
}

TEST_F(SegmentsTest, OneBatchIsOneSync) {
  const auto segments = open();
  const auto before = disk_.counts();
  write_batch(*segments, {"a", "b", "c"});
  EXPECT_EQ(disk_.counts().syncs, before.syncs + 1);
  EXPECT_EQ(disk_.counts().writes, before.writes + 1);
}

// Zeroes are written, not only asked for: the file has its size and all its blocks before it is used.
TEST_F(SegmentsTest, TheNextSegmentIsReadyBeforeItIsNeeded) {
  const auto segments = open();
  EXPECT_TRUE(segments->wants_to_prepare(true));
  ASSERT_TRUE(segments->prepare().ok());
  EXPECT_FALSE(segments->wants_to_prepare(true));
  EXPECT_EQ(disk_.bytes_of(segment(2)), std::string(kSmall, '\0'));
  const auto before = disk_.counts();
  write_batch(*segments, {std::string(3000, 'x'), std::string(3000, 'y')});
  // The first record, the head of the next segment and its name, the second record.
  EXPECT_EQ(disk_.counts().syncs, before.syncs + 4);
  EXPECT_EQ(read(2), written_);
}

TEST_F(SegmentsTest, PreparingIsSpreadOverTheFirstHalfOfASegment) {
  SegmentsOptions options = small();
  options.segment_bytes = std::uint64_t{4} << 20;
  const auto segments = open(options);
  int prepared = 0;
  while (segments->wants_to_prepare(false)) {
    ASSERT_TRUE(segments->prepare().ok());
    ++prepared;
  }
  EXPECT_EQ(prepared, 1);  // for the head; the rest with the records
  std::uint64_t bytes = 0;
  while (bytes < options.segment_bytes / 2) {
    write(*segments, {std::string(60'000, 'x')});
    bytes += 60'000;
    int now = 0;
    while (segments->wants_to_prepare(false)) {
      ASSERT_TRUE(segments->prepare().ok());
      ++now;
    }
    EXPECT_LE(now, 1);
  }
  EXPECT_FALSE(segments->wants_to_prepare(true));
  EXPECT_EQ(disk_.bytes_of(segment(2)).size(), options.segment_bytes);
}

TEST_F(SegmentsTest, APreparedSegmentIsUsedByTheNextServer) {
  {
    const auto segments = open();
    write(*segments, {"a"});
    ASSERT_TRUE(segments->prepare().ok());
  }
  const auto again = open();
  EXPECT_EQ(again->recovery().segments, 1U);
  EXPECT_FALSE(again->wants_to_prepare(true));
  write(*again, {std::string(3000, 'b'), std::string(3000, 'c')});
  EXPECT_EQ(read(3), written_);
}

TEST_F(SegmentsTest, AnotherSizeCountsFromTheNextSegmentOn) {
  {
    const auto segments = open();
    write(*segments, {"a"});
    ASSERT_TRUE(segments->prepare().ok());
  }
  SegmentsOptions larger = small();
  larger.segment_bytes = 3 * kSmall;
  {
    const auto segments = open(larger);
    write(*segments, {std::string(2 * kSmall, 'b')});
    EXPECT_EQ(disk_.bytes_of(segment(3)).size(), 3 * kSmall);
  }
  EXPECT_EQ(open()->recovery().next_sequence, 3U);
  EXPECT_EQ(read(2), written_);
}

TEST_F(SegmentsTest, AFolderHasOneServer) {
  const auto first = open();
  EXPECT_EQ(open_error().code(), ErrorCode::kIo);
}

TEST_F(SegmentsTest, RefusesSizesThatMakeNoSense) {
  SegmentsOptions options = small();
  options.segment_bytes = kMinSegmentBytes - 1;
  EXPECT_EQ(open_error(options).code(), ErrorCode::kInvalidConfig);
  options.segment_bytes = kMaxSegmentBytes + 1;
  EXPECT_EQ(open_error(options).code(), ErrorCode::kInvalidConfig);
}

TEST_F(SegmentsTest, ShortWritesAreFinished) {
  const auto segments = open();
  disk_.set_faults({.short_writes = true});
  write_batch(*segments, {std::string(1000, 'x'), std::string(3000, 'y')});
  disk_.cut_power();
  disk_.power_on();
  open();
  EXPECT_EQ(read(2), written_);
}

// The first sector of a batch is lost, a later one is not.
TEST_F(SegmentsTest, ATornBatchIsCutOffAndNeverComesBack) {
  {
    const auto segments = open();
    write(*segments, {"kept"});
    write_batch(*segments, {std::string(600, 'x'), "torn", std::string(600, 'y'), "torn too"});
  }
  std::string bytes = disk_.bytes_of(segment(1));
  const std::size_t torn = kSegmentHeadBytes + 2 * kFrameHeadBytes + 4 + 10;
  bytes.replace(torn, 100, 100, '\0');
  disk_.set_bytes(segment(1), bytes);
  written_ = {"kept"};
  {
    const auto segments = open();
    EXPECT_EQ(segments->recovery().next_sequence, 2U);
    EXPECT_EQ(segments->recovery().cut_file, segment(1).string());
    EXPECT_EQ(segments->recovery().cut_offset, kSegmentHeadBytes + kFrameHeadBytes + 4);
    EXPECT_EQ(segments->recovery().cut_records, 3U);
    EXPECT_EQ(segments->recovery().cut_bytes, 4 * kFrameHeadBytes + 600 + 4 + 600 + 8);
    // As long as what was lost: what was torn now stands where the next record would.
    write(*segments, {std::string(600, 'z')});
  }
  EXPECT_EQ(disk_.bytes_of(segment(1)), bytes);  // evidence
  const auto again = open();
  EXPECT_EQ(again->recovery().next_sequence, 3U);
  EXPECT_EQ(again->recovery().cut_bytes, 0U);
  EXPECT_EQ(read(2), written_);
}

// Whoever can choose what is in a payload cannot make a journal that only lost its last batch look damaged, nor add
// records to it.
TEST_F(SegmentsTest, AFrameInsideAPayloadIsNone) {
  std::string forged = batch(1000, {"forged"});
  FrameCodec({.number = 1, .first_sequence = 1, .bytes = kSmall, .journal_id = std::string(kJournalIdBytes, 'x')})
      .seal(forged.data(), 0);
  {
    const auto segments = open();
    write(*segments, {"kept"});
    write_batch(*segments, {"torn" + forged});
  }
  std::string bytes = disk_.bytes_of(segment(1));
  bytes[kSegmentHeadBytes + 2 * kFrameHeadBytes + 4] ^= 1;
  disk_.set_bytes(segment(1), bytes);
  const auto segments = open();
  EXPECT_EQ(segments->recovery().next_sequence, 2U);
  EXPECT_EQ(segments->recovery().cut_records, 0U);
}

// A record of a later batch: what is bad was on disk before that was written.
TEST_F(SegmentsTest, ABadRecordBeforeALaterBatchIsDamageAndNothingIsWritten) {
  {
    const auto segments = open();
    write_batch(*segments, {"one", "two"});
    write_batch(*segments, {"three"});
  }
  std::string bytes = disk_.bytes_of(segment(1));
  const std::size_t second = kSegmentHeadBytes + kFrameHeadBytes + 3;
  bytes[second + kFrameHeadBytes] ^= 1;
  disk_.set_bytes(segment(1), bytes);
  const auto files = disk_.files();
  const std::uint64_t writes = disk_.counts().writes;
  const Error error = open_error();
  EXPECT_EQ(error.code(), ErrorCode::kJournalDamaged);
  EXPECT_NE(error.message().find(segment(1).string()), std::string::npos) << error.message();
  EXPECT_NE(error.message().find("byte " + std::to_string(second)), std::string::npos) << error.message();
  EXPECT_EQ(disk_.files(), files);
  EXPECT_EQ(disk_.counts().writes, writes);
  Texts readable;
  const auto read = read_records(disk_, kFolder, 0, 3, [&](const Record& record) -> Result<void> {
    readable.emplace_back(record.payload);
    return {};
  });
  EXPECT_EQ(read.error().code(), ErrorCode::kJournalDamaged);
  EXPECT_EQ(readable, Texts{"one"});
}

TEST_F(SegmentsTest, AnOldSegmentIsCheckedUnlessItWasBefore) {
  {
    const auto segments = open();
    write(*segments, {std::string(3000, 'a'), std::string(3000, 'b'), std::string(3000, 'c')});
  }
  std::string bytes = disk_.bytes_of(segment(1));
  bytes[1000] ^= 1;
  disk_.set_bytes(segment(1), bytes);
  EXPECT_EQ(open_error().code(), ErrorCode::kJournalDamaged);
  SegmentsOptions options = small();
  options.checked_before = 1;
  EXPECT_EQ(open_error(options).code(), ErrorCode::kJournalDamaged);
  options.checked_before = 2;  // the first segment has record 1 alone
  EXPECT_EQ(open(options)->recovery().next_sequence, 4U);
  options.checked_before = 1000;
  EXPECT_EQ(open(options)->recovery().next_sequence, 4U);
  // The last one always is.
  bytes = disk_.bytes_of(segment(3));
  bytes[1000] ^= 1;
  disk_.set_bytes(segment(3), bytes);
  EXPECT_EQ(open(options)->recovery().next_sequence, 3U);
}

TEST_F(SegmentsTest, FilesThatDoNotBelongTogetherAreDamage) {
  {
    const auto segments = open();
    write(*segments, {std::string(3000, 'a'), std::string(3000, 'b'), std::string(3000, 'c'), "d"});
    ASSERT_TRUE(segments->prepare().ok());
  }
  const auto good = disk_.files();
  const auto expect_damaged = [&](const std::function<void()>& change) {
    disk_.restore(good);
    change();
    const Error error = open_error();
    EXPECT_EQ(error.code(), ErrorCode::kJournalDamaged) << error.message();
    return error.message();
  };
  // The first may go: it was archived.
  disk_.erase(segment(1));
  EXPECT_EQ(open()->recovery().first_sequence, 2U);
  EXPECT_EQ(read_records(disk_, kFolder, 1, 4, {}).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(read(4, 2).size(), 3U);

  EXPECT_NE(expect_damaged([&] { disk_.erase(segment(2)); }).find(segment(2).string()), std::string::npos);
  expect_damaged([&] {
    for (const int number : {1, 2, 3}) disk_.erase(segment(static_cast<std::uint64_t>(number)));
  });
  EXPECT_NE(expect_damaged([&] { disk_.set_bytes(segment(2), disk_.bytes_of(segment(3))); }).find("is segment 3"),
            std::string::npos);
  expect_damaged([&] { disk_.set_bytes(segment(3), std::string(kSmall, '\0')); });  // the prepared one follows
  expect_damaged([&] { disk_.set_bytes(segment(4), std::string(kSmall - 1, '\0') + "x"); });
  expect_damaged([&] { disk_.set_bytes(segment(4), std::string(100, '\0')); });
  expect_damaged([&] { disk_.set_bytes(segment(3), disk_.bytes_of(segment(3)) + "x"); });
  // Of another journal that looks the same.
  SimDisk other;
  {
    auto opened = Segments::open(other, small());
    for (std::uint64_t i = 0; i < written_.size(); ++i) {
      std::string frames = batch(i + 1, {written_[i]});
      ASSERT_TRUE((*opened)->write(frames).ok());
    }
  }
  const std::string message = expect_damaged([&] { disk_.set_bytes(segment(2), other.bytes_of(segment(2))); });
  EXPECT_NE(message.find("another journal"), std::string::npos) << message;
}

// Power was cut while the first segment was made.
TEST_F(SegmentsTest, APreparedSegmentAloneIsAnEmptyJournal) {
  disk_.set_bytes(segment(1), std::string(kSmall, '\0'));
  disk_.set_bytes(kFolder / "next.tmp", "rest");
  disk_.set_bytes(kFolder / "notes.txt", "of the operator");
  const auto segments = open();
  EXPECT_EQ(segments->recovery().next_sequence, 1U);
  write(*segments, {"a"});
  EXPECT_EQ(read(1), written_);
  EXPECT_EQ(disk_.bytes_of(kFolder / "notes.txt"), "of the operator");
}

TEST_F(SegmentsTest, ALaterVersionIsNamedAndLeftAlone) {
  {
    const auto segments = open();
    write(*segments, {"a"});
  }
  std::string bytes = disk_.bytes_of(segment(1));
  bytes[8] = 2;
  const std::string_view head = std::string_view(bytes).substr(0, kSegmentHeadBytes);
  const std::uint32_t sum = crc32c(crc32c(0, head.substr(0, 12)), head.substr(16));
  std::memcpy(bytes.data() + 12, &sum, sizeof sum);
  disk_.set_bytes(segment(1), bytes);
  const Error error = open_error();
  EXPECT_EQ(error.code(), ErrorCode::kUnimplemented) << error.message();
  EXPECT_NE(error.message().find("version 2"), std::string::npos) << error.message();
  EXPECT_EQ(disk_.bytes_of(segment(1)), bytes);
}

TEST_F(SegmentsTest, TheReaderMayEndTheReading) {
  const auto segments = open();
  write(*segments, {"a", "b", "c"});
  int seen = 0;
  const auto result = read_records(disk_, kFolder, 0, 3, [&](const Record&) -> Result<void> {
    if (++seen == 2) return Error(ErrorCode::kCancelled, "enough");
    return {};
  });
  EXPECT_EQ(result.error().code(), ErrorCode::kCancelled);
  EXPECT_EQ(seen, 2);
}

TEST_F(SegmentsTest, AFullDiskCountsOnlyWhenThePreparedSegmentIsNeeded) {
  const auto segments = open();
  disk_.set_faults({.room_bytes = kSmall});
  EXPECT_TRUE(segments->wants_to_prepare(true));
  EXPECT_EQ(segments->prepare().error().code(), ErrorCode::kIo);
  EXPECT_FALSE(segments->wants_to_prepare(true));  // until there are some more records
  EXPECT_EQ(disk_.files().size(), 1U);             // what was begun is gone
  write(*segments, {std::string(600, 'a')});
  EXPECT_TRUE(segments->wants_to_prepare(true));
  EXPECT_FALSE(segments->prepare().ok());
  disk_.set_faults({});
  write(*segments, {std::string(2500, 'b')});
  EXPECT_TRUE(segments->wants_to_prepare(false));
  EXPECT_TRUE(segments->prepare().ok());
  write(*segments, {std::string(2500, 'c')});

  disk_.set_faults({.room_bytes = 2 * kSmall});
  EXPECT_FALSE(segments->prepare().ok());
  std::string frames = batch(4, {std::string(2500, 'd')});
  const auto full = segments->write(frames);
  EXPECT_EQ(full.error().code(), ErrorCode::kIo);
  EXPECT_EQ(read(3), written_);
}

// A sync fails, the server ends; the kernel still shows what the disk does not have, and calls it written. The next
// server takes it for records: then it must be on disk.
TEST_F(SegmentsTest, WhatAFailedSyncLeftInTheKernelIsWrittenAgain) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SimDisk disk(seed);
    {
      auto segments = *Segments::open(disk, small());
      std::string kept = batch(1, {std::string(700, 'k')});
      ASSERT_TRUE(segments->write(kept).ok());
      disk.set_faults({.sync_in = 1});
      std::string lost = batch(2, {std::string(600, 'x'), std::string(600, 'y')});
      ASSERT_FALSE(segments->write(lost).ok());
      disk.set_faults({});
    }
    const bool more = seed % 2 == 0;  // or the power is cut at once
    {
      const auto segments = *Segments::open(disk, small());
      EXPECT_EQ(segments->recovery().next_sequence, 4U);
      std::string frames = batch(4, {"more"});
      ASSERT_TRUE(!more || segments->write(frames).ok());
    }
    disk.cut_power();
    disk.power_on();
    const auto opened = Segments::open(disk, small());
    ASSERT_TRUE(opened.ok()) << "seed " << seed << ": " << opened.error().message();
    EXPECT_EQ((*opened)->recovery().next_sequence, more ? 5U : 4U) << "seed " << seed;
  }
}

// The same for the head of a segment.
TEST_F(SegmentsTest, TheHeadOfASegmentIsWrittenAgainToo) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SimDisk disk(seed);
    {
      auto segments = *Segments::open(disk, small());
      std::string kept = batch(1, {std::string(3000, 'k')});
      ASSERT_TRUE(segments->write(kept).ok());
      ASSERT_TRUE(segments->prepare().ok());
      disk.set_faults({.sync_in = 1});
      std::string lost = batch(2, {std::string(3000, 'x')});
      ASSERT_FALSE(segments->write(lost).ok());
      disk.set_faults({});
    }
    {
      const auto segments = *Segments::open(disk, small());
      std::string more = batch(segments->recovery().next_sequence, {"more"});
      ASSERT_TRUE(segments->write(more).ok());
    }
    disk.cut_power();
    disk.power_on();
    const auto opened = Segments::open(disk, small());
    ASSERT_TRUE(opened.ok()) << "seed " << seed << ": " << opened.error().message();
    EXPECT_EQ((*opened)->recovery().next_sequence, 3U) << "seed " << seed;
  }
}

}  // namespace
}  // namespace shoal::audit
