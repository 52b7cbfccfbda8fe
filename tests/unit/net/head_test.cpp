#include "shoal/net/head.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace shoal::net {
namespace {

Result<RequestHead> read(const std::string& bytes, HeadLimits limits = {}) {
  HeadReader reader(limits);
  auto complete = reader.advance(bytes);
  if (!complete.ok()) return std::move(complete).error();
  if (!*complete) return Error(ErrorCode::kRequestTimeout, "incomplete");
  return reader.take();
}

// The code of the refusal, or the empty string for a head that is accepted.
std::string refusal(const std::string& bytes, HeadLimits limits = {}) {
  auto head = read(bytes, limits);
  return head.ok() ? "" : std::string(head.error().info().slug);
}

std::string get(const std::string& fields) {
  return "GET / HTTP/1.1\r\nHost: localhost\r\n" + fields + "\r\n";
}
std::string post(const std::string& fields) {
  return "POST / HTTP/1.1\r\nHost: localhost\r\n" + fields + "\r\n";
}

TEST(Head, ReadsMethodTargetFieldsAndFraming) {
  const auto head = read(
      "POST /v1/models/a%20b%2Fc?x=%20&y HTTP/1.1\r\nHost: LocalHost:80\r\nContent-Length: 12\r\nX-A:  v w\t\r\n\r\n");
  ASSERT_TRUE(head.ok()) << head.error().message();
  EXPECT_EQ(head->method, "POST");
  EXPECT_EQ(head->path, "/v1/models/a b/c");
  EXPECT_EQ(head->query, "x=%20&y");
  EXPECT_EQ(head->host, "localhost");
  EXPECT_EQ(head->framing, BodyFraming::kLength);
  EXPECT_EQ(head->content_length, 12U);
  EXPECT_EQ(head->header("x-a"), "v w");
  EXPECT_TRUE(head->keep_alive);
}

TEST(Head, AnswerDoesNotDependOnHowTheBytesArrive) {
  const std::vector<std::string> inputs = {
      post("Transfer-Encoding: chunked\r\n"), get("X: \x01\r\n"),   get("A\r\n"), "GET / HTTP/1.1\nHost: x\r\n\r\n",
      "\r\n\r\nGET / HTTP/1.0\r\n\r\n",       get("A: b\r\n c\r\n")};
  for (const auto& input : inputs) {
    const std::string whole = refusal(input);
    HeadReader reader({});
    std::string outcome = "request_timeout";
    for (std::size_t n = 1; n <= input.size(); ++n) {
      const auto complete = reader.advance(std::string_view(input).substr(0, n));
      if (!complete.ok()) outcome = complete.error().info().slug;
      if (complete.ok() && *complete) outcome = "";
      if (outcome != "request_timeout") break;
    }
    EXPECT_EQ(outcome, whole) << input;
  }
}

TEST(Head, LeavesTheBytesAfterTheHeadAlone) {
  HeadReader reader({});
  const std::string head = get("");
  ASSERT_TRUE(reader.advance(head + "\n\0garbage").value());
  EXPECT_EQ(reader.head_bytes(), head.size());
}

TEST(Head, RefusesWhatTwoParsersCouldReadDifferently) {
  for (const char* fields : {"Content-Length: 5\r\nContent-Length: 5\r\n",
                             "Content-Length: 5, 5\r\n",
                             "Content-Length: +5\r\n",
                             "Content-Length: 0x5\r\n",
                             "Content-Length: 05\r\n",
                             "Content-Length: \r\n",
                             "Content-Length: 5 5\r\n",
                             "Content-Length: 9999999999999999999\r\n",
                             "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                             "Transfer-Encoding: gzip\r\n",
                             "Transfer-Encoding: gzip, chunked\r\n",
                             "Transfer-Encoding: chunked, chunked\r\n",
                             "Transfer-Encoding: Chunked\r\n",
                             "Transfer-Encoding: \x0b"
                             "chunked\r\n",
                             "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                             "Transfer-Encoding:\r\n chunked\r\n",
                             "Transfer_Encoding: chunked\r\n",
                             "Content_Length: 5\r\n",
                             "Content-Length : 5\r\n",
                             " X: folded\r\n",
                             "X: a\r\n b\r\n",
                             "No colon\r\n",
                             ": empty\r\n",
                             "X[: a\r\n",
                             "X: a\rb\r\n",
                             "X: a\nY: b\r\n",
                             "X: \x7f\r\n",
                             "Host: localhost\r\n",
                             "Expect: 100-continue\r\nExpect: 100-continue\r\n"}) {
    EXPECT_EQ(refusal(post(fields)), "invalid_http") << fields;
  }
  EXPECT_EQ(refusal(get(std::string("X: a\0b\r\n", 8))), "invalid_http");
}

TEST(Head, RefusesRequestLinesThatAreNotExact) {
  for (const char* line : {"GET  / HTTP/1.1",
                           "GET /",
                           "GET / HTTP/1.1 ",
                           " GET / HTTP/1.1",
                           "GET\t/ HTTP/1.1",
                           "GET / http/1.1",
                           "GET / HTTP/1",
                           "GET / HTTP/01.1",
                           "GET /a b HTTP/1.1",
                           "GET * HTTP/1.1",
                           "GET /#f HTTP/1.1",
                           "GET /\x80 HTTP/1.1",
                           "GET /\\ HTTP/1.1",
                           "GET /%00 HTTP/1.1",
                           "GET /%0d%0a HTTP/1.1",
                           "GET /%zz HTTP/1.1",
                           "GET /% HTTP/1.1",
                           "GET /%c0%af HTTP/1.1",
                           "G(T / HTTP/1.1",
                           "GET a HTTP/1.1",
                           "GET http:// HTTP/1.1",
                           "GET http://other/ HTTP/1.1",
                           "GET ftp://localhost/ HTTP/1.1"}) {
    EXPECT_EQ(refusal(std::string(line) + "\r\nHost: localhost\r\n\r\n"), "invalid_http") << line;
  }
  EXPECT_EQ(refusal("GET / HTTP/2.0\r\nHost: localhost\r\n\r\n"), "http_version_unsupported");
  EXPECT_EQ(refusal("TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n"), "method_not_allowed");
}

TEST(Head, AcceptsTheOtherTargetForms) {
  EXPECT_EQ(read("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n")->path, "*");
  const auto absolute = read("GET HTTP://localhost:80?q HTTP/1.1\r\nHost: localhost:80\r\n\r\n");
  ASSERT_TRUE(absolute.ok()) << absolute.error().message();
  EXPECT_EQ(absolute->path, "/");
  EXPECT_EQ(absolute->query, "q");
}

TEST(Head, RefusesFromTheFirstBytesThatCannotBeHttp) {
  HeadReader reader({});
  const std::string hello = "\x16\x03\x01\x02" + std::string(40, 'a');  // a TLS client
  EXPECT_FALSE(reader.advance(hello).ok());
}

TEST(Head, HoldsItsLimits) {
  const HeadLimits limits{.head_bytes = 400, .fields = 4, .target_bytes = 50};
  EXPECT_EQ(refusal("GET /" + std::string(49, 'a') + " HTTP/1.1\r\nHost: h\r\n\r\n", limits), "");
  EXPECT_EQ(refusal("GET /" + std::string(50, 'a') + " HTTP/1.1\r\nHost: h\r\n\r\n", limits), "uri_too_long");
  EXPECT_EQ(refusal("GET /" + std::string(500, 'a'), limits), "uri_too_long");
  EXPECT_EQ(refusal(get("A: b\r\nA: b\r\nA: b\r\n"), limits), "");
  EXPECT_EQ(refusal(get("A: b\r\nA: b\r\nA: b\r\nA: b\r\n"), limits), "headers_too_large");
  EXPECT_EQ(refusal(get("A: " + std::string(400, 'b')), limits), "headers_too_large");
}

TEST(Head, DecidesWhetherTheConnectionIsKept) {
  EXPECT_FALSE(read(get("Connection: x, Close\r\n"))->keep_alive);
  EXPECT_FALSE(read("GET / HTTP/1.0\r\n\r\n")->keep_alive);
  EXPECT_TRUE(read("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")->keep_alive);
}

TEST(Head, ReadsExpect) {
  EXPECT_TRUE(read(post("Expect: 100-Continue\r\nContent-Length: 1\r\n"))->expect_continue);
  EXPECT_FALSE(read(post("Expect: 100-continue\r\n"))->expect_continue) << "there is no body to wait for";
  EXPECT_EQ(refusal(post("Expect: 200-ok\r\n")), "expectation_failed");
  EXPECT_FALSE(read("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")->expect_continue);
}

TEST(Head, ReadsAuthorities) {
  EXPECT_EQ(parse_authority("[::1]:8080")->host, "::1");
  EXPECT_EQ(parse_authority("[::1]:8080")->port, "8080");
  EXPECT_EQ(parse_authority("Example.COM")->host, "example.com");
  for (const char* text :
       {"", ":80", "a:b", "a:99999", "a:80:80", "a@b", "a/b", "a b", "a,b", "[::1", "[::1]x", "[::g]", "a:+80"}) {
    EXPECT_FALSE(parse_authority(text).ok()) << text;
  }
}

}  // namespace
}  // namespace shoal::net
