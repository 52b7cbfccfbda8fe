#include "sim_disk.h"

#include <algorithm>
#include <cassert>

namespace shoal::audit {
namespace {

Error io_error(const std::string& what) {
  return {ErrorCode::kIo, what};
}

void write_into(std::string& image, std::uint64_t offset, std::string_view bytes) {
  if (image.size() < offset + bytes.size()) image.resize(offset + bytes.size(), '\0');
  std::ranges::copy(bytes, image.begin() + static_cast<std::ptrdiff_t>(offset));
}

bool now(std::uint64_t& in) {
  return in != kNever && --in == 0;
}

}  // namespace

class SimDisk::SimFile final : public File {
 public:
  SimFile(SimDisk& disk, std::shared_ptr<Inode> inode, bool writable)
      : disk_(disk), inode_(std::move(inode)), writable_(writable), life_(disk.life_) {}

  Result<std::size_t> read_at(std::uint64_t offset, std::span<char> into) override {
    const std::lock_guard lock(disk_.mutex_);
    SHOAL_TRY(usable());
    const std::string& shown = inode_->shown;
    if (offset >= shown.size()) return std::size_t{0};
    return shown.copy(into.data(), into.size(), offset);
  }

  Result<std::size_t> write_at(std::uint64_t offset, std::string_view bytes) override {
    const std::lock_guard lock(disk_.mutex_);
    SHOAL_TRY(usable());
    assert(writable_);
    ++disk_.counts_.writes;
    SimFaults& faults = disk_.faults_;
    if (now(faults.write_in)) return io_error("simulated: the write failed");
    if (faults.short_writes && bytes.size() > 1) {
      bytes = bytes.substr(0, std::uniform_int_distribution<std::size_t>(1, bytes.size())(disk_.random_));
    }
    if (faults.room_bytes != kNever) {
      std::uint64_t used = 0;
      for (const auto& [name, inode] : disk_.shown_) used += inode->shown.size();
      const std::uint64_t more =
          offset + bytes.size() > inode_->shown.size() ? offset + bytes.size() - inode_->shown.size() : 0;
      if (more > 0 && used + more > faults.room_bytes) return io_error("simulated: no space left on device");
    }
    write_into(inode_->shown, offset, bytes);
    inode_->pending.emplace_back(offset, bytes);
    return bytes.size();
  }

  Result<void> sync() override {
    std::unique_lock lock(disk_.mutex_);
    SHOAL_TRY(usable());
    ++disk_.counts_.syncs;
    if (disk_.hold_) {
      ++disk_.held_;
      disk_.sync_held_.notify_all();
      disk_.syncs_released_.wait(lock, [this] { return !disk_.hold_; });
      --disk_.held_;
      if (!disk_.power_ || life_ != disk_.life_) return io_error("simulated: the power is cut");
    }
    if (now(disk_.faults_.sync_in)) {
      disk_.lose_sectors(*inode_);
      return io_error("simulated: the sync failed");
    }
    if (disk_.faults_.syncs_do_nothing) return {};
    for (const auto& [offset, bytes] : inode_->pending) write_into(inode_->on_disk, offset, bytes);
    inode_->pending.clear();
    return {};
  }

  Result<std::uint64_t> size() override {
    const std::lock_guard lock(disk_.mutex_);
    SHOAL_TRY(usable());
    return inode_->shown.size();
  }

 private:
  Result<void> usable() {
    SHOAL_TRY(disk_.call());
    if (life_ != disk_.life_) return io_error("simulated: opened before the power was cut");
    return {};
  }

  SimDisk& disk_;
  const std::shared_ptr<Inode> inode_;
  const bool writable_;
  const std::uint64_t life_;
};

class SimDisk::SimLock final : public FolderLock {
 public:
  SimLock(SimDisk& disk, std::string folder) : disk_(disk), folder_(std::move(folder)), life_(disk.life_) {}
  ~SimLock() override {
    const std::lock_guard lock(disk_.mutex_);
    if (life_ == disk_.life_) disk_.locks_.erase(folder_);
  }

 private:
  SimDisk& disk_;
  const std::string folder_;
  const std::uint64_t life_;
};

void SimDisk::set_faults(const SimFaults& faults) {
  const std::lock_guard lock(mutex_);
  faults_ = faults;
}

SimCounts SimDisk::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

void SimDisk::cut_power() {
  const std::lock_guard lock(mutex_);
  power_ = false;
}

void SimDisk::power_on() {
  const std::lock_guard lock(mutex_);
  power_ = true;
  ++life_;
  faults_ = {};
  locks_.clear();
  // Changes of a folder are journaled by its file system, in order.
  const std::size_t kept = std::uniform_int_distribution<std::size_t>(0, on_disk_.size() - 1)(random_);
  shown_ = on_disk_[kept];
  on_disk_ = {shown_};
  for (const auto& [name, inode] : shown_) {
    lose_sectors(*inode);
    inode->shown = inode->on_disk;
  }
}

void SimDisk::forget_locks() {
  const std::lock_guard lock(mutex_);
  locks_.clear();
  ++life_;
}

void SimDisk::hold_syncs() {
  const std::lock_guard lock(mutex_);
  hold_ = true;
}

void SimDisk::release_syncs() {
  const std::lock_guard lock(mutex_);
  hold_ = false;
  syncs_released_.notify_all();
}

void SimDisk::wait_for_held_sync() {
  std::unique_lock lock(mutex_);
  sync_held_.wait(lock, [this] { return held_ > 0; });
}

std::string SimDisk::bytes_of(const std::filesystem::path& path) const {
  const std::lock_guard lock(mutex_);
  return shown_.at(path.string())->shown;
}

void SimDisk::set_bytes(const std::filesystem::path& path, std::string bytes) {
  const std::lock_guard lock(mutex_);
  const auto inode = std::make_shared<Inode>(Inode{bytes, bytes, {}});
  shown_[path.string()] = inode;
  on_disk_ = {shown_};
}

void SimDisk::erase(const std::filesystem::path& path) {
  const std::lock_guard lock(mutex_);
  shown_.erase(path.string());
  on_disk_ = {shown_};
}

std::map<std::string, std::string> SimDisk::files() const {
  const std::lock_guard lock(mutex_);
  std::map<std::string, std::string> files;
  for (const auto& [name, inode] : shown_) files[name] = inode->shown;
  return files;
}

void SimDisk::restore(const std::map<std::string, std::string>& files) {
  const std::lock_guard lock(mutex_);
  shown_.clear();
  for (const auto& [name, bytes] : files) shown_[name] = std::make_shared<Inode>(Inode{bytes, bytes, {}});
  on_disk_ = {shown_};
  locks_.clear();
  faults_ = {};
  ++life_;
}

Result<std::unique_ptr<File>> SimDisk::open(const std::filesystem::path& path, OpenMode mode) {
  const std::lock_guard lock(mutex_);
  SHOAL_TRY(call());
  const auto found = shown_.find(path.string());
  if (mode != OpenMode::kCreate && found == shown_.end()) {
    return Error(ErrorCode::kNotFound, "simulated: no file " + path.string());
  }
  if (mode == OpenMode::kCreate) {
    shown_[path.string()] = std::make_shared<Inode>();
    changed_names();
  }
  return std::unique_ptr<File>(std::make_unique<SimFile>(*this, shown_.at(path.string()), mode != OpenMode::kRead));
}

Result<void> SimDisk::rename(const std::filesystem::path& from, const std::filesystem::path& to) {
  const std::lock_guard lock(mutex_);
  SHOAL_TRY(call());
  const auto found = shown_.find(from.string());
  if (found == shown_.end()) return io_error("simulated: no file " + from.string());
  shown_[to.string()] = found->second;
  shown_.erase(from.string());
  changed_names();
  return {};
}

Result<void> SimDisk::remove(const std::filesystem::path& path) {
  const std::lock_guard lock(mutex_);
  SHOAL_TRY(call());
  if (shown_.erase(path.string()) == 0) return Error(ErrorCode::kNotFound, "simulated: no file " + path.string());
  changed_names();
  return {};
}

Result<std::vector<std::string>> SimDisk::list(const std::filesystem::path& folder) {
  const std::lock_guard lock(mutex_);
  SHOAL_TRY(call());
  std::vector<std::string> names;
  for (const auto& [name, inode] : shown_) {
    const std::filesystem::path path(name);
    if (path.parent_path() == folder) names.push_back(path.filename().string());
  }
  std::ranges::shuffle(names, random_);
  return names;
}

Result<void> SimDisk::make_folder(const std::filesystem::path& /*folder*/) {
  const std::lock_guard lock(mutex_);
  return call();
}

Result<void> SimDisk::sync_folder(const std::filesystem::path& /*folder*/) {
  const std::lock_guard lock(mutex_);
  SHOAL_TRY(call());
  ++counts_.syncs;
  if (!faults_.syncs_do_nothing) on_disk_ = {shown_};
  return {};
}

Result<std::unique_ptr<FolderLock>> SimDisk::lock_folder(const std::filesystem::path& folder) {
  const std::lock_guard lock(mutex_);
  SHOAL_TRY(call());
  if (!locks_.insert(folder.string()).second) return io_error("simulated: another has the lock");
  return std::unique_ptr<FolderLock>(std::make_unique<SimLock>(*this, folder.string()));
}

Result<void> SimDisk::call() {
  ++counts_.calls;
  if (now(faults_.power_in)) power_ = false;
  if (!power_) return io_error("simulated: the power is cut");
  return {};
}

// A sector reaches the disk as it was after one of the writes to it, or not at all.
void SimDisk::lose_sectors(Inode& inode) {
  std::string image = inode.on_disk;
  const unsigned chance = std::uniform_int_distribution<unsigned>(0, 4)(random_);  // all lost, ..., none
  for (const auto& [offset, bytes] : inode.pending) {
    write_into(image, offset, bytes);
    for (std::uint64_t begin = offset / kSectorBytes * kSectorBytes; begin < offset + bytes.size();
         begin += kSectorBytes) {
      if (std::uniform_int_distribution<unsigned>(0, 3)(random_) >= chance) continue;
      write_into(inode.on_disk, begin, std::string_view(image).substr(begin, kSectorBytes));
    }
  }
  inode.pending.clear();
}

void SimDisk::changed_names() {
  on_disk_.push_back(shown_);
}

}  // namespace shoal::audit
