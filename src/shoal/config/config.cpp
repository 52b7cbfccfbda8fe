#include "shoal/config/config.h"

#include <arpa/inet.h>
#include <fmt/format.h>

namespace shoal::config {

bool is_loopback(const std::string& host) {
  if (host == "localhost") return true;
  in_addr v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24U) == 127;
  in6_addr v6{};
  return inet_pton(AF_INET6, host.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

Result<void> check_bind(const ServerConfig& server, bool other_keys) {
  if (other_keys || is_loopback(server.host) || !server.api_keys_file.empty() || !server.api_keys_env.empty())
    return {};
  return Error(ErrorCode::kUnsafeBind,
               fmt::format("server.host = \"{}\" can be reached from other machines, and there are no keys: set "
                           "server.api_keys_file, make one with `shoal keys create NAME`, or bind to 127.0.0.1",
                           server.host));
}

}  // namespace shoal::config
