#include "shoal/base/sha256.h"

#include <cerrno>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sodium.h>
#include <unistd.h>

namespace shoal::base {

struct Sha256::State {
  crypto_hash_sha256_state hash;
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  crypto_hash_sha256_init(&state_->hash);
}
Sha256::~Sha256() = default;

void Sha256::update(std::span<const char> bytes) {
  crypto_hash_sha256_update(&state_->hash, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
}

std::string Sha256::finish() {
  std::array<unsigned char, crypto_hash_sha256_BYTES> digest{};
  crypto_hash_sha256_final(&state_->hash, digest.data());
  std::array<char, 2 * crypto_hash_sha256_BYTES + 1> hex{};
  return sodium_bin2hex(hex.data(), hex.size(), digest.data(), digest.size());
}

namespace {

template <class Update>
Result<void> read_blocks(const std::filesystem::path& path, Update update) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno_error("cannot open " + path.string(), errno);
  std::vector<char> block(1 << 20);
  for (;;) {
    const ssize_t got = read(fd, block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const int why = errno;
      close(fd);
      return errno_error("cannot read " + path.string(), why);
    }
    if (got == 0) break;
    update(std::span<const char>(block.data(), static_cast<std::size_t>(got)));
  }
  close(fd);
  return {};
}

}  // namespace

Result<std::string> sha256_of_file(const std::filesystem::path& path) {
  Sha256 hash;
  SHOAL_TRY(read_blocks(path, [&hash](std::span<const char> bytes) { hash.update(bytes); }));
  return hash.finish();
}

Result<std::string> sha512_base64_of_file(const std::filesystem::path& path) {
  crypto_hash_sha512_state hash;
  crypto_hash_sha512_init(&hash);
  SHOAL_TRY(read_blocks(path, [&hash](std::span<const char> bytes) {
    crypto_hash_sha512_update(&hash, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  }));
  std::array<unsigned char, crypto_hash_sha512_BYTES> digest{};
  crypto_hash_sha512_final(&hash, digest.data());
  std::array<char, sodium_base64_ENCODED_LEN(crypto_hash_sha512_BYTES, sodium_base64_VARIANT_ORIGINAL)> text{};
  sodium_bin2base64(text.data(), text.size(), digest.data(), digest.size(), sodium_base64_VARIANT_ORIGINAL);
  return std::string(text.data());
}

}  // namespace shoal::base
