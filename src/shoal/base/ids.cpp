#include "shoal/base/ids.h"

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

#include <sodium.h>

namespace shoal::base {

std::string random_id() {
  // The alphabet of https://www.crockford.com/base32.html: no i, l, o, u.
  constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";
  // From the kernel for many ids at once: a call takes as long as all the rest of this.
  thread_local std::array<std::uint8_t, std::size_t{16} * 64> fresh;
  thread_local std::size_t used = fresh.size();
  if (used == fresh.size()) {
    randombytes_buf(fresh.data(), fresh.size());
    used = 0;
  }
  std::array<std::uint8_t, 16> bytes{};
  std::memcpy(bytes.data(), fresh.data() + used, bytes.size());
  used += bytes.size();
  std::string id;
  id.reserve(26);
  std::uint32_t bits = 0;
  int held = 0;
  for (const std::uint8_t byte : bytes) {
    bits = (bits << 8U) | byte;
    held += 8;
    while (held >= 5) {
      held -= 5;
      id += kAlphabet[(bits >> static_cast<unsigned>(held)) & 31U];
    }
  }
  id += kAlphabet[(bits << static_cast<unsigned>(5 - held)) & 31U];
  return id;
}

}  // namespace shoal::base
