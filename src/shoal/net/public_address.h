// Which addresses lead out of this machine and its networks. What a client of ours may be talked into connecting to is
// decided on the address that is connected to, never on a name. Threads: any; pure.
#pragma once

#include <boost/asio/ip/address.hpp>

namespace shoal::net {

// False for everything that IANA's special-purpose registries (RFC 6890, 2026) do not call globally reachable, for
// multicast, and for an IPv6 address that carries such an IPv4 one: mapped, 6to4, NAT64.
[[nodiscard]] bool is_public(const boost::asio::ip::address& address);

}  // namespace shoal::net
