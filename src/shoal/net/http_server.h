// HTTP/1.1 server over one io_context: listeners, limits, deadlines, and one Handler per kind of listener.
// An idle connection holds a socket and a timer; a coroutine with its stack exists only while a request is
// read or answered.
//
// Use: construct, start(), run the io_context; at the end drain(), then stop(). Owned by cli/; handlers must
// outlive it. Threads: the io_context's one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "shoal/base/async.h"
#include "shoal/base/result.h"
#include "shoal/net/head.h"
#include "shoal/net/http.h"

namespace shoal::net {

struct ListenerOptions {
  ListenerKind kind = ListenerKind::kPublic;
  std::string host = "127.0.0.1";  // an IP literal or `localhost`; ignored when unix_path is set
  std::uint16_t port = 0;          // 0: any free one, see HttpServer::port()
  std::string unix_path{};         // a Unix socket of mode 0600
};

struct HttpServerOptions {
  std::vector<ListenerOptions> listeners{};
  HeadLimits head{};
  std::size_t max_body_bytes = std::size_t{8} * 1024 * 1024;
  std::size_t max_connections = 1024;
  std::int64_t head_timeout_ms = 10'000;  // from the first byte to the end of the head
  std::int64_t body_grace_ms = 10'000;    // a body of n bytes may take this long and n / body_bytes_per_s
  std::int64_t body_bytes_per_s = 1'000;
  std::int64_t idle_timeout_ms = 75'000;   // between requests
  std::int64_t write_timeout_ms = 30'000;  // for one write of a response
  std::int64_t linger_timeout_ms = 5'000;  // for the client to read an error before the socket closes
  std::vector<std::string> allowed_hosts{};
  std::vector<std::string> allowed_origins{};
};

// Counters since start, for /metrics.
struct HttpServerStats {
  std::uint64_t accepted = 0;
  std::uint64_t refused_full = 0;      // answered 503 because of max_connections
  std::uint64_t accept_failures = 0;   // EMFILE and the like
  std::uint64_t requests = 0;          // that reached a handler
  std::uint64_t refused_requests = 0;  // that did not: malformed, too large, too slow
  std::size_t open_connections = 0;
  std::size_t active_requests = 0;
};

class HttpServer {
 public:
  // `admin_handler` may be empty when no listener is of that kind.
  HttpServer(boost::asio::io_context& io, HttpServerOptions options, Handler public_handler,
             Handler admin_handler = {});
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  ~HttpServer();

  // Opens all listeners or none.
  // Errors: kAddressInUse naming the holder, kInvalidConfig for an address that is none, kIo.
  Result<void> start();

  // The port of the first TCP listener; 0 before start().
  [[nodiscard]] std::uint16_t port() const;
  [[nodiscard]] HttpServerStats stats() const;

  // Takes no new connections, closes idle ones, lets running requests end. False: some were still running
  // after `timeout_ms`; they are closed by stop().
  bool drain(std::int64_t timeout_ms, base::Yield yield);

  // Closes everything at once. Running handlers see client_gone().
  void stop();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace shoal::net
