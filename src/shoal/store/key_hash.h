// Keys of clients: how one is made, and the hash that is kept in its place. The hash is keyed with a secret of this
// installation, so that a copy of the database alone tells nobody which keys are good, not even by trying them.
// Use: `const auto hasher = SHOAL_TRY(KeyHasher::open(folder / "key_secret"));`, `hasher.hash(key)`.
// Whoever loses the file loses all keys: a backup of keys.db has it beside.
// Owned by cli/'s App. Threads: any, after open(), which blocks on the disk.
#pragma once

#include <array>
#include <filesystem>
#include <string>
#include <string_view>

#include "shoal/base/result.h"
#include "shoal/store/rows.h"

namespace shoal::store {

inline constexpr std::string_view kKeyPrefix = "sk-shoal-";

// "sk-shoal-" and 32 characters of Crockford's base32: 160 random bits from the kernel.
[[nodiscard]] std::string make_key();

class KeyHasher {
 public:
  // Makes the file with a new secret, readable for the owner alone, when it is missing; on disk when it returns.
  // Errors: kIo; kInvalidConfig when others may read or write the file, or when it holds no secret.
  static Result<KeyHasher> open(const std::filesystem::path& secret_file);
  KeyHasher(const KeyHasher&) = default;
  KeyHasher& operator=(const KeyHasher&) = default;
  ~KeyHasher();

  // BLAKE2b-256, keyed with the secret.
  [[nodiscard]] KeyHash hash(std::string_view key) const;

 private:
  using Secret = std::array<unsigned char, 32>;
  explicit KeyHasher(const Secret& secret) : secret_(secret) {}

  Secret secret_;
};

}  // namespace shoal::store
