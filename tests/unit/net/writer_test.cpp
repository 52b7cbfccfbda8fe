#include <chrono>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include "unit/net/server_fixture.h"

namespace shoal::net {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::string answer_of(Handler handler, const std::string& version = "1.1", HttpServerOptions options = {}) {
  TestServer server(std::move(handler), std::move(options));
  Client client(server.port());
  client.send("GET / HTTP/" + version + "\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  return client.read_all();
}

void stream(const HttpRequest&, ResponseWriter& writer, base::Yield yield) {
  writer.begin_event_stream();
  EXPECT_TRUE(writer.write_event("1", yield).ok());
  EXPECT_TRUE(writer.write_comment("dropped while held", yield).ok());
  EXPECT_TRUE(writer.write_event("2", yield).ok());
  EXPECT_EQ(writer.state(), ResponseWriter::State::kHeld);
  EXPECT_TRUE(writer.commit(yield).ok());
  EXPECT_EQ(writer.state(), ResponseWriter::State::kCommitted);
  EXPECT_TRUE(writer.write_comment("ping", yield).ok());
  EXPECT_TRUE(writer.write_event("[DONE]", yield).ok());
  EXPECT_TRUE(writer.end_stream(yield).ok());
  EXPECT_EQ(writer.state(), ResponseWriter::State::kFinished);
}

TEST(Writer, StreamsEventsInChunks) {
  const auto answer = answer_of(stream);
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Type: text/event-stream; charset=utf-8\r\n"));
  EXPECT_THAT(answer, HasSubstr("X-Accel-Buffering: no\r\n"));
  EXPECT_THAT(answer, HasSubstr("Transfer-Encoding: chunked\r\n"));
  EXPECT_THAT(
      answer,
      EndsWith("\r\n\r\n12\r\ndata: 1\n\ndata: 2\n\n\r\n8\r\n: ping\n\n\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"));
  EXPECT_THAT(answer, Not(HasSubstr("\nid:")));
  EXPECT_THAT(answer, Not(HasSubstr("\nretry:")));
}

TEST(Writer, StreamsToHttp10UntilTheClose) {
  const auto answer = answer_of(stream, "1.0");
  EXPECT_THAT(answer, Not(HasSubstr("Transfer-Encoding")));
  EXPECT_THAT(answer, EndsWith("\r\n\r\ndata: 1\n\ndata: 2\n\n: ping\n\ndata: [DONE]\n\n"));
}

TEST(Writer, WhatIsHeldMayStillBecomeAnError) {
  const auto answer = answer_of([](const HttpRequest&, ResponseWriter& writer, base::Yield yield) {
    writer.begin_event_stream();
    EXPECT_TRUE(writer.write_event("half an answer", yield).ok());
    writer.discard();
    writer.set_header("Retry-After", "5");
    writer.set_header("retry-after", "7");
    EXPECT_TRUE(writer.send(503, "application/json", "{}", yield).ok());
  });
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503 Service Unavailable\r\n"));
  EXPECT_THAT(answer, Not(HasSubstr("half")));
  EXPECT_THAT(answer, HasSubstr("Retry-After: 7\r\n"));
  EXPECT_THAT(answer, Not(HasSubstr(": 5\r\n")));
}

TEST(Writer, AHeaderCannotSplitTheResponse) {
  const auto answer = answer_of([](const HttpRequest&, ResponseWriter& writer, base::Yield yield) {
    writer.set_header("X-A", "a\r\nX-Evil: 1");
    writer.set_header("X B", "b");
    EXPECT_TRUE(writer.send(200, "text/plain", "", yield).ok());
  });
  EXPECT_THAT(answer, Not(HasSubstr("Evil")));
  EXPECT_THAT(answer, Not(HasSubstr("X B")));
}

TEST(Writer, NoContentHasNeitherBodyNorLength) {
  const auto answer = answer_of([](const HttpRequest&, ResponseWriter& writer, base::Yield yield) {
    EXPECT_TRUE(writer.send(204, "text/plain", "ignored", yield).ok());
  });
  EXPECT_THAT(answer, Not(HasSubstr("Content-Length")));
  EXPECT_THAT(answer, EndsWith("\r\n\r\n"));
}

TEST(Writer, AnAbandonedStreamEndsWithTheConnection) {
  const auto answer = answer_of([](const HttpRequest&, ResponseWriter& writer, base::Yield yield) {
    writer.begin_event_stream();
    EXPECT_TRUE(writer.commit(yield).ok());
    EXPECT_TRUE(writer.write_event("1", yield).ok());
  });
  EXPECT_THAT(answer, EndsWith("data: 1\n\n\r\n")) << "without the last chunk the client sees that it was cut";
}

// Waits in the handler until the writer says that the client is gone.
class GoneHandler {
 public:
  void operator()(const HttpRequest&, ResponseWriter& writer, base::Yield yield) {
    base::Timer gone(yield.get_executor(), std::chrono::hours(1));
    int calls = 0;
    const std::stop_callback left(writer.cancel_token(), [&] {
      ++calls;
      gone.cancel();
    });
    started.set_value();
    boost::system::error_code ec;
    gone.async_wait(yield[ec]);
    EXPECT_TRUE(writer.client_gone());
    const auto sent = writer.send(200, "text/plain", "too late", yield);
    EXPECT_EQ(sent.ok() ? ErrorCode::kInternal : sent.error().code(), ErrorCode::kCancelled);
    EXPECT_EQ(calls, 1);
    finished.set_value();
  }
  std::promise<void> started;
  std::promise<void> finished;
};

TEST(Writer, SeesTheClientGoWhileNothingIsWritten) {
  for (const bool pipelined : {false, true}) {
    GoneHandler handler;
    TestServer server(std::ref(handler));
    Client client(server.port());
    client.send(get_request("/") + (pipelined ? get_request("/next") : ""));
    handler.started.get_future().wait();
    client.close();
    handler.finished.get_future().wait();
  }
}

TEST(Writer, WhatIsPipelinedBehindARunningRequestIsBounded) {
  GoneHandler handler;
  TestServer server(std::ref(handler));
  Client client(server.port());
  client.send(get_request("/"));
  handler.started.get_future().wait();
  const std::string block(std::size_t{1} << 20U, 'x');
  std::size_t taken = 0;
  pollfd writable{client.fd(), POLLOUT, 0};
  // Until nothing more is taken: the buffers of the kernel hold a few MiB.
  while (taken < std::size_t{256} << 20U && ::poll(&writable, 1, 300) > 0) {
    const ssize_t n = ::send(client.fd(), block.data(), block.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) taken += static_cast<std::size_t>(n);
  }
  EXPECT_LT(taken, std::size_t{64} << 20U);
  server.on_io_thread([&] { server.server().stop(); });
  handler.finished.get_future().wait();
}

TEST(Writer, StopIsSeenAsAClientThatLeft) {
  GoneHandler handler;
  TestServer server(std::ref(handler));
  Client client(server.port());
  client.send(get_request("/"));
  handler.started.get_future().wait();
  server.on_io_thread([&] { server.server().stop(); });
  handler.finished.get_future().wait();
  EXPECT_EQ(client.read_all(), "");
}

TEST(Writer, AClientThatDoesNotReadIsCut) {
  std::promise<ErrorCode> outcome;
  TestServer server(
      [&](const HttpRequest&, ResponseWriter& writer, base::Yield yield) {
        const auto sent = writer.send(200, "text/plain", std::string(std::size_t{64} << 20U, 'x'), yield);
        outcome.set_value(sent.ok() ? ErrorCode::kInternal : sent.error().code());
      },
      {.write_timeout_ms = 100});
  Client client(server.port(), 4096);
  client.send(get_request("/"));
  EXPECT_EQ(outcome.get_future().get(), ErrorCode::kRequestTimeout);
}

TEST(Writer, PipelinedRequestWaitsForTheRunningOne) {
  TestServer server([](const HttpRequest& request, ResponseWriter& writer, base::Yield yield) {
    if (request.path == "/slow") {
      base::Timer timer(yield.get_executor(), std::chrono::milliseconds(50));
      boost::system::error_code ec;
      timer.async_wait(yield[ec]);
    }
    EXPECT_TRUE(writer.send(200, "text/plain", request.path, yield).ok());
  });
  Client client(server.port());
  client.send(get_request("/slow"));
  client.send(get_request("/fast"));
  const auto answers = client.read_until("\r\n\r\n/fast");
  EXPECT_LT(answers.find("\r\n\r\n/slow"), answers.find("\r\n\r\n/fast"));
}

}  // namespace
}  // namespace shoal::net
