// HttpClient: requests to other HTTP/1.1 servers, in the clear or over TLS. Connections are kept and used again; an
// idle one holds a socket and no coroutine. A name is resolved for each new connection, and each address is checked
// before anything is sent to it. Nothing is retried and no redirect is followed: whoever sends decides what may leave
// again.
//
//   HttpExchange exchange(client, upstream, limits, cancel);
//   SHOAL_TRY(exchange.send(request, yield));
//   std::optional<int> status = SHOAL_TRY(exchange.status(wake, yield));  // nothing: `wake` passed; ask again
//   switch (SHOAL_TRY(exchange.read(body, wake, yield))) ...
//
// Owned by cli/'s App; an exchange by the coroutine that runs it. Threads: the io_context's one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "shoal/base/async.h"
#include "shoal/base/clock.h"
#include "shoal/base/result.h"

namespace shoal::net {

// Where requests go.
struct Upstream {
  std::string host;  // a name, or an IP literal without brackets
  std::uint16_t port = 0;
  bool tls = true;                 // certificate and name are checked
  bool private_addresses = false;  // it may be on this machine or its networks: see is_public()
  std::string name{};              // in errors, in place of host and port; empty: those

  auto operator<=>(const Upstream&) const = default;
};

struct BaseUrl {
  Upstream upstream;
  std::string path;  // without a slash at its end: "/v1", or empty
};
// "https://api.example.com/v1". Errors: kInvalidConfig when it is no http or https URL, or has a user, a query or a
// fragment.
[[nodiscard]] Result<BaseUrl> parse_base_url(std::string_view url);

// A view: what it points to outlives HttpExchange::send().
struct ClientRequest {
  std::string_view method = "POST";
  std::string_view target;                                             // origin-form: "/v1/chat/completions"
  std::vector<std::pair<std::string_view, std::string_view>> headers;  // without Host, Content-Length and Connection
  std::string_view body;
};

struct ClientLimits {
  std::int64_t connect_ms = 10'000;  // name, connection and TLS
  std::int64_t head_ms = 600'000;    // from the request to the head of its response
  std::int64_t read_ms = 120'000;    // between two reads of the body
  std::size_t head_bytes = std::size_t{64} * 1024;
  base::Deadline deadline{};  // of all of it
  bool fresh = false;         // on a connection of its own, not on one that has served before
};

struct HttpClientOptions {
  std::string ca_file{};                  // PEM; empty: the system's
  std::size_t idle_per_upstream = 64;     // connections
  std::int64_t idle_timeout_ms = 55'000;  // less than the minute after which most servers close
};

class HttpClient {
 public:
  HttpClient(boost::asio::io_context& io, const base::Clock& clock, HttpClientOptions options);
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;
  // Closes idle connections; exchanges that run keep what they need.
  ~HttpClient();

  // Connections that wait for another request.
  [[nodiscard]] std::size_t idle() const;
  void close_idle();

 private:
  friend class HttpExchange;
  struct Pool;
  std::shared_ptr<Pool> pool_;
};

// One request and its response. Destroying it before the end of the response closes the connection.
class HttpExchange {
 public:
  // `cancel` is requested on the I/O thread.
  HttpExchange(HttpClient& client, Upstream upstream, ClientLimits limits, std::stop_token cancel);
  HttpExchange(const HttpExchange&) = delete;
  HttpExchange& operator=(const HttpExchange&) = delete;
  ~HttpExchange();

  // Once. Errors: kUnreachable (no such name, refused, TLS, cut off, no HTTP, a limit of `limits` passed),
  // kPolicyDenied (an address that is not public), kDeadlineExceeded, kCancelled, kInvalidRequest (a line break in a
  // header).
  [[nodiscard]] Result<void> send(const ClientRequest& request, base::Yield yield);
  // The status of the response, when its head has come; nothing when `wake` passes first: call again. Once it came,
  // not again. Interim responses are passed over. Errors: as send().
  [[nodiscard]] Result<std::optional<int>> status(base::Deadline wake, base::Yield yield);
  // The first header of that name, ignoring case; empty when there is none. REQUIRES: status() came.
  [[nodiscard]] std::string_view header(std::string_view name) const;
  enum class Read : std::uint8_t {
    kMore,    // something was appended to `out`
    kEnd,     // that was all; and so it says whenever it is asked again
    kNotYet,  // `wake` passed first: call again
  };
  // What comes next of the body. Nothing is appended but with kMore. Errors: as send().
  [[nodiscard]] Result<Read> read(std::string& out, base::Deadline wake, base::Yield yield);

  // Whether a byte of the request may have left.
  [[nodiscard]] bool sent() const { return sent_; }
  // Whether the connection had served before.
  [[nodiscard]] bool reused() const { return reused_; }
  // It had, and broke before a byte of the response came: most likely the other side had just closed it, as it may.
  [[nodiscard]] bool stale() const { return reused_ && broke_ && !heard_; }

 private:
  struct Link;
  struct Parser;
  // Stops what a link waits for.
  struct Stop {
    std::shared_ptr<Link> link;
    void operator()() const;
  };
  friend class HttpClient;

  Result<void> connect(base::Yield yield);
  Result<void> start_tls(base::Yield yield);
  Result<void> write(std::string_view bytes, base::Yield yield);
  // More bytes into the link; false: `wake` passed first. `what` waited, for the message when `until` passes.
  Result<bool> read_more(base::Deadline until, base::Deadline wake, std::string_view what, base::Yield yield);
  [[nodiscard]] Error failure(std::string_view what) const;
  void give_back();

  std::shared_ptr<HttpClient::Pool> pool_;
  const Upstream upstream_;
  const ClientLimits limits_;
  std::shared_ptr<Link> link_;
  std::unique_ptr<Parser> parser_;
  int interim_ = 0;          // responses before the response
  base::Deadline answered_;  // when the head must have come
  base::Deadline next_;      // when the next bytes of the body must have come
  bool sent_ = false;
  bool reused_ = false;
  bool heard_ = false;  // a byte of the response came
  bool broke_ = false;  // the other side ended the connection
  bool cut_ = false;    // it did so before it had taken the whole request; it may have answered all the same
  std::stop_token cancel_;
  std::optional<std::stop_callback<Stop>> on_cancel_;
};

}  // namespace shoal::net
