// The client against servers that answer, misbehave, or speak TLS.
#include "shoal/net/http_client.h"

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>

#include "unit/net/scripted_server.h"
#include "unit/net/server_fixture.h"

namespace shoal::net {
namespace {

namespace asio = boost::asio;
using testing::HasSubstr;

void echo(const HttpRequest& request, ResponseWriter& writer, base::Yield yield) {
  writer.send(200, "text/plain", request.method + " " + request.path + " " + request.body, yield).ignore("client left");
}

struct Answer {
  int status = 0;
  std::string content_type;
  std::string body;
  bool reused = false;
  bool sent = false;
  std::optional<Error> error;
};

class HttpClientTest : public testing::Test {
 protected:
  static Upstream local(std::uint16_t port) { return {"127.0.0.1", port, false, true}; }

  // Runs `body` as a coroutine to its end.
  void run(const std::function<void(base::Yield)>& body) {
    bool done = false;
    base::spawn(io, "test", [&](base::Yield yield) {
      body(yield);
      done = true;
    });
    io.restart();
    while (!done) io.run_one();
  }
  void turn(std::chrono::milliseconds time) {
    io.restart();
    io.run_for(time);
  }
  static Result<int> status_of(HttpExchange& exchange, const ClientRequest& request, base::Yield yield) {
    SHOAL_TRY(exchange.send(request, yield));
    const std::optional<int> status = SHOAL_TRY(exchange.status({}, yield));
    EXPECT_TRUE(status) << "nothing wakes it";
    return *status;
  }
  static void read_all(HttpExchange& exchange, Answer& answer, base::Yield yield) {
    for (;;) {
      const auto more = exchange.read(answer.body, {}, yield);
      if (!more.ok()) answer.error = more.error();
      if (!more.ok() || *more == HttpExchange::Read::kEnd) return;
    }
  }
  // The whole answer, or what went wrong.
  Answer ask(const Upstream& upstream, const ClientRequest& request, ClientLimits limits = {},
             const std::stop_token& cancel = {}) {
    Answer answer;
    run([&](base::Yield yield) {
      HttpExchange exchange(client, upstream, limits, cancel);
      const auto status = status_of(exchange, request, yield);
      answer.reused = exchange.reused();
      answer.sent = exchange.sent();
      if (!status.ok()) {
        answer.error = status.error();
        return;
      }
      answer.status = *status;
      answer.content_type = exchange.header("content-type");
      EXPECT_EQ(exchange.header("none"), "");
      read_all(exchange, answer, yield);
    });
    return answer;
  }
  Answer get(const Upstream& upstream, ClientLimits limits = {}) {
    return ask(upstream, {"GET", "/a", {}, {}}, limits);
  }
  // What a server gets that says this, and then closes.
  Answer get_from(const std::string& response, ClientLimits limits = {}) {
    const ScriptedServer server([&](int fd) {
      ScriptedServer::read_request(fd);
      ScriptedServer::write(fd, response);
    });
    return get(local(server.port()), limits);
  }
  static std::string why(const Answer& answer) { return answer.error ? answer.error->message() : "(no error)"; }

  asio::io_context io{1};
  base::SystemClock clock;
  HttpClient client{io, clock, {}};
};

TEST_F(HttpClientTest, AConnectionServesOneRequestAfterTheOther) {
  TestServer server(echo);
  const Answer first = ask(local(server.port()), {"POST", "/v1/chat", {{"X-A", "b"}}, "hello"});
  ASSERT_FALSE(first.error) << why(first);
  EXPECT_EQ(first.status, 200);
  EXPECT_EQ(first.content_type, "text/plain");
  EXPECT_EQ(first.body, "POST /v1/chat hello");
  EXPECT_FALSE(first.reused);
  EXPECT_EQ(client.idle(), 1U);
  const Answer second = get(local(server.port()));
  EXPECT_EQ(second.body, "GET /a ");
  EXPECT_TRUE(second.reused);
  EXPECT_EQ(server.stats().accepted, 1U);
  client.close_idle();
  EXPECT_EQ(client.idle(), 0U);
  EXPECT_FALSE(get(local(server.port())).reused);
}

TEST_F(HttpClientTest, TheRequestIsWhatAServerExpects) {
  std::string got;
  ScriptedServer server([&](int fd) {
    got = ScriptedServer::read_request(fd);
    ScriptedServer::write(fd, "HTTP/1.1 204 No Content\r\n\r\n");
  });
  const Answer answer = ask(local(server.port()), {"GET", "/x?y=1", {{"Authorization", "Bearer k"}}, {}});
  EXPECT_EQ(answer.status, 204);
  EXPECT_EQ(got, "GET /x?y=1 HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(server.port()) +
                     "\r\nContent-Length: 0\r\nAuthorization: Bearer k\r\n\r\n");
}

TEST_F(HttpClientTest, ALineBreakInAHeaderIsRefusedBeforeAnythingIsSent) {
  ScriptedServer server([](int) {});
  for (const auto& request : {ClientRequest{"GET", "/", {{"A", "b\r\nC: d"}}, {}},
                              ClientRequest{"GET", "/", {{"A\n", "b"}}, {}}, ClientRequest{"GET", "/\r\n", {}, {}}}) {
    const Answer answer = ask(local(server.port()), request);
    ASSERT_TRUE(answer.error);
    EXPECT_EQ(answer.error->code(), ErrorCode::kInvalidRequest);
    EXPECT_FALSE(answer.sent);
  }
  EXPECT_EQ(server.connections, 0);
}

TEST_F(HttpClientTest, LargeBodiesBothWays) {
  TestServer server(echo);
  const std::string body(std::size_t{5} * 1024 * 1024, 'x');
  const Answer answer = ask(local(server.port()), {"POST", "/", {}, body});
  ASSERT_FALSE(answer.error) << why(answer);
  EXPECT_EQ(answer.body.size(), body.size() + 7);
}

TEST_F(HttpClientTest, AnAnswerMayComeInPiecesOfAnySize) {
  const std::string response =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n \r\n5\r\nworld\r\n0\r\nT: "
      "v\r\n\r\n";
  for (std::size_t cut = 0; cut <= response.size(); ++cut) {
    ScriptedServer server([&](int fd) {
      const int on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      ScriptedServer::read_request(fd);
      ScriptedServer::write(fd, response.substr(0, cut));
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      ScriptedServer::write(fd, response.substr(cut));
      ScriptedServer::wait_for_end(fd);
    });
    const Answer answer = get(local(server.port()));
    ASSERT_FALSE(answer.error) << cut << ": " << why(answer);
    EXPECT_EQ(answer.body, "hello world") << cut;
    EXPECT_EQ(client.idle(), 1U);
    client.close_idle();
  }
}

TEST_F(HttpClientTest, AnAnswerThatIsCutOffIsAnError) {
  for (const char* const response : {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
                                     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
                                     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"}) {
    const Answer answer = get_from(response);
    EXPECT_EQ(answer.body, "hello");
    ASSERT_TRUE(answer.error) << response;
    EXPECT_EQ(answer.error->code(), ErrorCode::kUnreachable);
    EXPECT_THAT(why(answer), HasSubstr("closed the connection in the midst of its answer"));
  }
  for (const char* const response : {"", "HTTP/1.1 200 OK\r\nContent-"})
    EXPECT_THAT(why(get_from(response)), HasSubstr("closed the connection without an answer"));
  EXPECT_EQ(client.idle(), 0U);
}

TEST_F(HttpClientTest, AnAnswerWithoutALengthEndsWithTheConnection) {
  const Answer answer = get_from("HTTP/1.0 200 OK\r\n\r\nall of it");
  ASSERT_FALSE(answer.error) << why(answer);
  EXPECT_EQ(answer.body, "all of it");
  EXPECT_EQ(client.idle(), 0U);
}

// What belongs to no request would be read as the answer to the next one.
TEST_F(HttpClientTest, AConnectionWithMoreThanItsAnswerIsNotUsedAgain) {
  const Answer answer = get_from("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n");
  ASSERT_FALSE(answer.error) << why(answer);
  EXPECT_EQ(answer.body, "ok");
  EXPECT_EQ(client.idle(), 0U);
}

TEST_F(HttpClientTest, WhatIsNoHttpIsAnError) {
  for (const std::string& response : {std::string("SSH-2.0-OpenSSH_9.2\r\n\r\n"), std::string("HTTP/1.1 abc\r\n\r\n"),
                                      "HTTP/1.1 200 OK\r\nA: " + std::string(70'000, 'x') + "\r\n\r\n",
                                      std::string("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")}) {
    const Answer answer = get_from(response);
    ASSERT_TRUE(answer.error) << response.substr(0, 50);
    EXPECT_EQ(answer.error->code(), ErrorCode::kUnreachable);
    EXPECT_THAT(why(answer), HasSubstr("answered with no HTTP")) << response.substr(0, 50);
  }
}

TEST_F(HttpClientTest, InterimAnswersArePassedOver) {
  const Answer answer = get_from(
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: "
      "2\r\n\r\nok");
  ASSERT_FALSE(answer.error) << why(answer);
  EXPECT_EQ(answer.body, "ok");
}

TEST_F(HttpClientTest, InterimAnswersWithoutEndAreAnError) {
  std::string flood;
  for (int i = 0; i < 17; ++i) flood += "HTTP/1.1 100 Continue\r\n\r\n";
  const Answer answer = get_from(flood + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  ASSERT_TRUE(answer.error);
  EXPECT_THAT(why(answer), HasSubstr("interim"));
  EXPECT_EQ(get_from("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n").status, 101)
      << "nobody asked for it, so nothing follows";
  EXPECT_EQ(client.idle(), 0U) << "what it speaks now is no HTTP";
}

TEST_F(HttpClientTest, AnAnswerThatComesBeforeTheRequestWasTakenIsRead) {
  const ScriptedServer server([&](int fd) {
    char byte = 0;
    ::recv(fd, &byte, 1, 0);
    ScriptedServer::write(fd, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
  });
  const std::string body(std::size_t{16} << 20, 'a');
  const Answer answer = ask(local(server.port()), {"POST", "/", {}, body});
  EXPECT_EQ(answer.status, 413) << why(answer);
  EXPECT_EQ(client.idle(), 0U) << "what was not sent would be taken for the next request";
}

TEST_F(HttpClientTest, AConnectionThatBreaksWhenItIsUsedAgainIsStale) {
  std::atomic<int> requests = 0;
  const ScriptedServer server([&](int fd) {
    for (;;) {
      if (ScriptedServer::read_request(fd).empty() || ++requests == 2) return;
      ScriptedServer::write(fd, requests == 4 ? "HTTP/1.1 2" : "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
      if (requests == 4) return;
    }
  });
  const auto stale = [&] {
    bool out = false;
    run([&](base::Yield yield) {
      HttpExchange exchange(client, local(server.port()), {}, {});
      const auto status = status_of(exchange, {"GET", "/", {}, {}}, yield);
      out = exchange.stale();
      std::string body;
      if (status.ok()) {
        EXPECT_TRUE(exchange.read(body, {}, yield).ok());
      }
    });
    return out;
  };
  EXPECT_FALSE(stale());
  EXPECT_EQ(client.idle(), 1U);
  EXPECT_TRUE(stale()) << "the second request, on the same connection";
  EXPECT_FALSE(stale());
  EXPECT_FALSE(stale()) << "on the same connection, but in the midst of its answer";
  EXPECT_FALSE(stale());
  EXPECT_EQ(client.idle(), 1U);
  client.close_idle();
}

TEST_F(HttpClientTest, AFreshConnectionIsNotOneThatWaits) {
  TestServer server(echo);
  EXPECT_FALSE(get(local(server.port())).error);
  EXPECT_EQ(client.idle(), 1U);
  EXPECT_FALSE(get(local(server.port()), {.fresh = true}).reused);
  EXPECT_EQ(server.stats().accepted, 2U);
  EXPECT_EQ(client.idle(), 2U);
  client.close_idle();
}

TEST_F(HttpClientTest, EachWaitHasALimitAndAllHaveADeadline) {
  ScriptedServer mute([](int fd) { ScriptedServer::wait_for_end(fd); });
  const Answer late = get(local(mute.port()), {.head_ms = 30});
  EXPECT_THAT(why(late), HasSubstr("did not answer within 30 ms"));
  EXPECT_TRUE(late.sent);
  const Answer over = get(local(mute.port()), {.deadline = base::Deadline::after_ms(clock, 30)});
  ASSERT_TRUE(over.error);
  EXPECT_EQ(over.error->code(), ErrorCode::kDeadlineExceeded);

  ScriptedServer stalls([](int fd) {
    ScriptedServer::read_request(fd);
    ScriptedServer::write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    ScriptedServer::wait_for_end(fd);
  });
  const Answer stalled = get(local(stalls.port()), {.read_ms = 30});
  EXPECT_EQ(stalled.body, "hello");
  EXPECT_THAT(why(stalled), HasSubstr("did not send anything within 30 ms"));

  Upstream tls = local(mute.port());
  tls.tls = true;
  const Answer no_tls = get(tls, {.connect_ms = 30});
  EXPECT_THAT(why(no_tls), HasSubstr("did not finish the TLS handshake within 30 ms"));
  EXPECT_FALSE(no_tls.sent);
}

// Whoever waits has other things to do now and then, such as a sign of life for its own client.
TEST_F(HttpClientTest, AWakeInterruptsTheWaitAndNothingElse) {
  std::atomic<int> go = 0;
  const auto wait_for = [&](int step) {
    while (go < step) std::this_thread::yield();
  };
  const std::shared_ptr<void> at_the_end(nullptr, [&](void*) { go = 2; });  // the server's thread waits for it
  ScriptedServer server([&](int fd) {
    ScriptedServer::read_request(fd);
    wait_for(1);
    ScriptedServer::write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    wait_for(2);
    ScriptedServer::write(fd, "world");
    ScriptedServer::wait_for_end(fd);
  });
  run([&](base::Yield yield) {
    HttpExchange exchange(client, local(server.port()), {}, {});
    ASSERT_TRUE(exchange.send({"GET", "/", {}, {}}, yield).ok());
    for (int i = 0; i < 3; ++i) {
      const auto none = exchange.status(base::Deadline::after_ms(clock, 5), yield);
      ASSERT_TRUE(none.ok()) << none.error().message();
      EXPECT_FALSE(*none);
    }
    go = 1;
    const auto status = exchange.status({}, yield);
    ASSERT_TRUE(status.ok()) << status.error().message();
    ASSERT_TRUE(*status);
    std::string body;
    while (body != "hello") ASSERT_TRUE(exchange.read(body, {}, yield).ok());
    for (int i = 0; i < 3; ++i) {
      const auto none = exchange.read(body, base::Deadline::after_ms(clock, 5), yield);
      ASSERT_TRUE(none.ok()) << none.error().message();
      EXPECT_EQ(*none, HttpExchange::Read::kNotYet);
      EXPECT_EQ(body, "hello");
    }
    go = 2;
    for (;;) {
      const auto more = exchange.read(body, {}, yield);
      ASSERT_TRUE(more.ok());
      if (*more == HttpExchange::Read::kEnd) break;
    }
    EXPECT_EQ(body, "helloworld");
  });
  EXPECT_EQ(client.idle(), 1U);
  client.close_idle();  // the server waits for it
}

// The limit of one wait is not that of the next, though one timer watches them all.
TEST_F(HttpClientTest, WakesDoNotMoveTheLimitOfAWait) {
  ScriptedServer mute([](int fd) { ScriptedServer::wait_for_end(fd); });
  run([&](base::Yield yield) {
    HttpExchange exchange(client, local(mute.port()), {.head_ms = 60}, {});
    ASSERT_TRUE(exchange.send({"GET", "/", {}, {}}, yield).ok());
    int wakes = 0;
    for (;; ++wakes) {
      const auto status = exchange.status(base::Deadline::after_ms(clock, 10), yield);
      if (status.ok()) {
        ASSERT_LT(wakes, 60) << "the limit never comes";
        continue;
      }
      EXPECT_THAT(status.error().message(), HasSubstr("did not answer within 60 ms"));
      break;
    }
    EXPECT_GE(wakes, 1);
  });
}

TEST_F(HttpClientTest, ACancelEndsAnyWait) {
  ScriptedServer mute([](int fd) { ScriptedServer::wait_for_end(fd); });
  Upstream tls = local(mute.port());
  tls.tls = true;
  for (const Upstream& upstream : {local(mute.port()), tls}) {
    std::stop_source stop;
    base::Timer timer(io, std::chrono::milliseconds(20));
    timer.async_wait([&](const base::error_code&) { stop.request_stop(); });
    const Answer answer = ask(upstream, {"GET", "/", {}, {}}, {}, stop.get_token());
    ASSERT_TRUE(answer.error);
    EXPECT_EQ(answer.error->code(), ErrorCode::kCancelled);
  }
  std::stop_source stopped;
  stopped.request_stop();
  const Answer never = ask(local(mute.port()), {"GET", "/", {}, {}}, {}, stopped.get_token());
  ASSERT_TRUE(never.error);
  EXPECT_EQ(never.error->code(), ErrorCode::kCancelled);
  EXPECT_FALSE(never.sent);
}

TEST_F(HttpClientTest, APrivateAddressIsNotConnectedToUnlessItMay) {
  TestServer server(echo);
  for (const char* const host : {"127.0.0.1", "localhost", "::ffff:127.0.0.1"}) {
    const Answer answer = get({host, server.port(), false, false});
    ASSERT_TRUE(answer.error) << host;
    EXPECT_EQ(answer.error->code(), ErrorCode::kPolicyDenied) << why(answer);
    EXPECT_THAT(why(answer), HasSubstr("no public address"));
    EXPECT_FALSE(answer.sent);
  }
  EXPECT_EQ(server.stats().accepted, 0U);
  EXPECT_EQ(get({"localhost", server.port(), false, true}).body, "GET /a ") << "by name, where it may";
  // A connection that was allowed is none for an upstream that may not.
  EXPECT_EQ(client.idle(), 1U);
  EXPECT_TRUE(get({"localhost", server.port(), false, false}).error);
}

TEST_F(HttpClientTest, WhoCannotBeReachedIsNamed) {
  std::uint16_t closed = 0;
  {
    const TestServer server(echo);
    closed = server.port();
  }
  const Answer refused = get(local(closed));
  EXPECT_THAT(why(refused),
              HasSubstr("127.0.0.1:" + std::to_string(closed) + " cannot be reached: Connection refused"));
  EXPECT_FALSE(refused.sent);
  const Answer nobody = get({"nobody.invalid", 80, false, true}, {.connect_ms = 20'000});
  ASSERT_TRUE(nobody.error);
  EXPECT_EQ(nobody.error->code(), ErrorCode::kUnreachable);
  EXPECT_THAT(why(nobody), HasSubstr("nobody.invalid"));
}

TEST_F(HttpClientTest, AConnectionThatTheServerClosesIsNotUsedAgain) {
  HttpServerOptions options;
  options.idle_timeout_ms = 20;
  TestServer server(echo, options);
  EXPECT_FALSE(get(local(server.port())).error);
  for (int i = 0; i < 100 && client.idle() > 0; ++i) turn(std::chrono::milliseconds(20));
  EXPECT_EQ(client.idle(), 0U);
  const Answer again = get(local(server.port()));
  EXPECT_FALSE(again.error) << why(again);
  EXPECT_FALSE(again.reused);
}

TEST_F(HttpClientTest, AnExchangeThatIsGivenUpClosesItsConnection) {
  std::atomic<bool> closed = false;
  ScriptedServer server([&](int fd) {
    ScriptedServer::read_request(fd);
    ScriptedServer::write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    ScriptedServer::wait_for_end(fd);
    closed = true;
  });
  run([&](base::Yield yield) {
    HttpExchange exchange(client, local(server.port()), {}, {});
    EXPECT_TRUE(status_of(exchange, {"GET", "/", {}, {}}, yield).ok());
  });
  while (!closed) std::this_thread::yield();
  EXPECT_EQ(client.idle(), 0U);
}

TEST_F(HttpClientTest, NothingWaitsForALargerSegment) {
  TestServer server(echo);
  EXPECT_FALSE(get(local(server.port())).error);
  int found = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    const int fd = std::stoi(entry.path().filename().string());
    sockaddr_in peer{};
    socklen_t size = sizeof peer;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0 || peer.sin_family != AF_INET) continue;
    int on = 0;
    socklen_t on_size = sizeof on;
    EXPECT_EQ(::getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &on_size), 0);
    EXPECT_EQ(on, 1) << (ntohs(peer.sin_port) == server.port() ? "ours" : "the server's");
    ++found;
  }
  EXPECT_EQ(found, 2) << "both ends";
}

// --- TLS

// A certificate of its own authority for one name, and the server that shows it.
class TlsServer {
 public:
  explicit TlsServer(const std::string& name) : context_(asio::ssl::context::tls_server), acceptor_(io_) {
    make_certificate(name);
    acceptor_ = asio::ip::tcp::acceptor(io_, {asio::ip::address_v4::loopback(), 0});
    port_ = acceptor_.local_endpoint().port();
    thread_ = std::thread([this] {
      for (base::error_code ec; !ec;) {
        asio::ssl::stream<asio::ip::tcp::socket> stream(io_, context_);
        acceptor_.accept(stream.next_layer(), ec);
        if (!ec && !stopping_) serve(stream);
        if (stopping_) return;
      }
    });
  }
  ~TlsServer() {
    stopping_ = true;
    {
      const Client waker(port_);
    }
    thread_.join();
    std::filesystem::remove(ca_file_);
  }
  TlsServer(const TlsServer&) = delete;
  TlsServer& operator=(const TlsServer&) = delete;
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] const std::string& ca_file() const { return ca_file_; }

 private:
  static void serve(asio::ssl::stream<asio::ip::tcp::socket>& stream) {
    base::error_code ec;
    stream.handshake(asio::ssl::stream_base::server, ec);
    std::string in(65536, '\0');
    while (!ec) {
      stream.read_some(asio::buffer(in), ec);
      if (!ec)
        asio::write(stream, asio::buffer(std::string_view("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")), ec);
    }
  }
  void make_certificate(const std::string& name) {
    EVP_PKEY* const key = EVP_EC_gen("P-256");
    X509* const certificate = X509_new();
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME* const subject = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("test"), -1, -1, 0);
    X509_set_issuer_name(certificate, subject);
    X509_EXTENSION* const names = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, name.c_str());
    X509_add_ext(certificate, names, -1);
    X509_EXTENSION_free(names);
    X509_sign(certificate, key, EVP_sha256());
    ca_file_ = testing::TempDir() + "http_client_ca_" + std::to_string(::getpid()) + ".pem";
    BIO* const out = BIO_new_file(ca_file_.c_str(), "w");
    PEM_write_bio_X509(out, certificate);
    BIO_free(out);
    SSL_CTX_use_certificate(context_.native_handle(), certificate);
    SSL_CTX_use_PrivateKey(context_.native_handle(), key);
    X509_free(certificate);
    EVP_PKEY_free(key);
  }

  asio::io_context io_;
  asio::ssl::context context_;
  asio::ip::tcp::acceptor acceptor_;
  std::uint16_t port_ = 0;
  std::string ca_file_;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

TEST_F(HttpClientTest, TlsWithACertificateThatIsTrusted) {
  const TlsServer server("DNS:localhost");
  HttpClient trusting(io, clock, {.ca_file = server.ca_file()});
  Answer answer;
  for (const bool reused : {false, true}) {
    run([&](base::Yield yield) {
      HttpExchange exchange(trusting, {"localhost", server.port(), true, true}, {}, {});
      const auto status = status_of(exchange, {"GET", "/", {}, {}}, yield);
      ASSERT_TRUE(status.ok()) << status.error().message();
      EXPECT_EQ(exchange.reused(), reused);
      answer = {};
      read_all(exchange, answer, yield);
    });
    EXPECT_FALSE(answer.error) << why(answer);
    EXPECT_EQ(answer.body, "secret");
    EXPECT_EQ(trusting.idle(), 1U);
  }
}

TEST_F(HttpClientTest, TlsRefusesAnUnknownAuthorityAndAnotherName) {
  const TlsServer server("DNS:localhost");
  const Answer unknown = get({"localhost", server.port(), true, true});
  ASSERT_TRUE(unknown.error);
  EXPECT_THAT(why(unknown), HasSubstr("certificate that is not trusted"));
  EXPECT_FALSE(unknown.sent) << "not a byte of the request";

  HttpClient trusting(io, clock, {.ca_file = server.ca_file()});
  run([&](base::Yield yield) {
    HttpExchange exchange(trusting, {"127.0.0.1", server.port(), true, true}, {}, {});
    const auto status = status_of(exchange, {"GET", "/", {}, {}}, yield);
    ASSERT_FALSE(status.ok());
    EXPECT_THAT(status.error().message(), HasSubstr("certificate that is not trusted"));
    EXPECT_FALSE(exchange.sent());
  });
  HttpClient nowhere(io, clock, {.ca_file = "/nowhere.pem"});
  run([&](base::Yield yield) {
    HttpExchange exchange(nowhere, {"localhost", server.port(), true, true}, {}, {});
    const auto status = status_of(exchange, {"GET", "/", {}, {}}, yield);
    ASSERT_FALSE(status.ok());
    EXPECT_THAT(status.error().message(), HasSubstr("/nowhere.pem"));
  });
}

// --- URLs

TEST(BaseUrl, NamesTheUpstreamAndThePath) {
  const auto plain = parse_base_url("https://api.example.com/v1/");
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->upstream, (Upstream{"api.example.com", 443, true, false}));
  EXPECT_EQ(plain->path, "/v1");
  const auto local = parse_base_url("http://[::1]:8080");
  ASSERT_TRUE(local.ok());
  EXPECT_EQ(local->upstream, (Upstream{"::1", 8080, false, false}));
  EXPECT_EQ(local->path, "");
}

TEST(BaseUrl, SaysWhatIsWrong) {
  for (const auto& [url, why] :
       std::vector<std::pair<std::string, std::string>>{{"api.example.com/v1", "neither https"},
                                                        {"ftp://a", "neither https"},
                                                        {"https://user:key@a/v1", "user"},
                                                        {"https://a/v1?key=x", "query"},
                                                        {"https://a/v1#x", "fragment"},
                                                        {"https:///v1", "base URL"},
                                                        {"https://a:0/", "port"},
                                                        {"https://a:99999/", "port"},
                                                        {"https://a b/", "blank"}}) {
    const auto parsed = parse_base_url(url);
    ASSERT_FALSE(parsed.ok()) << url;
    EXPECT_THAT(parsed.error().message(), HasSubstr(why)) << url;
  }
}

}  // namespace
}  // namespace shoal::net
