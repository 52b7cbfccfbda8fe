// What a provider sends is an answer only when it says that it is complete; everything else is an error in time.
#include "shoal/provider/remote_answer.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

#include "shoal/provider/provider.h"

#include "unit/net/scripted_server.h"

namespace shoal::provider {
namespace {

using net::ScriptedServer;
using testing::HasSubstr;
using testing::Not;

const std::string kWhole =
    R"({"id":"c1","object":"chat.completion","model":"big","choices":[{"index":0,"message":{"role":"assistant",)"
    R"("content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}})";

std::string chunk(const std::string& delta, const std::string& finish = "null") {
  return R"(data: {"id":"c1","object":"chat.completion.chunk","choices":[{"index":0,"delta":)" + delta +
         R"(,"finish_reason":)" + finish + "}]}\n\n";
}
const std::string kRole = chunk(R"({"role":"assistant","content":""})");
const std::string kText = chunk(R"({"content":"Hi"})");
const std::string kFinish = chunk("{}", R"("stop")");
const std::string kUsage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1}}\n\n";
const std::string kDone = "data: [DONE]\n\n";

std::string with_length(const std::string& body, const std::string& status = "200 OK",
                        const std::string& headers = "Content-Type: application/json\r\n") {
  return "HTTP/1.1 " + status + "\r\n" + headers + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}
std::string stream(const std::string& body) {
  return "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nConnection: close\r\n\r\n" + body;
}

struct Heard {
  std::vector<types::RemoteEvent> events;
  std::optional<Error> error;
  int status = 0;

  [[nodiscard]] std::string text() const {
    std::string all;
    for (const auto& event : events) {
      for (const auto& delta : event.deltas) all += delta.text;
    }
    return all;
  }
  [[nodiscard]] std::string why() const { return error ? error->message() : "(no error)"; }
};

class RemoteAnswerTest : public testing::Test {
 protected:
  static ProviderOptions options(std::int64_t first_token_ms = 5'000, std::int64_t token_ms = 5'000,
                                 std::int64_t answer_ms = 5'000) {
    ProviderOptions made;
    made.name = "acme";
    made.first_token_ms = first_token_ms;
    made.token_ms = token_ms;
    made.answer_ms = answer_ms;
    return made;
  }

  // What the pipeline would hear of a provider that sends `bytes`, and then closes or hangs.
  Heard hear(const std::string& bytes, bool streams, const ProviderOptions& provider = options(), bool hangs = false,
             std::size_t answers = 1) {
    Heard heard;
    ScriptedServer server([&](int fd) {
      ScriptedServer::read_request(fd);
      ScriptedServer::write(fd, bytes);
      if (hangs) ScriptedServer::wait_for_end(fd);
    });
    bool done = false;
    base::spawn(io, "test", [&](base::Yield yield) {
      heard = listen(server.port(), streams, provider, answers, yield);
      done = true;
    });
    io.restart();
    while (!done) io.run_one();
    EXPECT_EQ(*running, 0U);
    client.close_idle();
    return heard;
  }

  Heard listen(std::uint16_t port, bool streams, const ProviderOptions& provider, std::size_t answers,
               base::Yield yield) {
    Heard heard;
    auto exchange = std::make_unique<net::HttpExchange>(client, net::Upstream{"127.0.0.1", port, false, true},
                                                        net::ClientLimits{}, std::stop_token());
    EXPECT_TRUE(exchange->send({"GET", "/", {}, {}}, yield).ok());
    Question question;
    question.stream = streams;
    question.answers = answers;
    RemoteAnswer answer(std::move(exchange), provider, question, clock, running);
    EXPECT_EQ(*running, 1U);
    for (;;) {
      auto event = answer.next({}, yield);
      heard.status = answer.status();
      if (!event.ok()) {
        heard.error = event.error();
        return heard;
      }
      EXPECT_TRUE(*event) << "nothing wakes it";
      heard.events.push_back(**event);
      if ((*event)->last) break;
    }
    answer.release(yield);
    return heard;
  }

  base::asio::io_context io{1};
  base::SystemClock clock;
  net::HttpClient client{io, clock, {}};
  std::shared_ptr<std::size_t> running = std::make_shared<std::size_t>(0);
};

TEST_F(RemoteAnswerTest, AWholeAnswerComesWithItsBytes) {
  const Heard heard = hear(with_length(kWhole), false);
  ASSERT_FALSE(heard.error) << heard.why();
  ASSERT_EQ(heard.events.size(), 1U);
  EXPECT_EQ(heard.events[0].raw, kWhole);
  EXPECT_EQ(heard.text(), "Hi");
  EXPECT_EQ(heard.events[0].usage->prompt_tokens, 9);
  EXPECT_TRUE(heard.events[0].last);
  EXPECT_EQ(heard.status, 200);
}

TEST_F(RemoteAnswerTest, AStreamComesEventByEventWithItsBytes) {
  const Heard heard = hear(stream(kRole + kText + kFinish + kUsage + kDone), true);
  ASSERT_FALSE(heard.error) << heard.why();
  ASSERT_EQ(heard.events.size(), 5U);
  EXPECT_EQ("data: " + heard.events[1].raw + "\n\n", kText);
  EXPECT_FALSE(heard.events[0].deltas.at(0).has_content());
  EXPECT_EQ(heard.text(), "Hi");
  EXPECT_EQ(heard.events[3].usage->completion_tokens, 1);
  EXPECT_TRUE(heard.events[4].last);
  EXPECT_EQ(heard.events[4].raw, "");
}

TEST_F(RemoteAnswerTest, AStreamWithoutDoneIsCompleteWhenItSaidSo) {
  const Heard heard = hear(stream(kText + kFinish + kUsage), true);
  EXPECT_FALSE(heard.error) << heard.why();
  EXPECT_TRUE(heard.events.back().last);
}

// A clean end is no complete answer: 23 of 13,312 real streams ended so (gateways' issue trackers).
TEST_F(RemoteAnswerTest, AnAnswerThatDoesNotSayThatItIsCompleteIsAnError) {
  for (const std::string& body : {kRole + kText, kRole + kText + kDone, kText + kUsage, std::string(), kDone,
                                  kText + kFinish.substr(0, kFinish.size() - 1)}) {
    const Heard heard = hear(stream(body), true);
    ASSERT_TRUE(heard.error) << body;
    EXPECT_EQ(heard.error->code(), ErrorCode::kBadAnswer) << heard.why();
    EXPECT_THAT(heard.why(), HasSubstr("ended before its answer was complete"));
  }
  const Heard of_two = hear(stream(kText + kFinish + kDone), true, options(), false, 2);
  EXPECT_TRUE(of_two.error) << "one of two answers has ended";
}

TEST_F(RemoteAnswerTest, WhatIsNoAnswerIsAnError) {
  EXPECT_EQ(hear(with_length("hello"), false).error->code(), ErrorCode::kBadAnswer);
  EXPECT_EQ(hear(with_length("{}"), false).error->code(), ErrorCode::kBadAnswer);
  EXPECT_EQ(hear(with_length(""), false).error->code(), ErrorCode::kBadAnswer);
  EXPECT_EQ(hear(stream("data: {nonsense}\n\n"), true).error->code(), ErrorCode::kBadAnswer);
  EXPECT_EQ(hear(with_length(kWhole), true).error->code(), ErrorCode::kBadAnswer) << "no stream, as was asked";
  const std::string unfinished = R"({"choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":null}]})";
  EXPECT_EQ(hear(with_length(unfinished), false).error->code(), ErrorCode::kBadAnswer);
}

TEST_F(RemoteAnswerTest, AnErrorIsReadWhereverItStands) {
  const std::string body = R"({"error":{"message":"too fast","type":"rate_limit_error","code":null}})";
  const Heard limited = hear(with_length(body, "429 Too Many Requests", "Retry-After: 3\r\n"), true);
  ASSERT_TRUE(limited.error);
  EXPECT_EQ(limited.error->code(), ErrorCode::kRateLimited);
  EXPECT_EQ(limited.error->retry_after_ms(), 3000);
  EXPECT_EQ(limited.status, 429);
  EXPECT_EQ(hear(with_length("<html>oops</html>", "500 Internal Server Error"), false).error->code(),
            ErrorCode::kUpstreamFailed);
  const Heard in_200 = hear(with_length(R"({"error":{"message":"overloaded","type":"server_error"}})"), false);
  ASSERT_TRUE(in_200.error);
  EXPECT_EQ(in_200.error->code(), ErrorCode::kUpstreamFailed) << in_200.why();
  const Heard midway =
      hear(stream(kText + "data: {\"error\":{\"message\":\"broke\",\"type\":\"server_error\"}}\n\n"), true);
  ASSERT_TRUE(midway.error);
  EXPECT_EQ(midway.error->code(), ErrorCode::kUpstreamFailed);
  EXPECT_THAT(midway.why(), HasSubstr("broke"));
  EXPECT_EQ(midway.text(), "Hi");
}

TEST_F(RemoteAnswerTest, SilenceIsAnErrorWhateverKeepsTheConnectionOpen) {
  const ProviderOptions short_limits = options(40, 40);
  EXPECT_THAT(hear("", true, short_limits, true).why(), HasSubstr("did not begin to answer within 40 ms"));
  EXPECT_THAT(hear(stream(kRole), true, short_limits, true).why(), HasSubstr("nothing to show within 40 ms"));
  EXPECT_THAT(hear(stream(kText), true, short_limits, true).why(), HasSubstr("nothing to show within 40 ms"));
  const std::string part = with_length(kWhole).substr(0, with_length(kWhole).size() - 5);
  for (const std::string& sent : {std::string(), part}) {
    const Heard mute = hear(sent, false, options(5'000, 5'000, 40), true);
    EXPECT_THAT(mute.why(), HasSubstr("acme did not answer within 40 ms")) << "of what is no stream";
    EXPECT_EQ(mute.error->code(), ErrorCode::kUnreachable) << "another may be asked, and the breaker counts it";
  }
}

// Some repeat the key that they refuse, wherever they find room for it.
TEST_F(RemoteAnswerTest, AKeyThatIsRepeatedStaysHere) {
  ProviderOptions provider = options();
  const std::string key = "sk-canary-0123456789";
  provider.keys = {"sk-another-0123456789", key};
  const std::string error = R"({"error":{"message":"no )" + key + R"( here","param":")" + key + R"(","code":null}})";
  for (const char* const status : {"200 OK", "400 Bad Request", "404 Not Found", "422 Unprocessable"}) {
    const Heard heard = hear(with_length(error, status), false, provider);
    ASSERT_TRUE(heard.error) << status;
    EXPECT_THAT(heard.why() + heard.error->param(), Not(HasSubstr("canary"))) << status;
    EXPECT_THAT(heard.why(), HasSubstr("no (key) here")) << status;
  }
  const Heard midway = hear(stream(kText + "data: " + error + "\n\n"), true, provider);
  EXPECT_THAT(midway.why(), HasSubstr("no (key) here"));
}

TEST_F(RemoteAnswerTest, AnErrorWithoutEndIsNotReadForEver) {
  const Heard heard =
      hear("HTTP/1.1 500 No\r\nContent-Length: 99999999\r\n\r\n" + std::string(200'000, 'x'), false, options(), true);
  ASSERT_TRUE(heard.error);
  EXPECT_EQ(heard.error->code(), ErrorCode::kUpstreamFailed);
}

}  // namespace
}  // namespace shoal::provider
