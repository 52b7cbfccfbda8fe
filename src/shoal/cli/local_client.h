// A small HTTP client for servers on this machine: commands talk to a running `shoal serve` with it, over the admin
// socket or over TCP. One connection per request. Blocking; every wait has a limit, and a descriptor may end it.
// Use: `LocalClient::over_unix(path).request({.target = "/admin/workers"})`. Threads: one at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shoal/base/result.h"

namespace shoal::cli {

struct LocalRequest {
  std::string method = "GET";
  std::string target{};
  std::string body{};  // JSON; empty: none
  std::vector<std::pair<std::string, std::string>> headers{};
  std::int64_t timeout_ms = 5'000;  // for one wait, not for the whole answer
  int interrupt_fd = -1;            // the request is given up when this can be read; -1: none
};

struct LocalReply {
  int status = 0;
  std::string body;
};

class LocalClient {
 public:
  [[nodiscard]] static LocalClient over_unix(std::string path);
  // An address to listen on serves as one to connect to: 0.0.0.0 and :: become loopback.
  [[nodiscard]] static LocalClient over_tcp(std::string host, std::uint16_t port);

  // Whether something accepts a connection there.
  [[nodiscard]] bool answers() const;

  // Errors: kUnreachable when nothing listens, or the answer breaks off or takes too long; kCancelled
  // when it was interrupted.
  [[nodiscard]] Result<LocalReply> request(const LocalRequest& request) const;

  // Hands over the body of a 200 as it comes; `sink` returns false to stop, and the connection is closed. The body of
  // any other status is collected in the reply. Errors: as request(); kCancelled when `sink` stopped.
  [[nodiscard]] Result<LocalReply> stream(const LocalRequest& request,
                                          const std::function<bool(std::string_view)>& sink) const;

 private:
  LocalClient() = default;
  [[nodiscard]] Result<int> connect() const;

  std::string unix_path_;
  std::string host_;
  std::uint16_t port_ = 0;
};

}  // namespace shoal::cli
