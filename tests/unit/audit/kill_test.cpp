// A process that writes a journal is killed at any moment, while it opens it too: what it took for safe is there.
#include <array>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shoal/audit/segments.h"

#include "support/temporary_folder.h"

namespace shoal::audit {
namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kKills = 100;
#else
constexpr int kKills = 500;
#endif
constexpr int kKillsOfOneJournal = 25;

using Pair = std::array<std::uint64_t, 2>;

// The program, until it is killed.
class Writer {
 public:
  Writer(const std::filesystem::path& folder, const std::string& mode) {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    std::string program = SHOAL_BIN_DIR "/../tests/journal_writer";
    std::string path = folder.string();
    std::string how = mode;
    std::array<char*, 4> argv = {program.data(), path.data(), how.data(), nullptr};
    const int failed = ::posix_spawn(&pid_, program.c_str(), &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    pipe_ = ends[0];
    // Without a process, kill() would go to all of this user's.
    if (failed != 0) throw std::runtime_error("cannot start " + program);
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() { ::close(pipe_); }

  // False at the end of what it says.
  bool next(Pair& pair) const {
    auto* const bytes = reinterpret_cast<char*>(pair.data());
    std::size_t have = 0;
    while (have < sizeof pair) {
      const ssize_t n = ::read(pipe_, bytes + have, sizeof pair - have);
      if (n <= 0) return false;
      have += static_cast<std::size_t>(n);
    }
    return true;
  }
  // It must have run until then.
  void kill() const {
    ::kill(pid_, SIGKILL);
    int status = 0;
    EXPECT_EQ(::waitpid(pid_, &status, 0), pid_);
    EXPECT_TRUE(WIFSIGNALED(status)) << "it ended by itself: " << status;
  }

 private:
  pid_t pid_ = -1;
  int pipe_ = -1;
};

struct Outcomes {
  int lost = 0;  // kills after which something was missing
  std::uint64_t safe = 0;
};

// What was taken for safe, and is not in the journal as it was.
std::uint64_t missing(const std::filesystem::path& folder, const std::map<std::uint64_t, std::uint64_t>& safe) {
  RealDisk disk;
  const auto opened =
      Segments::open(disk, {.folder = folder, .segment_bytes = std::uint64_t{64} << 10, .checked_before = 0});
  EXPECT_TRUE(opened.ok()) << opened.error().message();
  if (!opened.ok()) return safe.size();
  std::uint64_t found = 0;
  std::uint64_t expected = 0;
  const auto read =
      read_records(disk, folder, 0, (*opened)->recovery().next_sequence - 1, [&](const Record& record) -> Result<void> {
        EXPECT_EQ(record.sequence, ++expected);
        std::uint64_t number = 0;
        const char* const begin = record.payload.data();
        std::from_chars(begin, begin + record.payload.size(), number);
        const auto one = safe.find(record.sequence);
        if (one != safe.end() && one->second == number) ++found;
        return {};
      });
  EXPECT_TRUE(read.ok()) << read.error().message();
  return safe.size() - found;
}

Outcomes kill_at_random_moments(const std::string& mode, int kills) {
  Outcomes outcomes;
  std::mt19937 random(1);
  const auto wait_up_to = [&](int us) {
    std::this_thread::sleep_for(std::chrono::microseconds(std::uniform_int_distribution<int>(0, us)(random)));
  };
  for (int done = 0; done < kills;) {
    const test::TemporaryFolder folder;
    std::map<std::uint64_t, std::uint64_t> safe;
    for (int i = 0; i < kKillsOfOneJournal && done < kills; ++i, ++done) {
      const Writer writer(folder.path(), mode);
      Pair pair{};
      const auto note = [&] {
        EXPECT_TRUE(safe.emplace(pair[0], pair[1]).second || mode == "early") << "two records have one number";
        ++outcomes.safe;
      };
      // One of four before it has said anything.
      if (random() % 4 == 0) {
        wait_up_to(10'000);
      } else {
        if (writer.next(pair)) note();
        wait_up_to(15'000);
      }
      writer.kill();
      while (writer.next(pair)) note();
      if (missing(folder.path(), safe) == 0) continue;
      ++outcomes.lost;
      safe.clear();
    }
  }
  return outcomes;
}

TEST(Kill, NothingThatWasTakenForSafeIsMissing) {
  const Outcomes outcomes = kill_at_random_moments("honest", kKills);
  EXPECT_EQ(outcomes.lost, 0);
  EXPECT_GT(outcomes.safe, 10U * kKills);
}

TEST(Kill, WhatIsTakenForSafeBeforeItIsWrittenIsMissing) {
  EXPECT_GT(kill_at_random_moments("early", 25).lost, 0);
}

}  // namespace
}  // namespace shoal::audit
