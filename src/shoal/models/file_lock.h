// An exclusive lock on a file, between processes and between threads; the kernel lets go of it when its holder dies.
// Threads: any.
#pragma once

#include <filesystem>
#include <functional>
#include <utility>

#include "shoal/base/result.h"

namespace shoal::models {

class FileLock {
 public:
  // Makes the file when it is missing, and waits while another holds it; `on_wait`, if any, is called once before.
  // Errors: kIo.
  [[nodiscard]] static Result<FileLock> take(const std::filesystem::path& path,
                                             const std::function<void()>& on_wait = {});
  ~FileLock();
  FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileLock& operator=(FileLock&&) = delete;
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  explicit FileLock(int fd) : fd_(fd) {}

  int fd_;
};

}  // namespace shoal::models
