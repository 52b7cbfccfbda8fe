#include <chrono>
#include <filesystem>
#include <fstream>
#include <vector>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "shoal/net/http_server.h"

#include "unit/net/server_fixture.h"

namespace shoal::net {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

void echo(const HttpRequest& request, ResponseWriter& writer, base::Yield yield) {
  writer.send(200, "text/plain", request.method + " " + request.path + " " + request.body, yield).ignore("client left");
}

std::string exchange(std::uint16_t port, std::string_view request, std::string_view until) {
  Client client(port);
  client.send(request);
  return client.read_until(until);
}

TEST(Server, AnswersAndKeepsTheConnection) {
  TestServer server(echo);
  Client client(server.port());
  client.send(get_request("/a%20b"));
  const auto answer = client.read_until("GET /a b ");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Length: 9\r\n"));
  EXPECT_THAT(answer, HasSubstr("Cache-Control: no-store\r\n"));
  EXPECT_THAT(answer, testing::ContainsRegex("\r\nDate: [A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} "));
  client.send("POST /p HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
  EXPECT_THAT(client.read_until("POST /p hi"), EndsWith("POST /p hi"));
}

TEST(Server, AnswersAThousandPipelinedRequestsInOrder) {
  TestServer server(echo);
  std::string requests;
  for (int i = 0; i < 1000; ++i)
    requests += get_request("/n" + std::to_string(i), "X-Pad: " + std::string(80, 'p') + "\r\n");
  ASSERT_GT(requests.size(), 100'000U);
  Client client(server.port());
  std::thread sender([&] { client.send(requests); });
  const auto answers = client.read_until("GET /n999 ");
  sender.join();
  std::size_t at = 0;
  for (int i = 0; i < 1000; ++i) {
    at = answers.find("GET /n" + std::to_string(i) + " ", at);
    ASSERT_NE(at, std::string::npos) << "answer " << i << " is missing or out of order";
  }
}

TEST(Server, HeadHasTheLengthOfTheBodyButNoBody) {
  TestServer server(echo);
  const auto answer =
      exchange(server.port(), "HEAD /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "never");
  EXPECT_THAT(answer, HasSubstr("Content-Length: 8\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\n"));
}

TEST(Server, RefusalIsJsonThenClose) {
  TestServer server(echo);
  const auto answer = exchange(server.port(), "GET / HTTP/1.1\r\n\r\n" + get_request("/second"), "never");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 400 Bad Request\r\n"));
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(answer, EndsWith(R"("type":"invalid_request_error","param":null,"code":"invalid_http"}})"));
  EXPECT_THAT(answer, Not(HasSubstr("second")));
  EXPECT_EQ(server.stats().requests, 0U);
}

TEST(Server, LargeRefusedBodyDoesNotDestroyTheAnswer) {
  TestServer server(echo, {.max_body_bytes = 1000});
  for (const char* framing : {"Content-Length: 50000006", "Transfer-Encoding: chunked"}) {
    Client client(server.port());
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\n" + std::string(framing) + "\r\n\r\nFFFF\r\n");
    EXPECT_TRUE(client.send(std::string(50'000'000, 'x'))) << framing;
    EXPECT_THAT(client.read_all(), HasSubstr("payload_too_large")) << framing;
    EXPECT_FALSE(client.was_reset()) << framing;
  }
}

TEST(Server, ABodyMayBeAsLargeAsTheLimit) {
  TestServer server(echo, {.max_body_bytes = 10});
  const auto send = [&](std::size_t bytes) {
    return exchange(server.port(),
                    "POST /p HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: " +
                        std::to_string(bytes) + "\r\n\r\n" + std::string(bytes, 'x'),
                    "never");
  };
  EXPECT_THAT(send(10), EndsWith("POST /p xxxxxxxxxx"));
  EXPECT_THAT(send(11), StartsWith("HTTP/1.1 413"));
}

TEST(Server, AsksForTheBodyOnlyWhenTheClientWaits) {
  TestServer server(echo);
  Client client(server.port());
  const std::string head = "POST /e HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
  client.send(head);
  EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("ok");
  EXPECT_THAT(client.read_until("POST /e ok"), EndsWith("POST /e ok"));
  EXPECT_THAT(exchange(server.port(), head + "ok", "POST /e ok"), StartsWith("HTTP/1.1 200"));
}

TEST(Server, ChecksHostOriginAndEncoding) {
  TestServer server(echo);
  EXPECT_THAT(exchange(server.port(), "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", "never"),
              HasSubstr("origin_denied"));
  EXPECT_THAT(exchange(server.port(), get_request("/", "Origin: https://evil.example\r\n"), "never"),
              HasSubstr("origin_denied"));
  EXPECT_THAT(exchange(server.port(), "GET / HTTP/1.0\r\n\r\n", "never"), HasSubstr("invalid_http"));
  EXPECT_THAT(exchange(server.port(), get_request("/", "Content-Encoding: gzip\r\n"), "never"),
              StartsWith("HTTP/1.1 415"));
}

TEST(Server, EchoesAFitRequestIdAndReplacesAnyOther) {
  TestServer server(echo);
  EXPECT_THAT(exchange(server.port(), get_request("/", "x-request-id: a-1.B_\r\n"), "GET / "),
              HasSubstr("x-request-id: a-1.B_\r\n"));
  EXPECT_THAT(exchange(server.port(), get_request("/", "x-request-id: " + std::string(128, 'a') + "\r\n"), "GET / "),
              HasSubstr("x-request-id: " + std::string(128, 'a') + "\r\n"));
  for (const std::string& unfit : {std::string("a b"), std::string(129, 'a')}) {
    const auto replaced = exchange(server.port(), get_request("/", "x-request-id: " + unfit + "\r\n"), "GET / ");
    EXPECT_THAT(replaced, testing::ContainsRegex("x-request-id: [0-9a-z]{26}\r\n")) << unfit;
  }
}

TEST(Server, TcpNodelayIsOnForAcceptedSockets) {
  TestServer server(echo);
  Client client(server.port());
  client.send(get_request("/"));
  client.read_until("GET / ");
  int found = 0;
  for (int fd = 0; fd < 1024; ++fd) {
    sockaddr_in peer{};
    socklen_t size = sizeof peer;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0 || peer.sin_family != AF_INET) continue;
    if (ntohs(peer.sin_port) != client.local_port()) continue;
    int on = 0;
    socklen_t length = sizeof on;
    ASSERT_EQ(::getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &length), 0);
    EXPECT_NE(on, 0);
    ++found;
  }
  EXPECT_EQ(found, 1) << "the accepted socket was not seen";
}

TEST(Server, TwoHundredSlowHeadsAreCutAndStopNobody) {
  TestServer server(echo, {.head_timeout_ms = 200});
  std::vector<Client> slow;
  for (int i = 0; i < 200; ++i) {
    slow.emplace_back(server.port());
    slow.back().send("GET / HTTP/1.1\r\nHost: loc");
  }
  EXPECT_THAT(exchange(server.port(), get_request("/healthy"), "GET /healthy "), StartsWith("HTTP/1.1 200"));
  for (auto& client : slow) EXPECT_THAT(client.read_all(), StartsWith("HTTP/1.1 408"));
}

TEST(Server, BytesNowAndThenDoNotExtendTheDeadline) {
  TestServer server(echo, {.head_timeout_ms = 200, .body_grace_ms = 200, .body_bytes_per_s = 1000});
  for (const char* start :
       {"GET / HTTP/1.1\r\nX: ", "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"}) {
    Client client(server.port());
    client.send(start);
    // Each byte comes long before a deadline per read would fire; only an absolute one ends this.
    char c = 0;
    while (::recv(client.fd(), &c, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && client.send("a")) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    EXPECT_THAT(client.read_all(), StartsWith("HTTP/1.1 408")) << start;
  }
}

TEST(Server, ABodyThatCameFastEnoughHasTimeToGoOn) {
  TestServer server(echo, {.body_grace_ms = 50, .body_bytes_per_s = 1});
  Client client(server.port());
  client.send("POST /p HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1001\r\n\r\n" + std::string(1000, 'x'));
  // Past the grace; 1000 bytes have earned 1000 s.
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  client.send("y");
  EXPECT_THAT(client.read_until("xy"), StartsWith("HTTP/1.1 200"));
}

TEST(Server, IdleConnectionsAreClosed) {
  TestServer server(echo, {.idle_timeout_ms = 50});
  Client client(server.port());
  EXPECT_EQ(client.read_all(), "");
}

TEST(Server, AnswersPlainlyWhenItIsFull) {
  TestServer server(echo, {.max_connections = 2});
  Client first(server.port());
  Client second(server.port());
  server.wait_until([](const HttpServerStats& stats) { return stats.open_connections == 2; });
  Client third(server.port());
  third.send(get_request("/"));
  const auto answer = third.read_all();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(answer, HasSubstr("too_many_connections"));
  EXPECT_THAT(answer, HasSubstr("Retry-After: 1\r\n"));
  first.close();
  server.wait_until([](const HttpServerStats& stats) { return stats.open_connections < 2; });
  EXPECT_THAT(exchange(server.port(), get_request("/"), "GET / "), StartsWith("HTTP/1.1 200"));
}

TEST(Server, RunningOutOfDescriptorsShedsAndRecovers) {
  TestServer server(echo);
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  rlimit low = before;
  low.rlim_cur = 256;
  ::setrlimit(RLIMIT_NOFILE, &low);
  Client client;  // its descriptor must exist before the others are used up
  std::vector<int> fill;
  // On the server's own thread: elsewhere the loop could take the descriptor that the server has lent itself.
  std::promise<void> filled;
  boost::asio::post(server.io(), [&] {
    for (int fd = 0; (fd = ::dup(client.fd())) >= 0;) fill.push_back(fd);
    filled.set_value();
  });
  filled.get_future().wait();
  client.connect(server.port());
  EXPECT_EQ(client.read_all(), "") << "the connection is dropped, not left hanging";
  for (const int fd : fill) ::close(fd);
  EXPECT_THAT(exchange(server.port(), get_request("/"), "GET / "), StartsWith("HTTP/1.1 200"));
  EXPECT_LT(server.stats().accept_failures, 10U) << "the accept loop spins";
  EXPECT_GT(server.stats().accept_failures, 0U);
  ::setrlimit(RLIMIT_NOFILE, &before);
}

TEST(Server, HandlerWithoutAnAnswerIsAnInternalError) {
  TestServer server([](const HttpRequest&, ResponseWriter&, base::Yield) {});
  EXPECT_THAT(exchange(server.port(), get_request("/"), "never"), HasSubstr(R"("code":"internal")"));
}

TEST(Server, DrainLetsARunningRequestEndAndClosesIdleOnes) {
  std::promise<void> started;
  TestServer server([&](const HttpRequest&, ResponseWriter& writer, base::Yield yield) {
    base::Timer timer(yield.get_executor(), std::chrono::milliseconds(100));
    started.set_value();
    boost::system::error_code ec;
    timer.async_wait(yield[ec]);
    writer.send(200, "text/plain", "done", yield).ignore("checked by the client");
  });
  Client idle(server.port());
  Client busy(server.port());
  busy.send(get_request("/"));
  started.get_future().wait();
  std::promise<bool> drained;
  boost::asio::post(server.io(), [&] {
    base::spawn(server.io().get_executor(), "drain",
                [&](base::Yield yield) { drained.set_value(server.server().drain(60'000, yield)); });
  });
  const auto answer = busy.read_all();
  EXPECT_THAT(answer, EndsWith("done"));
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
  EXPECT_EQ(idle.read_all(), "");
  EXPECT_TRUE(drained.get_future().get());
}

TEST(Server, TakenPortNamesItsHolder) {
  TestServer server(echo);
  boost::asio::io_context io;
  HttpServerOptions options;
  options.listeners.push_back({.port = server.port()});
  HttpServer second(io, options, echo);
  const auto started = second.start();
  ASSERT_FALSE(started.ok());
  EXPECT_EQ(started.error().code(), ErrorCode::kAddressInUse);
  EXPECT_THAT(started.error().message(), HasSubstr("pid " + std::to_string(::getpid()) + " (net_test"));
  EXPECT_THAT(started.error().message(), HasSubstr("--port " + std::to_string(server.port() + 1)));
}

class UnixListener : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/shoal-net-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    options_.listeners.push_back({.kind = ListenerKind::kAdmin, .unix_path = path()});
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  [[nodiscard]] std::string path() const { return folder_ + "/admin.sock"; }

  Result<void> start_another() {
    boost::asio::io_context io;
    HttpServer server(io, options_, {}, echo);
    return server.start();
  }

  std::string folder_;
  HttpServerOptions options_;
};

TEST_F(UnixListener, IsForItsOwnerOnlyAndRemovedAtTheEnd) {
  {
    boost::asio::io_context io;
    HttpServer server(io, options_, {}, echo);
    ASSERT_TRUE(server.start().ok());
    struct stat info{};
    ASSERT_EQ(::stat(path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777U, 0600U);
  }
  EXPECT_FALSE(std::filesystem::exists(path()));
}

TEST_F(UnixListener, ReplacesASocketOnlyIfNobodyListens) {
  boost::asio::io_context io;
  HttpServer server(io, options_, {}, echo);
  ASSERT_TRUE(server.start().ok());
  EXPECT_EQ(start_another().error().code(), ErrorCode::kAddressInUse);
  EXPECT_TRUE(std::filesystem::exists(path()));
  server.stop();
  const int stale = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path().copy(static_cast<char*>(address.sun_path), sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(stale, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ::close(stale);
  EXPECT_TRUE(start_another().ok());
}

TEST_F(UnixListener, LeavesOtherFilesAlone) {
  std::ofstream(path()) << "precious";
  EXPECT_EQ(start_another().error().code(), ErrorCode::kAlreadyExists);
  EXPECT_EQ(std::filesystem::file_size(path()), 8U);
}

}  // namespace
}  // namespace shoal::net
