#include "shoal/audit/disk.h"

#include <cerrno>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace shoal::audit {
namespace {

namespace fs = std::filesystem;

Error failed(std::string_view doing, const fs::path& path, int errno_value) {
  return base::errno_error(fmt::format("cannot {} {}", doing, path.string()), errno_value,
                           errno_value == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo);
}

// A system call that a signal interrupted is made again.
template <class Call>
auto uninterrupted(Call call) {
  for (;;) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

Result<Descriptor> open_path(const fs::path& path, int flags) {
  const int fd = uninterrupted([&] { return ::open(path.c_str(), flags | O_CLOEXEC, S_IRUSR | S_IWUSR); });
  if (fd < 0) return failed("open", path, errno);
  return Descriptor(fd);
}

class RealFile final : public File {
 public:
  RealFile(Descriptor fd, fs::path path) : fd_(std::move(fd)), path_(std::move(path)) {}

  Result<std::size_t> read_at(std::uint64_t offset, std::span<char> into) override {
    std::size_t done = 0;
    while (done < into.size()) {
      const ssize_t n = uninterrupted([&] {
        return ::pread(fd_.get(), into.data() + done, into.size() - done, static_cast<off_t>(offset + done));
      });
      if (n < 0) return failed("read", path_, errno);
      if (n == 0) break;
      done += static_cast<std::size_t>(n);
    }
    return done;
  }
  Result<std::size_t> write_at(std::uint64_t offset, std::string_view bytes) override {
    const ssize_t n =
        uninterrupted([&] { return ::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)); });
    if (n < 0) return failed("write", path_, errno);
    return static_cast<std::size_t>(n);
  }
  // Not again after EINTR: nothing says what an interrupted one has done.
  Result<void> sync() override {
    if (::fdatasync(fd_.get()) != 0) return failed("sync", path_, errno);
    return {};
  }
  Result<std::uint64_t> size() override {
    struct stat info{};
    if (::fstat(fd_.get(), &info) != 0) return failed("look at", path_, errno);
    return static_cast<std::uint64_t>(info.st_size);
  }

 private:
  Descriptor fd_;
  fs::path path_;
};

class RealLock final : public FolderLock {
 public:
  explicit RealLock(Descriptor fd) : fd_(std::move(fd)) {}

 private:
  Descriptor fd_;
};

}  // namespace

Result<std::unique_ptr<File>> RealDisk::open(const fs::path& path, OpenMode mode) {
  int flags = O_RDONLY;
  if (mode == OpenMode::kWrite) flags = O_RDWR;
  if (mode == OpenMode::kCreate) flags = O_RDWR | O_CREAT | O_TRUNC;
  return std::unique_ptr<File>(std::make_unique<RealFile>(SHOAL_TRY(open_path(path, flags)), path));
}

Result<void> RealDisk::rename(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return failed("rename", from, errno);
  return {};
}

Result<void> RealDisk::remove(const fs::path& path) {
  if (::unlink(path.c_str()) != 0) return failed("remove", path, errno);
  return {};
}

Result<std::vector<std::string>> RealDisk::list(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code ec;
  fs::directory_iterator entry(folder, ec);
  while (!ec && entry != fs::directory_iterator()) {
    names.push_back(entry->path().filename().string());
    entry.increment(ec);
  }
  if (ec) return failed("list", folder, ec.value());
  return names;
}

Result<void> RealDisk::make_folder(const fs::path& folder) {
  fs::path above;
  for (const fs::path& part : fs::absolute(folder).lexically_normal()) {
    const fs::path path = above / part;
    if (::mkdir(path.c_str(), S_IRWXU) == 0) {
      SHOAL_TRY(sync_folder(above));
    } else if (errno != EEXIST) {
      // Above the folder there may be what may only be walked through, on a file system that may only be read.
      std::error_code ec;
      if (const int why = errno; !fs::is_directory(path, ec)) return failed("make", path, why);
    }
    above = path;
  }
  return {};
}

Result<void> RealDisk::sync_folder(const fs::path& folder) {
  const Descriptor fd = SHOAL_TRY(open_path(folder, O_RDONLY | O_DIRECTORY));
  if (::fsync(fd.get()) != 0) return failed("sync", folder, errno);
  return {};
}

Result<std::unique_ptr<FolderLock>> RealDisk::lock_folder(const fs::path& folder) {
  const fs::path path = folder / "lock";
  Descriptor fd = SHOAL_TRY(open_path(path, O_RDWR | O_CREAT));
  if (uninterrupted([&] { return ::flock(fd.get(), LOCK_EX | LOCK_NB); }) != 0) {
    if (errno != EWOULDBLOCK) return failed("lock", path, errno);
    return Error(ErrorCode::kIo,
                 fmt::format("{} belongs to another server that runs; give each a folder of its own", folder.string()));
  }
  return std::unique_ptr<FolderLock>(std::make_unique<RealLock>(std::move(fd)));
}

}  // namespace shoal::audit
