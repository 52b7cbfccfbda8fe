#include "shoal/net/http_server.h"

#include <cassert>
#include <chrono>
#include <utility>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/basic_socket_acceptor.hpp>

#include "shoal/net/connection.h"
#include "shoal/net/listener.h"

namespace shoal::net {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Acceptor = asio::basic_socket_acceptor<asio::generic::stream_protocol, asio::io_context::executor_type>;

// Over max_connections this many more get a proper 503; the rest is closed without a word.
constexpr std::size_t kMaxRefusing = 64;
// After an accept failure that the reserve descriptor cannot cure.
constexpr auto kAcceptPause = std::chrono::milliseconds(100);

struct Listener {
  Listener(const asio::io_context::executor_type& executor, ListenerOptions listener_options)
      : acceptor(executor), pause(executor), options(std::move(listener_options)) {}

  Acceptor acceptor;
  base::Timer pause;
  ListenerOptions options;
  bool loopback = true;
};

bool is_loopback_listener(const ListenerOptions& options) {
  return !options.unix_path.empty() || is_loopback_name(options.host);
}

std::uint16_t bound_port(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return 0;
  if (storage.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(storage).sin_port);
  if (storage.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(storage).sin6_port);
  return 0;
}

}  // namespace

struct HttpServer::Impl : std::enable_shared_from_this<HttpServer::Impl> {
  explicit Impl(std::shared_ptr<ServerState> server_state) : state(std::move(server_state)) {}
  ~Impl() { close_reserve(); }

  Result<void> open(const ListenerOptions& options);
  void accept_loop(const std::shared_ptr<Listener>& listener, base::Yield yield);
  void take(Socket socket, const Listener& listener);
  // Takes one waiting client off the queue with the reserve descriptor and drops it. False: that failed.
  bool shed(int listening_fd);
  void close_listeners();
  void close_reserve() {
    if (reserve_fd >= 0) ::close(std::exchange(reserve_fd, -1));
  }

  std::shared_ptr<ServerState> state;
  std::vector<std::shared_ptr<Listener>> listeners;
  int reserve_fd = -1;
  std::uint16_t port = 0;
};

HttpServer::HttpServer(asio::io_context& io, HttpServerOptions options, Handler public_handler, Handler admin_handler)
    : impl_(std::make_shared<Impl>(std::make_shared<ServerState>(io, std::move(options)))) {
  impl_->state->public_handler = std::move(public_handler);
  impl_->state->admin_handler = std::move(admin_handler);
}

HttpServer::~HttpServer() {
  stop();
}

Result<void> HttpServer::start() {
  impl_->reserve_fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  for (const auto& options : impl_->state->options.listeners) {
    auto opened = impl_->open(options);
    if (!opened.ok()) {
      impl_->close_listeners();
      return opened;
    }
  }
  for (const auto& listener : impl_->listeners) {
    base::spawn(listener->acceptor.get_executor(), "accept",
                [impl = impl_, listener](base::Yield yield) { impl->accept_loop(listener, yield); });
  }
  return {};
}

Result<void> HttpServer::Impl::open(const ListenerOptions& options) {
  const bool tcp = options.unix_path.empty();
  const int fd = SHOAL_TRY(tcp ? listen_tcp(options.host, options.port) : listen_unix(options.unix_path));
  auto listener = std::make_shared<Listener>(state->io.get_executor(), options);
  listener->loopback = is_loopback_listener(options);
  error_code ec;
  listener->acceptor.assign(asio::generic::stream_protocol(tcp ? AF_INET : AF_UNIX, 0), fd, ec);
  if (ec) {
    ::close(fd);
    return base::errno_error("cannot watch the listening socket", ec.value());
  }
  if (tcp && port == 0) port = bound_port(fd);
  listeners.push_back(std::move(listener));
  return {};
}

void HttpServer::Impl::accept_loop(const std::shared_ptr<Listener>& listener, base::Yield yield) {
  while (listener->acceptor.is_open()) {
    Socket socket(state->io.get_executor());
    error_code ec;
    listener->acceptor.async_accept(socket, yield[ec]);
    if (!listener->acceptor.is_open()) return;
    if (!ec) {
      // Another thread may have taken the reserve while it was lent out.
      if (reserve_fd < 0) reserve_fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
      take(std::move(socket), *listener);
      continue;
    }
    if (ec == asio::error::connection_aborted) continue;
    ++state->stats.accept_failures;
    const bool out_of_descriptors = ec.value() == EMFILE || ec.value() == ENFILE;
    if (out_of_descriptors && shed(listener->acceptor.native_handle())) continue;
    // Without a pause a queue that cannot be served would be polled at full speed.
    listener->pause.expires_after(kAcceptPause);
    listener->pause.async_wait(yield[ec]);
  }
}

bool HttpServer::Impl::shed(int listening_fd) {
  close_reserve();
  const int fd = ::accept4(listening_fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd >= 0) ::close(fd);
  reserve_fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  return fd >= 0 && reserve_fd >= 0;
}

void HttpServer::Impl::take(Socket socket, const Listener& listener) {
  ++state->stats.accepted;
  error_code ec;
  socket.non_blocking(true, ec);
  if (listener.options.unix_path.empty()) {
    // Tokens are small writes: Nagle would hold each back for the client's delayed acknowledgement.
    const int on = 1;
    ::setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  const std::size_t open = state->connections.size();
  const std::size_t most = state->options.max_connections;
  if (open >= most) ++state->stats.refused_full;
  if (open >= most + kMaxRefusing) return;
  const auto connection =
      std::make_shared<Connection>(state, std::move(socket), listener.options.kind, listener.loopback);
  if (open >= most) {
    connection->start_refusing();
  } else {
    connection->start();
  }
}

void HttpServer::Impl::close_listeners() {
  for (const auto& listener : listeners) {
    error_code ec;
    const bool open = listener->acceptor.is_open();
    listener->acceptor.close(ec);
    listener->pause.cancel();
    if (open && !listener->options.unix_path.empty()) ::unlink(listener->options.unix_path.c_str());
  }
}

std::uint16_t HttpServer::port() const {
  return impl_->port;
}

HttpServerStats HttpServer::stats() const {
  return impl_->state->stats;
}

bool HttpServer::drain(std::int64_t timeout_ms, base::Yield yield) {
  auto& state = *impl_->state;
  state.draining = true;
  impl_->close_listeners();
  const std::vector<Connection*> open(state.connections.begin(), state.connections.end());
  for (Connection* connection : open) {
    if (connection->idle()) connection->close();
  }
  if (!state.connections.empty()) {
    error_code ec;
    state.drained.expires_after(std::chrono::milliseconds(timeout_ms));
    state.drained.async_wait(yield[ec]);
  }
  return state.stats.active_requests == 0;
}

void HttpServer::stop() {
  impl_->close_listeners();
  // close() drops no connection from the set: each is kept alive by its own pending operations.
  const std::vector<Connection*> open(impl_->state->connections.begin(), impl_->state->connections.end());
  for (Connection* connection : open) connection->close();
}

}  // namespace shoal::net
