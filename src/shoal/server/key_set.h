// KeySet: the bearer keys that the server answers to, as hashes: those of the configuration and those of the store.
// Without any everyone on the machine may ask; binding to other addresses is then refused elsewhere. Immutable once
// made; a reload, or a key that is made or revoked, makes a new one.
// Owned by Server. Threads: any.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/store/key_hash.h"
#include "shoal/store/rows.h"
#include "shoal/types/principal.h"

namespace shoal::server {

class KeySet {
 public:
  // One key per line; blank lines and lines that start with '#' are skipped. `source` names the file.
  // Errors: kInvalidConfig with the line, for a key under 16 or over 256 characters or with blanks in it, and
  // for a file without keys. No message holds a key.
  [[nodiscard]] static Result<KeySet> parse(std::string_view text, std::string_view source);

  // No keys: open to all.
  KeySet() = default;

  // Those of the store that were not revoked. Where there is any, also a revoked one, the set is open no more: who
  // takes the last key away does not want everybody in.
  void add(const store::KeyHasher& hasher, std::span<const store::Key> keys);

  [[nodiscard]] bool open() const { return !closed_ && configured_.empty(); }
  // That are good.
  [[nodiscard]] std::size_t size() const { return configured_.size() + stored_.size(); }
  // Who holds this key, the same over restarts; null when it is not one of ours. Looks at every key, so that the time
  // does not tell which was near.
  [[nodiscard]] const types::Principal* principal_of(std::string_view key) const;

 private:
  struct Entry {
    std::array<unsigned char, 32> hash;
    types::Principal principal;
  };

  std::vector<Entry> configured_;
  std::vector<Entry> stored_;
  std::optional<store::KeyHasher> hasher_;
  bool closed_ = false;
};

}  // namespace shoal::server
