#include "shoal/server/key_set.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include <fmt/format.h>

#include "shoal/base/secret.h"

namespace shoal::server {
namespace {

constexpr std::size_t kMinLength = 16;
constexpr std::size_t kMaxLength = 256;

std::string_view trim(std::string_view line) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!line.empty() && blank(line.front())) line.remove_prefix(1);
  while (!line.empty() && blank(line.back())) line.remove_suffix(1);
  return line;
}

// Never 0, which is nobody.
std::uint64_t number_of(const std::array<unsigned char, 32>& hash) {
  std::uint64_t number = 0;
  std::memcpy(&number, hash.data(), sizeof number);
  return number | 1U;
}

}  // namespace

Result<KeySet> KeySet::parse(std::string_view text, std::string_view source) {
  KeySet keys;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trim(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.front() == '#') continue;
    if (line.size() < kMinLength || line.size() > kMaxLength) {
      return Error(ErrorCode::kInvalidConfig, fmt::format("{}:{}: a key must have {} to {} characters, this one has {}",
                                                          source, number, kMinLength, kMaxLength, line.size()));
    }
    if (!std::ranges::all_of(line, [](char c) { return c > ' ' && c < 0x7F; })) {
      return Error(ErrorCode::kInvalidConfig,
                   fmt::format("{}:{}: a key must be printable ASCII without blanks", source, number));
    }
    const base::SecretDigest digest = base::digest_secret(line);
    const std::uint64_t holder = number_of(digest);
    keys.configured_.push_back({digest, {holder, fmt::format("key-{:016x}", holder)}});
  }
  if (keys.open()) {
    return Error(ErrorCode::kInvalidConfig, fmt::format("{}: holds no key; write one per line", source));
  }
  return keys;
}

void KeySet::add(const store::KeyHasher& hasher, std::span<const store::Key> keys) {
  hasher_ = hasher;
  for (const store::Key& key : keys) {
    closed_ = true;
    if (!key.revoked_ms) stored_.push_back({key.hash, {number_of(key.hash), key.principal}});
  }
}

const types::Principal* KeySet::principal_of(std::string_view key) const {
  const types::Principal* found = nullptr;
  const auto look = [&found](const std::vector<Entry>& entries, const std::array<unsigned char, 32>& hash) {
    for (const Entry& entry : entries) {
      if (base::equal_digests(hash, entry.hash)) found = &entry.principal;
    }
  };
  look(configured_, base::digest_secret(key));
  if (hasher_) look(stored_, hasher_->hash(key));
  return found;
}

}  // namespace shoal::server
