// Any byte of a small journal is changed, and any file of it cut anywhere: what opens has its records in order, once,
// and as they were, and lacks none but those of the last batch; everything else says kJournalDamaged and writes
// nothing.
#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "shoal/audit/segments.h"

#include "sim_disk.h"

namespace shoal::audit {
namespace {

using Texts = std::vector<std::string>;

const std::filesystem::path kFolder = "/journal";

SegmentsOptions small() {
  return {.folder = kFolder, .segment_bytes = kMinSegmentBytes};
}

class DamageTest : public ::testing::Test {
 protected:
  // Three segments with records, batches of several and of one, and a prepared segment.
  void SetUp() override {
    auto segments = *Segments::open(disk_, small());
    const std::vector<std::size_t> batches = {1, 3, 2, 4, 1, 1, 5, 2, 3, 1, 4};
    for (const std::size_t count : batches) {
      durable_ = written_.size();
      std::string frames;
      for (std::size_t i = 0; i < count; ++i) {
        const std::uint64_t sequence = written_.size() + 1;
        written_.push_back(std::to_string(sequence) + std::string(sequence * 83 % 700, 'r'));
        append_frame(frames, sequence, 1, written_.back());
      }
      ASSERT_TRUE(segments->write(frames).ok());
    }
    ASSERT_TRUE(segments->prepare().ok());
    segments.reset();
    files_ = disk_.files();
    ASSERT_EQ(files_.size(), 4U);
  }

  // Opens the damaged journal, writes one more record and opens it again. Whether it opens.
  bool judge(const std::string& what) {
    const auto before = disk_.files();
    {
      auto opened = Segments::open(disk_, small());
      if (!opened.ok()) {
        EXPECT_EQ(opened.error().code(), ErrorCode::kJournalDamaged) << what << ": " << opened.error().message();
        EXPECT_NE(opened.error().message().find(kFolder.string()), std::string::npos) << opened.error().message();
        EXPECT_EQ(disk_.files(), before) << what;
        return false;
      }
      expect_records(what, (*opened)->recovery().next_sequence - 1, nullptr);
      std::string frames;
      append_frame(frames, (*opened)->recovery().next_sequence, 1, "more");
      EXPECT_TRUE((*opened)->write(frames).ok()) << what;
    }
    const auto again = Segments::open(disk_, small());
    EXPECT_TRUE(again.ok()) << what << ": " << again.error().message();
    if (!again.ok()) return true;
    const std::string more = "more";
    expect_records(what, (*again)->recovery().next_sequence - 1, &more);
    return true;
  }

  void expect_records(const std::string& what, std::uint64_t last, const std::string* more) {
    Texts found;
    const auto read = read_records(disk_, kFolder, 0, last, [&](const Record& record) -> Result<void> {
      EXPECT_EQ(record.sequence, found.size() + 1) << what;
      found.emplace_back(record.payload);
      return {};
    });
    EXPECT_TRUE(read.ok()) << what << ": " << read.error().message();
    if (more != nullptr) {
      ASSERT_FALSE(found.empty()) << what;
      EXPECT_EQ(found.back(), *more) << what;
      found.pop_back();
    }
    ASSERT_GE(found.size(), durable_) << what << ": a record is gone that stood before the last batch";
    ASSERT_LE(found.size(), written_.size()) << what;
    EXPECT_EQ(found, Texts(written_.begin(), written_.begin() + static_cast<std::ptrdiff_t>(found.size()))) << what;
  }

  SimDisk disk_;
  Texts written_;
  std::size_t durable_ = 0;  // records before the last batch
  std::map<std::string, std::string> files_;
};

TEST_F(DamageTest, AnyByteThatChanges) {
  int opened = 0;
  int refused = 0;
  for (const auto& [name, bytes] : files_) {
    for (std::size_t at = 0; at < bytes.size(); ++at) {
      for (const unsigned change : {0x01U, 0x80U, 0xFFU}) {
        std::string damaged = bytes;
        damaged[at] = static_cast<char>(static_cast<unsigned char>(damaged[at]) ^ change);
        disk_.restore(files_);
        disk_.set_bytes(name, damaged);
        judge(name + " byte " + std::to_string(at) + " xor " + std::to_string(change)) ? ++opened : ++refused;
        if (HasFailure()) return;
      }
    }
  }
  EXPECT_GT(opened, 1000);   // in the last batch, and in what is not used
  EXPECT_GT(refused, 1000);  // before it
}

TEST_F(DamageTest, AnyFileThatEndsEarlyOrIsZeroFromThereOn) {
  const std::size_t before_last_segment =
      parse_head(files_.at((kFolder / segment_name(3)).string())).value().first_sequence - 1;
  int opened = 0;
  int refused = 0;
  for (const auto& [name, bytes] : files_) {
    for (std::size_t at = 0; at < bytes.size(); ++at) {
      disk_.restore(files_);
      disk_.set_bytes(name, bytes.substr(0, at));
      EXPECT_FALSE(judge(name + " cut at " + std::to_string(at)));
      // As if all that was written after that had never reached the disk. Nobody can see that in the last segment,
      // where it is what is expected after a power cut, if it lacks more than the last batch.
      std::string zeroed = bytes;
      std::fill(zeroed.begin() + static_cast<std::ptrdiff_t>(at), zeroed.end(), '\0');
      disk_.restore(files_);
      disk_.set_bytes(name, zeroed);
      const bool last = name == (kFolder / segment_name(3)).string();
      const std::size_t durable = std::exchange(durable_, last ? before_last_segment : durable_);
      judge(name + " zero from " + std::to_string(at)) ? ++opened : ++refused;
      durable_ = durable;
      if (HasFailure()) return;
    }
  }
  EXPECT_GT(opened, 1000);
  EXPECT_GT(refused, 1000);
}

TEST_F(DamageTest, AnySectorThatIsLostOrThatOfAnotherPlace) {
  for (const auto& [name, bytes] : files_) {
    for (std::size_t at = 0; at < bytes.size(); at += kSectorBytes) {
      disk_.restore(files_);
      std::string damaged = bytes;
      damaged.replace(at, kSectorBytes, kSectorBytes, '\0');
      disk_.set_bytes(name, damaged);
      judge(name + " sector lost at " + std::to_string(at));
      for (const auto& [other, others] : files_) {
        for (std::size_t from = 0; from < others.size(); from += kSectorBytes) {
          disk_.restore(files_);
          damaged.replace(at, kSectorBytes, others, from, kSectorBytes);
          disk_.set_bytes(name, damaged);
          judge(name + " sector " + std::to_string(at) + " is that of " + other + " at " + std::to_string(from));
          if (HasFailure()) return;
        }
      }
    }
  }
}

}  // namespace
}  // namespace shoal::audit
