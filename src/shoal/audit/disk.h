// Disk: what the journal asks of files and folders, as an interface, so that tests can cut the power. RealDisk is the
// machine's. Calls are the kernel's own and promise no more: a write may be short, what was written lasts after sync(),
// and a name lasts after sync_folder(). A failed sync() must not be tried again: the kernel may have dropped what it
// could not write and say next time that all is well (PostgreSQL wiki, "Fsync Errors").
// Use: `RealDisk disk; auto file = SHOAL_TRY(disk.open(path, OpenMode::kWrite));`. Everything blocks.
// Owned by cli/'s App, and outlives every journal on it. Threads: any; a File is used by one at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"

namespace shoal::audit {

// Closes when it is destroyed.
class File {
 public:
  virtual ~File() = default;
  // How many bytes were read: fewer than asked for at the end of the file. Errors: kIo.
  virtual Result<std::size_t> read_at(std::uint64_t offset, std::span<char> into) = 0;
  // How many bytes were written, which may be fewer. Errors: kIo.
  virtual Result<std::size_t> write_at(std::uint64_t offset, std::string_view bytes) = 0;
  // Returns when all that was written is on disk. Errors: kIo.
  virtual Result<void> sync() = 0;
  // Bytes. Errors: kIo.
  virtual Result<std::uint64_t> size() = 0;
};

// Lets go when it is destroyed, and when the process dies.
class FolderLock {
 public:
  virtual ~FolderLock() = default;
};

enum class OpenMode : std::uint8_t {
  kRead,
  kWrite,   // and read; the file exists
  kCreate,  // and read; anew, and empty
};

class Disk {
 public:
  virtual ~Disk() = default;
  // Errors: kNotFound, kIo.
  virtual Result<std::unique_ptr<File>> open(const std::filesystem::path& path, OpenMode mode) = 0;
  // Replaces what has the name `to`. Errors: kIo.
  virtual Result<void> rename(const std::filesystem::path& from, const std::filesystem::path& to) = 0;
  // Errors: kNotFound, kIo.
  virtual Result<void> remove(const std::filesystem::path& path) = 0;
  // The names in a folder, in no order. Errors: kIo.
  virtual Result<std::vector<std::string>> list(const std::filesystem::path& folder) = 0;
  // The folder and those above it, for the owner alone, where they do not exist; on disk when it returns. Errors: kIo.
  virtual Result<void> make_folder(const std::filesystem::path& folder) = 0;
  // Errors: kIo.
  virtual Result<void> sync_folder(const std::filesystem::path& folder) = 0;
  // Errors: kIo, also when another holds it.
  virtual Result<std::unique_ptr<FolderLock>> lock_folder(const std::filesystem::path& folder) = 0;
};

class RealDisk final : public Disk {
 public:
  Result<std::unique_ptr<File>> open(const std::filesystem::path& path, OpenMode mode) override;
  Result<void> rename(const std::filesystem::path& from, const std::filesystem::path& to) override;
  Result<void> remove(const std::filesystem::path& path) override;
  Result<std::vector<std::string>> list(const std::filesystem::path& folder) override;
  Result<void> make_folder(const std::filesystem::path& folder) override;
  Result<void> sync_folder(const std::filesystem::path& folder) override;
  // By flock() on the file "lock" in it.
  Result<std::unique_ptr<FolderLock>> lock_folder(const std::filesystem::path& folder) override;
};

}  // namespace shoal::audit
