// A server on a thread of its own, and a blocking client that sees every byte.
#pragma once

#include <functional>
#include <future>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "shoal/net/http_server.h"

namespace shoal::net {

class TestServer {
 public:
  explicit TestServer(Handler handler, HttpServerOptions options = {})
      : server_(io_, with_listener(std::move(options)), std::move(handler)) {
    const auto started = server_.start();
    EXPECT_TRUE(started.ok()) << (started.ok() ? "" : started.error().message());
    thread_ = std::thread([this] { io_.run(); });
  }
  ~TestServer() {
    boost::asio::post(io_, [this] { server_.stop(); });
    thread_.join();
  }
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;

  [[nodiscard]] std::uint16_t port() const { return server_.port(); }
  [[nodiscard]] HttpServer& server() { return server_; }
  [[nodiscard]] boost::asio::io_context& io() { return io_; }

  template <class Function>
  auto on_io_thread(Function function) {
    std::packaged_task<decltype(function())()> task(std::move(function));
    auto result = task.get_future();
    boost::asio::post(io_, [&task] { task(); });
    return result.get();
  }
  HttpServerStats stats() {
    return on_io_thread([this] { return server_.stats(); });
  }
  // Waits until the counters say so; the test's own timeout is the limit.
  void wait_until(const std::function<bool(const HttpServerStats&)>& condition) {
    while (!condition(stats())) std::this_thread::yield();
  }

 private:
  static HttpServerOptions with_listener(HttpServerOptions options) {
    if (options.listeners.empty()) options.listeners.emplace_back();
    return options;
  }

  boost::asio::io_context io_{1};
  HttpServer server_;
  std::thread thread_;
};

class Client {
 public:
  explicit Client(std::uint16_t port, int receive_buffer = 0) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (receive_buffer > 0) ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    connect(port);
  }
  // Without a connection: for tests that need the descriptor first.
  Client() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
  Client(Client&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() { close(); }

  void connect(std::uint16_t port) const {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] std::uint16_t local_port() const {
    sockaddr_in address{};
    socklen_t size = sizeof address;
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    return ntohs(address.sin_port);
  }
  bool send(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  // Reads until `text` has come `times` times; all that came, or what had come when the server closed.
  std::string read_until(std::string_view text, int times = 1) {
    for (;;) {
      std::size_t at = 0;
      int found = 0;
      while ((at = received_.find(text, at)) != std::string::npos) {
        ++found;
        at += text.size();
      }
      if (found >= times || !read_more()) return received_;
    }
  }
  std::string read_all() {
    while (read_more()) {
    }
    return received_;
  }
  // The last read ended in an error: the server closed with input unread, which may destroy its answer.
  [[nodiscard]] bool was_reset() const { return reset_; }

 private:
  bool read_more() {
    std::string part(65536, '\0');
    const ssize_t n = ::recv(fd_, part.data(), part.size(), 0);
    reset_ = n < 0;
    if (n <= 0) return false;
    received_.append(part, 0, static_cast<std::size_t>(n));
    return true;
  }

  int fd_;
  std::string received_;
  bool reset_ = false;
};

inline std::string get_request(std::string_view path, std::string_view fields = {}) {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: localhost\r\n" + std::string(fields) + "\r\n";
}

}  // namespace shoal::net
