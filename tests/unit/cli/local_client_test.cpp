#include "shoal/cli/local_client.h"

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <thread>

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace shoal::cli {
namespace {

namespace fs = std::filesystem;

// Accepts one connection, reads the head of a request, says `answer` and closes; an empty answer: says nothing until
// the client is gone.
class OneAnswer {
 public:
  explicit OneAnswer(std::string answer) {
    std::string pattern = (fs::temp_directory_path() / "shoal-client-XXXXXX").string();
    dir_ = mkdtemp(pattern.data());
    path_ = (dir_ / "s").string();
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.data(), path_.size());
    listener_ = ::socket(AF_UNIX, SOCK_STREAM, 0);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_, 1), 0);
    thread_ = std::thread([this, answer = std::move(answer)] { serve(answer); });
  }
  OneAnswer(const OneAnswer&) = delete;
  OneAnswer& operator=(const OneAnswer&) = delete;
  ~OneAnswer() {
    thread_.join();
    ::close(listener_);
    fs::remove_all(dir_);
  }

  const std::string& path() const { return path_; }
  const std::string& asked() const { return asked_; }

 private:
  void serve(const std::string& answer) {
    const int fd = ::accept(listener_, nullptr, nullptr);
    char buffer[4096];
    while (asked_.find("\r\n\r\n") == std::string::npos) {
      const ssize_t n = ::read(fd, buffer, sizeof buffer);
      if (n <= 0) break;
      asked_.append(buffer, static_cast<std::size_t>(n));
    }
    if (answer.empty()) {
      while (::read(fd, buffer, sizeof buffer) > 0) continue;
    } else {
      EXPECT_EQ(::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL), static_cast<ssize_t>(answer.size()));
    }
    ::close(fd);
  }

  fs::path dir_;
  std::string path_;
  std::string asked_;
  int listener_ = -1;
  std::thread thread_;
};

TEST(LocalClient, ReadsAnAnswerOfKnownLength) {
  OneAnswer server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
  const auto reply = LocalClient::over_unix(server.path()).request({.target = "/x"});
  ASSERT_TRUE(reply.ok()) << reply.error().message();
  EXPECT_EQ(reply->status, 200);
  EXPECT_EQ(reply->body, "{}");
  EXPECT_TRUE(server.asked().starts_with("GET /x HTTP/1.1\r\nHost: localhost\r\n"));
}

TEST(LocalClient, DoesNotHoldBackSmallWrites) {
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listener, 1), 0);
  socklen_t size = sizeof address;
  ASSERT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  std::thread server([listener] {
    const int fd = ::accept(listener, nullptr, nullptr);
    const std::string_view answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    EXPECT_EQ(::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL), static_cast<ssize_t>(answer.size()));
    char byte = 0;
    while (::read(fd, &byte, 1) > 0) continue;
    ::close(fd);
  });
  int seen = 0;
  const auto reply = LocalClient::over_tcp("127.0.0.1", ntohs(address.sin_port)).stream({.target = "/"}, [&](auto) {
    for (int fd = 0; fd < 1024; ++fd) {
      sockaddr_in peer{};
      socklen_t length = sizeof peer;
      if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) != 0 || peer.sin_port != address.sin_port)
        continue;
      int on = 0;
      socklen_t bytes = sizeof on;
      EXPECT_EQ(::getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &bytes), 0);
      EXPECT_NE(on, 0);
      ++seen;
    }
    return true;
  });
  EXPECT_TRUE(reply.ok());
  EXPECT_EQ(seen, 1) << "the client's socket was not seen";
  server.join();
  ::close(listener);
}

TEST(LocalClient, JoinsChunks) {
  OneAnswer server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  EXPECT_EQ(LocalClient::over_unix(server.path()).request({.target = "/"})->body, "abcde");
}

TEST(LocalClient, ErrorBodiesAreInTheReplyAndNotInTheStream) {
  OneAnswer server("HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nnot");
  bool called = false;
  const auto reply = LocalClient::over_unix(server.path()).stream({.target = "/"}, [&](std::string_view) {
    called = true;
    return true;
  });
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->status, 404);
  EXPECT_EQ(reply->body, "not");
  EXPECT_FALSE(called);
}

TEST(LocalClient, AnAnswerThatBreaksOffIsAnError) {
  OneAnswer server("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
  const auto reply = LocalClient::over_unix(server.path()).request({.target = "/"});
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().code(), ErrorCode::kUnreachable);
}

TEST(LocalClient, ASilentServerIsGivenUp) {
  OneAnswer server("");
  const auto reply = LocalClient::over_unix(server.path()).request({.target = "/", .timeout_ms = 1});
  ASSERT_FALSE(reply.ok());
  EXPECT_NE(reply.error().message().find("in time"), std::string::npos) << reply.error().message();
}

TEST(LocalClient, TheSinkCanStopTheStream) {
  OneAnswer server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  const auto reply =
      LocalClient::over_unix(server.path()).stream({.target = "/"}, [](std::string_view) { return false; });
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().code(), ErrorCode::kCancelled);
}

TEST(LocalClient, NobodyThereIsAnError) {
  const LocalClient nobody = LocalClient::over_unix("/nonexistent/socket");
  EXPECT_FALSE(nobody.answers());
  EXPECT_EQ(nobody.request({.target = "/"}).error().code(), ErrorCode::kUnreachable);
  EXPECT_EQ(LocalClient::over_unix(std::string(200, 'x')).request({.target = "/"}).error().code(),
            ErrorCode::kUnreachable);
}

}  // namespace
}  // namespace shoal::cli
