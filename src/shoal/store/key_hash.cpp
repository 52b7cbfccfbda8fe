#include "shoal/store/key_hash.h"

#include <cerrno>
#include <cstdint>
#include <optional>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shoal/audit/disk.h"
#include "shoal/base/ids.h"

namespace shoal::store {
namespace {

namespace fs = std::filesystem;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }

 private:
  const int fd_;
};

Error failed(std::string_view doing, const fs::path& path) {
  return base::errno_error(fmt::format("cannot {} {}", doing, path.string()), errno);
}

Error unfit(const fs::path& path, std::string_view why) {
  return {ErrorCode::kInvalidConfig, fmt::format("{} {}", path.string(), why)};
}

// Nothing: there is no such file.
template <std::size_t kSize>
Result<std::optional<std::array<unsigned char, kSize>>> read_secret(const fs::path& path) {
  std::optional<std::array<unsigned char, kSize>> secret;
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0 && errno == ENOENT) return secret;
  if (file.get() < 0) return failed("open", path);
  struct stat info{};
  if (::fstat(file.get(), &info) != 0) return failed("look at", path);
  if (!S_ISREG(info.st_mode) || (info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return unfit(path, "may be read or written by others; it must be a file of its owner's alone (chmod 600)");
  }
  if (info.st_size != static_cast<off_t>(kSize)) return unfit(path, "does not hold a secret of 32 bytes");
  const ssize_t n = ::read(file.get(), secret.emplace().data(), kSize);
  if (n < 0) return failed("read", path);
  if (n != static_cast<ssize_t>(kSize)) return unfit(path, "became shorter while it was read");
  return secret;
}

// Whole, or not there: it gets its name last, and not the name of one that another process has made meanwhile.
template <std::size_t kSize>
Result<void> make_secret(const fs::path& path) {
  std::array<unsigned char, kSize> secret;
  randombytes_buf(secret.data(), secret.size());
  const fs::path temporary = path.string() + "." + base::random_id();
  auto written = [&]() -> Result<void> {
    const Descriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR));
    if (file.get() < 0) return failed("make", temporary);
    if (::write(file.get(), secret.data(), kSize) != static_cast<ssize_t>(kSize) || ::fsync(file.get()) != 0) {
      return failed("write", temporary);
    }
    if (::link(temporary.c_str(), path.c_str()) != 0 && errno != EEXIST) return failed("make", path);
    return {};
  }();
  sodium_memzero(secret.data(), secret.size());
  ::unlink(temporary.c_str());
  SHOAL_TRY(std::move(written));
  audit::RealDisk disk;
  return disk.sync_folder(path.parent_path().empty() ? fs::path(".") : path.parent_path());
}

}  // namespace

std::string make_key() {
  // As base::random_id(): no i, l, o, u. Five bits of each byte.
  constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";
  std::array<unsigned char, 32> random{};
  randombytes_buf(random.data(), random.size());
  std::string key(kKeyPrefix);
  for (const unsigned char byte : random) key += kAlphabet[byte & 31U];
  sodium_memzero(random.data(), random.size());
  return key;
}

Result<KeyHasher> KeyHasher::open(const fs::path& secret_file) {
  constexpr std::size_t kSize = std::tuple_size_v<Secret>;
  auto secret = SHOAL_TRY(read_secret<kSize>(secret_file));
  if (!secret) {
    SHOAL_TRY(make_secret<kSize>(secret_file));
    secret = SHOAL_TRY(read_secret<kSize>(secret_file));
  }
  if (!secret) return unfit(secret_file, "was removed while it was made");
  KeyHasher hasher(*secret);
  sodium_memzero(secret->data(), secret->size());
  return hasher;
}

KeyHasher::~KeyHasher() {
  sodium_memzero(secret_.data(), secret_.size());
}

KeyHash KeyHasher::hash(std::string_view key) const {
  KeyHash hash{};
  static_assert(std::tuple_size_v<KeyHash> == crypto_generichash_BYTES);
  crypto_generichash(hash.data(), hash.size(), reinterpret_cast<const unsigned char*>(key.data()), key.size(),
                     secret_.data(), secret_.size());
  return hash;
}

}  // namespace shoal::store
