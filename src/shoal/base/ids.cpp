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
  // 128 bits as 26 digits of 5, of which the last has 3.
  std::array<std::uint64_t, 2> bits{};
  std::memcpy(bits.data(), fresh.data() + used, sizeof bits);
  used += sizeof bits;
  std::array<char, 26> id{};
  for (std::size_t i = 0; i < 12; ++i) {
    id[i] = kAlphabet[(bits[0] >> (5 * i)) & 31U];
    id[12 + i] = kAlphabet[(bits[1] >> (5 * i)) & 31U];
  }
  id[24] = kAlphabet[bits[0] >> 60U | (bits[1] >> 60U & 1U) << 4U];
  id[25] = kAlphabet[(bits[1] >> 61U) << 2U];
  return {id.data(), id.size()};
}

}  // namespace shoal::base
