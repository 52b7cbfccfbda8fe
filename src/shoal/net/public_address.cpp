#include "shoal/net/public_address.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace shoal::net {
namespace {

using boost::asio::ip::address_v6;

struct Block4 {
  std::uint32_t network;
  int bits;
};

constexpr std::uint32_t ip(std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d) {
  return a << 24U | b << 16U | c << 8U | d;
}

constexpr std::array kNotPublic4 = {
    Block4{ip(0, 0, 0, 0), 8},        // this network
    Block4{ip(10, 0, 0, 0), 8},       // private use
    Block4{ip(100, 64, 0, 0), 10},    // shared by carriers
    Block4{ip(127, 0, 0, 0), 8},      // loopback
    Block4{ip(169, 254, 0, 0), 16},   // link-local, and the metadata of clouds
    Block4{ip(172, 16, 0, 0), 12},    // private use
    Block4{ip(192, 0, 0, 0), 24},     // protocol assignments
    Block4{ip(192, 0, 2, 0), 24},     // documentation
    Block4{ip(192, 88, 99, 0), 24},   // 6to4 relays, deprecated
    Block4{ip(192, 168, 0, 0), 16},   // private use
    Block4{ip(198, 18, 0, 0), 15},    // benchmarks
    Block4{ip(198, 51, 100, 0), 24},  // documentation
    Block4{ip(203, 0, 113, 0), 24},   // documentation
    Block4{ip(224, 0, 0, 0), 4},      // multicast
    Block4{ip(240, 0, 0, 0), 4},      // reserved, and broadcast
};

bool is_public_v4(std::uint32_t address) {
  return std::ranges::none_of(kNotPublic4,
                              [address](const Block4& b) { return (address ^ b.network) >> (32 - b.bits) == 0; });
}

std::uint32_t v4_at(const address_v6::bytes_type& bytes, std::size_t at) {
  return ip(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
}

bool starts_with(const address_v6::bytes_type& bytes, std::initializer_list<std::uint8_t> prefix) {
  return std::equal(prefix.begin(), prefix.end(), bytes.begin());
}

bool is_public_v6(const address_v6& address) {
  const auto bytes = address.to_bytes();
  if (address.is_v4_mapped()) return is_public_v4(v4_at(bytes, 12));
  if (starts_with(bytes, {0x00, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0}))
    return is_public_v4(v4_at(bytes, 12));                                     // NAT64
  if (starts_with(bytes, {0x20, 0x02})) return is_public_v4(v4_at(bytes, 2));  // 6to4
  if ((bytes[0] & 0xe0U) != 0x20) return false;  // outside 2000::/3 nothing is global unicast
  // 2001::/23 is for protocols, Teredo among them; its few global blocks are no web servers.
  if (starts_with(bytes, {0x20, 0x01}) && (bytes[2] & 0xfeU) == 0) return false;
  if (starts_with(bytes, {0x20, 0x01, 0x0d, 0xb8})) return false;         // documentation
  return !(starts_with(bytes, {0x3f, 0xff}) && (bytes[2] & 0xf0U) == 0);  // documentation, RFC 9637
}

}  // namespace

bool is_public(const boost::asio::ip::address& address) {
  return address.is_v4() ? is_public_v4(address.to_v4().to_uint()) : is_public_v6(address.to_v6());
}

}  // namespace shoal::net
