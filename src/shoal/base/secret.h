// Comparing secrets without telling, by the time it takes, how much of a guess was right: only digests are kept
// and compared. Threads: any; pure.
#pragma once

#include <array>
#include <string_view>

namespace shoal::base {

// SHA-256, unkeyed: the same for the same secret in every process.
using SecretDigest = std::array<unsigned char, 32>;
[[nodiscard]] SecretDigest digest_secret(std::string_view secret);

// In a time that does not depend on where the digests differ.
[[nodiscard]] bool equal_digests(const SecretDigest& a, const SecretDigest& b);

}  // namespace shoal::base
