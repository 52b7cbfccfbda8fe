// One connection of the server: reads requests, checks them, runs the handler, writes the response. Private
// to net/. Owned by shared_ptr: by its pending operations, and counted by the server's state, which
// outlives it. Threads: the io_context's one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>

#include "shoal/net/http_server.h"
#include "shoal/net/origin.h"

namespace shoal::net {

class Connection;
using Socket = boost::asio::basic_stream_socket<boost::asio::generic::stream_protocol, base::Executor>;
// What connections share.
struct ServerState {
  ServerState(boost::asio::io_context& context, HttpServerOptions server_options)
      : io(context), options(std::move(server_options)), drained(context.get_executor()) {}

  boost::asio::io_context& io;
  HttpServerOptions options;
  Handler public_handler;
  Handler admin_handler;
  HttpServerStats stats;
  std::unordered_set<Connection*> connections;
  base::Timer drained;  // cancelled when the last connection ends
  bool draining = false;

  // Buffers of connections that are idle now, for those that are not. Threads: as all of it.
  void keep(std::string buffer);
  [[nodiscard]] std::string take();

  // What the Date field says now; made once a second.
  [[nodiscard]] const std::string& date() const;

 private:
  std::vector<std::string> spare_;
  mutable std::int64_t dated_s_ = -1;
  mutable std::string date_;
};

class Connection final : public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<ServerState> state, Socket socket, ListenerKind kind, bool loopback_listener);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  void start();
  // Answers whatever comes with 503 and closes: the server is full.
  void start_refusing();
  void close();
  [[nodiscard]] bool idle() const { return phase_ == Phase::kIdle; }

  // For the response writer.
  Result<void> write(std::string_view bytes, base::Yield yield);
  // An empty buffer with room, for what write() is given; to be kept for others afterwards.
  [[nodiscard]] std::string take_buffer() { return state_->take(); }
  void keep_buffer(std::string buffer) { state_->keep(std::move(buffer)); }
  // Of what is handled now: stop is requested when the client goes away.
  [[nodiscard]] std::stop_token cancel_token();
  [[nodiscard]] bool gone() const { return gone_; }
  [[nodiscard]] const ServerState& state() const { return *state_; }

 private:
  enum class Phase : std::uint8_t { kIdle, kReading, kHandling, kClosed };

  void wait_idle();
  void watch();
  void on_readable(const boost::system::error_code& ec);
  void read_while_handling();
  void mark_gone();

  void serve(base::Yield yield);
  // False: the connection is to be closed.
  bool serve_one(base::Yield yield);
  Result<RequestHead> read_head(base::Yield yield);
  Result<void> check(const RequestHead& head) const;
  Result<std::string> read_body(const RequestHead& head, base::Yield yield);
  // The bytes read. Errors: kRequestTimeout, kCancelled when the client closed.
  Result<std::size_t> read_some(base::Yield yield);
  bool handle(RequestHead head, std::string body, base::Yield yield);
  void refuse(const Error& error, std::string_view request_id, base::Yield yield);
  void linger(base::Yield yield);

  void arm(std::int64_t timeout_ms);
  void disarm() { limit_ = kNever; }
  void wait_for_limit();

  std::shared_ptr<ServerState> state_;
  Socket socket_;
  base::Timer timer_;
  std::string in_;                             // received, not yet consumed
  std::stop_source cancel_{std::nostopstate};  // made when somebody asks for its token
  // A limit that moves away costs nothing: the timer looks at it when it fires, and goes on waiting.
  static constexpr auto kNever = std::chrono::steady_clock::time_point::max();
  std::chrono::steady_clock::time_point limit_ = kNever;
  std::chrono::steady_clock::time_point fires_ = kNever;
  std::uint64_t timer_generation_ = 0;
  ListenerKind kind_;
  bool loopback_listener_;
  Phase phase_ = Phase::kIdle;
  bool watching_ = false;
  bool timed_out_ = false;
  bool gone_ = false;
};

}  // namespace shoal::net
