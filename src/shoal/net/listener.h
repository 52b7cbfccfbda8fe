// Opens listening sockets. Owned by the caller: a file descriptor. Threads: any; blocks for a moment.
#pragma once

#include <cstdint>
#include <string>

#include "shoal/base/result.h"

namespace shoal::net {

// A bound and listening, non-blocking TCP socket. `host` is an IP literal or `localhost`.
// Errors: kInvalidConfig, kAddressInUse (names the process that holds the port), kIo.
[[nodiscard]] Result<int> listen_tcp(const std::string& host, std::uint16_t port);

// A listening Unix socket of mode 0600. A socket file on which nobody listens is replaced; any other
// file is left alone. Errors: kInvalidConfig, kAddressInUse, kAlreadyExists, kIo.
[[nodiscard]] Result<int> listen_unix(const std::string& path);

// "pid 1234 (nginx)", or empty when it cannot be seen (another user's process).
[[nodiscard]] std::string holder_of_port(std::uint16_t port);

}  // namespace shoal::net
