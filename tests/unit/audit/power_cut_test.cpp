// The power is cut at any call to the disk: while records are written, while a segment is prepared or begun, and while
// a journal is opened. What was acknowledged is there afterwards, once and in order; a control shows that the test
// would see it if it were not.
#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

#include "shoal/audit/journal.h"
#include "shoal/audit/segments.h"

#include "sim_disk.h"

namespace shoal::audit {
namespace {

using Texts = std::vector<std::string>;

const std::filesystem::path kFolder = "/journal";
constexpr int kSeeds = 1000;

SegmentsOptions small() {
  return {.folder = kFolder, .segment_bytes = kMinSegmentBytes};
}

// What was sent to one journal, and how much of it was acknowledged: all before `acknowledged`.
struct Sent {
  Texts texts;
  std::size_t acknowledged = 0;
};

// Each text is unlike any other, also in length.
std::string next_text(std::mt19937_64& random, std::uint64_t& count) {
  return std::to_string(++count) + ":" + std::string(std::uniform_int_distribution<std::size_t>(0, 900)(random), 'p');
}

// What is wrong with what a journal gives back, and what it gives; empty: nothing.
struct Found {
  Texts texts;
  std::string fault;
};

Found look(Disk& disk, std::uint64_t last, const Sent& sent) {
  Found found;
  const auto read = read_records(disk, kFolder, 0, last, [&](const Record& record) -> Result<void> {
    if (record.sequence != found.texts.size() + 1) found.fault = "the numbers have gaps";
    found.texts.emplace_back(record.payload);
    return {};
  });
  if (!read.ok()) found.fault = read.error().message();
  if (found.texts.size() < sent.acknowledged) found.fault = "an acknowledged record is missing";
  if (found.texts.size() > sent.texts.size()) found.fault = "there is a record that was never sent";
  for (std::size_t i = 0; i < std::min(found.texts.size(), sent.texts.size()); ++i) {
    if (found.texts[i] != sent.texts[i]) found.fault = "record " + std::to_string(i + 1) + " is another one";
  }
  return found;
}

// Three lives of one journal, each ended by a power cut; how many records it has then, or what is wrong.
std::string live_through_power_cuts(std::uint64_t seed, bool syncs_do_nothing, std::uint64_t& records) {
  SimDisk disk(seed);
  std::mt19937_64 random(seed);
  const auto chance = [&](unsigned percent) {
    return std::uniform_int_distribution<unsigned>(1, 100)(random) <= percent;
  };
  std::uint64_t count = 0;
  Sent sent;
  for (int life = 0; life < 4; ++life) {
    const bool last = life == 3;
    // Some do not even get through opening it.
    std::unique_ptr<Segments> segments;
    while (!segments) {
      SimFaults faults;
      faults.short_writes = chance(30);
      faults.syncs_do_nothing = syncs_do_nothing;
      if (!last && chance(40)) faults.power_in = std::uniform_int_distribution<std::uint64_t>(1, 25)(random);
      disk.set_faults(faults);
      auto opened = Segments::open(disk, small());
      if (opened.ok()) {
        segments = *std::move(opened);
      } else {
        if (opened.error().code() == ErrorCode::kJournalDamaged) return opened.error().message();
        disk.cut_power();
        disk.power_on();
      }
    }
    SimFaults faults;
    faults.short_writes = chance(30);
    faults.syncs_do_nothing = syncs_do_nothing;
    disk.set_faults(faults);
    Found found = look(disk, segments->recovery().next_sequence - 1, sent);
    if (!found.fault.empty()) return found.fault;
    // What it gives out is on disk, whoever wrote it.
    sent.acknowledged = found.texts.size();
    sent.texts = std::move(found.texts);
    if (last) break;
    faults.power_in = std::uniform_int_distribution<std::uint64_t>(1, 60)(random);
    disk.set_faults(faults);
    for (;;) {
      if (chance(20) && segments->wants_to_prepare(chance(50))) segments->prepare().ignore("the power may be cut");
      std::string frames;
      for (int i = std::uniform_int_distribution<int>(1, 6)(random); i > 0; --i) {
        sent.texts.push_back(next_text(random, count));
        append_frame(frames, sent.texts.size(), 1, sent.texts.back());
      }
      if (!segments->write(frames).ok()) break;
      sent.acknowledged = sent.texts.size();
    }
    segments.reset();
    disk.cut_power();
    disk.power_on();
  }
  records += sent.texts.size();
  return "";
}

TEST(PowerCut, NothingAcknowledgedIsLostInAThousandSeeds) {
  std::uint64_t records = 0;
  for (int seed = 1; seed <= kSeeds; ++seed) {
    EXPECT_EQ(live_through_power_cuts(static_cast<std::uint64_t>(seed), false, records), "") << "seed " << seed;
  }
  EXPECT_GT(records, 10'000U);
}

TEST(PowerCut, ADiskWhoseSyncDoesNothingLoses) {
  int lost = 0;
  std::uint64_t records = 0;
  for (int seed = 1; seed <= 50; ++seed) {
    if (!live_through_power_cuts(static_cast<std::uint64_t>(seed), true, records).empty()) ++lost;
  }
  EXPECT_GT(lost, 10);
}

// The same with its threads: requests that wait, and records that nobody waits for.
class Requests {
 public:
  // `count`: of texts, over all lives.
  Requests(Disk& disk, std::uint64_t seed, Sent& sent, std::uint64_t& count)
      : disk_(disk), random_(seed), sent_(sent), count_(count) {}

  // Runs until the journal fails, or each has asked so often.
  void run(std::uint64_t power_in, SimDisk& sim, SimFaults faults) {
    JournalOptions options{.segments = small(), .quiet_ms = 0, .max_pending_bytes = 1 << 20};
    auto opened = Journal::open(io_.get_executor(), clock_, disk_, options);
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    journal_ = *std::move(opened);
    faults.power_in = power_in;
    sim.set_faults(faults);
    for (int i = 0; i < 4; ++i) {
      base::spawn(io_, "request", [this](base::Yield yield) { ask(yield); });
    }
    io_.run();
    journal_.reset();
  }

 private:
  void ask(const base::Yield& yield) {
    for (int i = 0; i < 20; ++i) {
      if (random_() % 3 == 0 && !append(Urgency::kQuiet)) return;
      const std::uint64_t sequence = append(Urgency::kPrompt);
      if (sequence == 0) return;
      if (random_() % 8 == 0) continue;
      if (!journal_->synced(sequence, {}, yield).ok()) return;
      sent_.acknowledged = std::max<std::size_t>(sent_.acknowledged, sequence);
    }
  }
  std::uint64_t append(Urgency urgency) {
    std::string text = next_text(random_, count_);
    const auto sequence = journal_->append(1, text, urgency);
    if (!sequence.ok()) return 0;
    sent_.texts.push_back(std::move(text));
    EXPECT_EQ(*sequence, sent_.texts.size());
    return *sequence;
  }

  Disk& disk_;
  base::SystemClock clock_;
  boost::asio::io_context io_{1};
  std::mt19937_64 random_;
  Sent& sent_;
  std::uint64_t& count_;
  std::unique_ptr<Journal> journal_;
};

std::string ask_through_power_cuts(std::uint64_t seed, bool syncs_do_nothing, std::uint64_t& acknowledged) {
  SimDisk disk(seed);
  std::mt19937_64 random(seed);
  Sent sent;
  std::uint64_t count = 0;
  for (int life = 0; life < 2; ++life) {
    Requests requests(disk, seed * 2 + static_cast<std::uint64_t>(life), sent, count);
    SimFaults faults;
    faults.short_writes = seed % 3 == 0;
    faults.syncs_do_nothing = syncs_do_nothing;
    disk.set_faults({.syncs_do_nothing = syncs_do_nothing});
    requests.run(std::uniform_int_distribution<std::uint64_t>(1, 120)(random), disk, faults);
    disk.cut_power();
    disk.power_on();
    auto opened = Segments::open(disk, small());
    if (!opened.ok()) return opened.error().message();
    acknowledged += sent.acknowledged;
    Found found = look(disk, (*opened)->recovery().next_sequence - 1, sent);
    if (!found.fault.empty()) return found.fault;
    sent.acknowledged = found.texts.size();
    sent.texts = std::move(found.texts);
  }
  return "";
}

TEST(PowerCut, NothingThatARequestWaitedForIsLostInAThousandSeeds) {
  std::uint64_t acknowledged = 0;
  for (int seed = 1; seed <= kSeeds; ++seed) {
    EXPECT_EQ(ask_through_power_cuts(static_cast<std::uint64_t>(seed), false, acknowledged), "") << "seed " << seed;
  }
  EXPECT_GT(acknowledged, 10'000U);
}

TEST(PowerCut, ARequestLosesOnADiskWhoseSyncDoesNothing) {
  int lost = 0;
  std::uint64_t acknowledged = 0;
  for (int seed = 1; seed <= 50; ++seed) {
    if (!ask_through_power_cuts(static_cast<std::uint64_t>(seed), true, acknowledged).empty()) ++lost;
  }
  EXPECT_GT(lost, 10);
}

}  // namespace
}  // namespace shoal::audit
