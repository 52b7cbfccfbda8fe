#include "shoal/cli/local_client.h"

#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

namespace shoal::cli {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;

// Answers to commands are small; a stream is not collected.
constexpr std::size_t kMaxReplyBytes = std::size_t{64} * 1024 * 1024;

// A descriptor as Beast's SyncStream, where each wait has a limit. Asio's own blocking read would wait for ever.
class TimedStream {
 public:
  TimedStream(int fd, std::int64_t timeout_ms, int interrupt_fd)
      : fd_(fd), timeout_ms_(timeout_ms), interrupt_fd_(interrupt_fd) {}
  TimedStream(const TimedStream&) = delete;
  TimedStream& operator=(const TimedStream&) = delete;
  ~TimedStream() { ::close(fd_); }

  template <class Buffers>
  std::size_t read_some(const Buffers& buffers, error_code& error) {
    const asio::mutable_buffer first = *asio::buffer_sequence_begin(buffers);
    if (!wait(POLLIN, error)) return 0;
    const ssize_t n = ::recv(fd_, first.data(), first.size(), 0);
    if (n < 0) error.assign(errno, boost::system::system_category());
    if (n == 0) error = asio::error::eof;
    return n > 0 ? static_cast<std::size_t>(n) : 0;
  }
  template <class Buffers>
  std::size_t write_some(const Buffers& buffers, error_code& error) {
    for (auto it = asio::buffer_sequence_begin(buffers); it != asio::buffer_sequence_end(buffers); ++it) {
      const asio::const_buffer buffer = *it;
      if (buffer.size() == 0) continue;
      if (!wait(POLLOUT, error)) return 0;
      const ssize_t n = ::send(fd_, buffer.data(), buffer.size(), MSG_NOSIGNAL);
      if (n < 0) error.assign(errno, boost::system::system_category());
      return n > 0 ? static_cast<std::size_t>(n) : 0;
    }
    return 0;
  }
  // Required by the concept; the forms above are the ones that are called.
  template <class Buffers>
  std::size_t read_some(const Buffers& buffers) {
    error_code error;
    return read_some(buffers, error);
  }
  template <class Buffers>
  std::size_t write_some(const Buffers& buffers) {
    error_code error;
    return write_some(buffers, error);
  }

 private:
  bool wait(short events, error_code& error) const {
    error.clear();
    std::array<pollfd, 2> waiting = {pollfd{.fd = fd_, .events = events, .revents = 0},
                                     pollfd{.fd = interrupt_fd_, .events = POLLIN, .revents = 0}};
    const int ready = ::poll(waiting.data(), waiting.size(), static_cast<int>(timeout_ms_));
    if (ready < 0) error.assign(errno, boost::system::system_category());
    if (ready > 0 && waiting[1].revents != 0) error = asio::error::interrupted;
    if (ready == 0) error = asio::error::timed_out;
    return !error;
  }

  int fd_;
  std::int64_t timeout_ms_;
  int interrupt_fd_;
};

Error broken(const error_code& error) {
  if (error == asio::error::interrupted) return {ErrorCode::kCancelled, "interrupted"};
  if (error == asio::error::timed_out) return {ErrorCode::kUnreachable, "the server did not answer in time"};
  return {ErrorCode::kUnreachable, fmt::format("the connection to the server broke: {}", error.message())};
}

}  // namespace

LocalClient LocalClient::over_unix(std::string path) {
  LocalClient client;
  client.unix_path_ = std::move(path);
  return client;
}

LocalClient LocalClient::over_tcp(std::string host, std::uint16_t port) {
  LocalClient client;
  client.host_ = host == "0.0.0.0" ? "127.0.0.1" : host == "::" ? "::1" : std::move(host);
  client.port_ = port;
  return client;
}

Result<int> LocalClient::connect() const {
  if (!unix_path_.empty()) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (unix_path_.size() >= sizeof address.sun_path) {
      return Error(ErrorCode::kUnreachable, fmt::format("the path of the socket is too long: {}", unix_path_));
    }
    std::memcpy(address.sun_path, unix_path_.data(), unix_path_.size());
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
    const int cause = errno;
    if (fd >= 0) ::close(fd);
    return base::errno_error(fmt::format("no server answers on {}", unix_path_), cause, ErrorCode::kUnreachable);
  }
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const std::string where = fmt::format("{}:{}", host_, port_);
  if (const int code = ::getaddrinfo(host_.c_str(), std::to_string(port_).c_str(), &hints, &found); code != 0) {
    return Error(ErrorCode::kUnreachable, fmt::format("cannot find {}: {}", where, ::gai_strerror(code)));
  }
  int cause = ECONNREFUSED;
  int connected = -1;
  for (const addrinfo* at = found; at != nullptr && connected < 0; at = at->ai_next) {
    const int fd = ::socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, 0);
    if (fd >= 0 && ::connect(fd, at->ai_addr, at->ai_addrlen) == 0) {
      connected = fd;
    } else {
      cause = errno;
      if (fd >= 0) ::close(fd);
    }
  }
  ::freeaddrinfo(found);
  if (connected >= 0) {
    const int on = 1;  // head and body are two writes; the second must not wait for the answer to the first
    ::setsockopt(connected, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return connected;
  }
  return base::errno_error(fmt::format("no server answers at {}", where), cause, ErrorCode::kUnreachable);
}

bool LocalClient::answers() const {
  const Result<int> fd = connect();
  if (fd.ok()) ::close(*fd);
  return fd.ok();
}

Result<LocalReply> LocalClient::request(const LocalRequest& asked) const {
  std::string body;
  LocalReply reply = SHOAL_TRY(stream(asked, [&](std::string_view part) {
    body += part;
    return body.size() <= kMaxReplyBytes;
  }));
  if (reply.status == 200) reply.body = std::move(body);
  return reply;
}

Result<LocalReply> LocalClient::stream(const LocalRequest& asked,
                                       const std::function<bool(std::string_view)>& sink) const {
  const int fd = SHOAL_TRY(connect());
  TimedStream stream(fd, asked.timeout_ms, asked.interrupt_fd);
  http::request<http::string_body> message;
  message.method_string(asked.method);
  message.target(asked.target);
  message.version(11);
  message.set(http::field::host, "localhost");
  message.set(http::field::connection, "close");
  for (const auto& [name, value] : asked.headers) message.set(name, value);
  if (!asked.body.empty()) {
    message.set(http::field::content_type, "application/json");
    message.body() = asked.body;
  }
  message.prepare_payload();
  error_code error;
  http::write(stream, message, error);
  if (error) return broken(error);

  beast::flat_buffer buffer;
  http::response_parser<http::buffer_body> parser;
  parser.body_limit(boost::none);
  http::read_header(stream, buffer, parser, error);
  if (error) return broken(error);
  LocalReply reply{.status = static_cast<int>(parser.get().result_int()), .body = {}};
  std::array<char, 16384> part{};
  while (!parser.is_done()) {
    parser.get().body() = {.data = part.data(), .size = part.size(), .more = true};
    // read_some hands over what has come; read would wait until the buffer is full.
    http::read_some(stream, buffer, parser, error);
    if (error == http::error::need_buffer) error.clear();
    if (error) return broken(error);
    const std::string_view got(part.data(), part.size() - parser.get().body().size);
    if (got.empty()) continue;
    if (reply.status != 200) {
      reply.body += got;
      if (reply.body.size() > kMaxReplyBytes) return Error(ErrorCode::kUnreachable, "the answer is too large");
    } else if (!sink(got)) {
      return Error(ErrorCode::kCancelled, "stopped");
    }
  }
  return reply;
}

}  // namespace shoal::cli
