// KeySet: the bearer keys that the server answers to, as digests. Without keys everyone on the machine may
// ask; binding to other addresses is then refused elsewhere. Immutable; a reload makes a new one.
// Owned by Server. Threads: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/base/secret.h"

namespace shoal::server {

class KeySet {
 public:
  // One key per line; blank lines and lines that start with '#' are skipped. `source` names the file.
  // Errors: kInvalidConfig with the line, for a key under 16 or over 256 characters or with blanks in it, and
  // for a file without keys. No message holds a key.
  [[nodiscard]] static Result<KeySet> parse(std::string_view text, std::string_view source);

  // No keys: open to all.
  KeySet() = default;

  [[nodiscard]] bool open() const { return digests_.empty(); }
  [[nodiscard]] std::size_t size() const { return digests_.size(); }
  // Who holds this key: a number that stays the same over restarts, never 0; nothing when it is not one of ours.
  // Looks at every key, so that the time does not tell which was near.
  [[nodiscard]] std::optional<std::uint64_t> principal_of(std::string_view key) const;

 private:
  std::vector<base::SecretDigest> digests_;
};

}  // namespace shoal::server
