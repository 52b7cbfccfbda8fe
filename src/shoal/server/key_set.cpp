#include "shoal/server/key_set.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include <fmt/format.h>

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
    keys.digests_.push_back(base::digest_secret(line));
  }
  if (keys.open()) {
    return Error(ErrorCode::kInvalidConfig, fmt::format("{}: holds no key; write one per line", source));
  }
  return keys;
}

std::optional<std::uint64_t> KeySet::principal_of(std::string_view key) const {
  const base::SecretDigest digest = base::digest_secret(key);
  bool found = false;
  for (const base::SecretDigest& known : digests_) found |= base::equal_digests(digest, known);
  if (!found) return std::nullopt;
  std::uint64_t principal = 0;
  std::memcpy(&principal, digest.data(), sizeof principal);
  return principal | 1U;
}

}  // namespace shoal::server
