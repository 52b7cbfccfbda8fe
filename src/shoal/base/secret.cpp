#include "shoal/base/secret.h"

#include <sodium.h>

namespace shoal::base {

SecretDigest digest_secret(std::string_view secret) {
  SecretDigest out{};
  crypto_hash_sha256(out.data(), reinterpret_cast<const unsigned char*>(secret.data()), secret.size());
  return out;
}

bool equal_digests(const SecretDigest& a, const SecretDigest& b) {
  return sodium_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace shoal::base
