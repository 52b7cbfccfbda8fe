#include "shoal/base/ids.h"

#include <array>
#include <cstdint>
#include <string_view>

#include <sodium.h>

namespace shoal::base {

std::string random_id() {
  // The alphabet of https://www.crockford.com/base32.html: no i, l, o, u.
  constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";
  std::array<std::uint8_t, 16> bytes{};
  randombytes_buf(bytes.data(), bytes.size());
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
