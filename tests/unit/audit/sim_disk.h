// SimDisk: a disk in memory that keeps what is on disk apart from what the kernel would show, so that a test can cut
// the power: of what was written and not synced any 512-byte sectors are lost, others are there; of names, the last
// ones. By a seed. It also fails as it is told, and counts. Threads: any.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "shoal/audit/disk.h"

namespace shoal::audit {

inline constexpr std::uint64_t kSectorBytes = 512;
inline constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();

// The n-th call from now on fails; 1: the next.
struct SimFaults {
  std::uint64_t write_in = kNever;
  std::uint64_t sync_in = kNever;     // and what was to be synced is lost, while the kernel goes on to show it
  std::uint64_t power_in = kNever;    // of all calls: that one fails, and all after it
  std::uint64_t room_bytes = kNever;  // of all files together
  bool short_writes = false;
  bool syncs_do_nothing = false;
};

struct SimCounts {
  std::uint64_t calls = 0;
  std::uint64_t writes = 0;
  std::uint64_t syncs = 0;
};

class SimDisk final : public Disk {
 public:
  explicit SimDisk(std::uint64_t seed = 1) : random_(seed) {}

  void set_faults(const SimFaults& faults);
  [[nodiscard]] SimCounts counts() const;

  // Every call fails until power_on(), which decides what was lost. Files that were open stay unusable.
  void cut_power();
  void power_on();

  // A process that dies takes its locks with it, and leaves to the kernel what it wrote.
  void forget_locks();

  // sync() does not return until they are released.
  void hold_syncs();
  void release_syncs();
  // Until a sync is held.
  void wait_for_held_sync();

  // As they are on disk and in the kernel; set() is for tests that damage them. REQUIRES: they exist.
  [[nodiscard]] std::string bytes_of(const std::filesystem::path& path) const;
  void set_bytes(const std::filesystem::path& path, std::string bytes);
  void erase(const std::filesystem::path& path);
  [[nodiscard]] std::map<std::string, std::string> files() const;
  // Puts all files back, and forgets everything else.
  void restore(const std::map<std::string, std::string>& files);

  Result<std::unique_ptr<File>> open(const std::filesystem::path& path, OpenMode mode) override;
  Result<void> rename(const std::filesystem::path& from, const std::filesystem::path& to) override;
  Result<void> remove(const std::filesystem::path& path) override;
  Result<std::vector<std::string>> list(const std::filesystem::path& folder) override;
  Result<void> make_folder(const std::filesystem::path& folder) override;
  Result<void> sync_folder(const std::filesystem::path& folder) override;
  Result<std::unique_ptr<FolderLock>> lock_folder(const std::filesystem::path& folder) override;

 private:
  struct Inode {
    std::string shown;
    std::string on_disk;
    std::vector<std::pair<std::uint64_t, std::string>> pending;  // writes: offset and bytes
  };
  using Names = std::map<std::string, std::shared_ptr<Inode>>;
  class SimFile;
  class SimLock;

  // REQUIRES: mutex_ held, as all below. Errors: kIo when the power is cut.
  Result<void> call();
  void lose_sectors(Inode& inode);
  void changed_names();

  mutable std::mutex mutex_;
  std::condition_variable syncs_released_;
  std::condition_variable sync_held_;
  std::mt19937_64 random_;
  SimFaults faults_;
  SimCounts counts_;
  Names shown_;
  std::vector<Names> on_disk_{Names{}};  // synced, then as it was after each change since
  std::set<std::string> locks_;
  std::uint64_t life_ = 0;  // between two power cuts
  bool power_ = true;
  bool hold_ = false;
  std::size_t held_ = 0;
};

}  // namespace shoal::audit
