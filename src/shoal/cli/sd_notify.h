// What systemd wants to hear from a Type=notify service: READY, STATUS, STOPPING. Does nothing when NOTIFY_SOCKET is
// unset. The protocol is one datagram (sd_notify(3)); libsystemd would cost more memory at start than it saves code.
// Threads: any.
#pragma once

#include <string_view>

namespace shoal::cli {

// `state` is lines such as "READY=1\nSTATUS=listening on ...". A manager that does not listen is no error.
void sd_notify(std::string_view state);

}  // namespace shoal::cli
