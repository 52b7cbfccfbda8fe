#include "shoal/net/chunked.h"

#include <string>

#include <gtest/gtest.h>

namespace shoal::net {
namespace {

struct Outcome {
  std::string body;
  std::string error;
  bool done = false;
  std::size_t used = 0;
};

Outcome decode(const std::string& bytes, std::size_t step, std::size_t max = 1000) {
  ChunkedDecoder decoder(max);
  Outcome out;
  while (out.used < bytes.size() && !decoder.done()) {
    auto used = decoder.feed(std::string_view(bytes).substr(out.used, step), out.body);
    if (!used.ok()) {
      out.error = used.error().info().slug;
      return out;
    }
    out.used += *used;
  }
  out.done = decoder.done();
  return out;
}

TEST(Chunked, JoinsChunksAndStopsAtTheEnd) {
  const std::string bytes = "5;a=b;c=\"d;\\\" e\"\r\nhello\r\nA\r\n 123456789\r\n0\r\nX-Sum: 1\r\n\r\n";
  for (const std::size_t step : {1U, 2U, 7U, 1000U}) {
    const auto out = decode(bytes + "GET /", step);
    EXPECT_EQ(out.error, "");
    EXPECT_TRUE(out.done);
    EXPECT_EQ(out.body, "hello 123456789");
    EXPECT_EQ(out.used, bytes.size()) << "the next request is not part of the body";
  }
}

TEST(Chunked, RefusesEverythingThatIsNotExact) {
  for (const char* bytes : {"5\nhello\r\n0\r\n\r\n",
                            "5\r\nhello\n0\r\n\r\n",
                            "5\r\nhello!\r\n0\r\n\r\n",
                            "5\r\nhello0\r\n\r\n",
                            "0x5\r\nhello\r\n0\r\n\r\n",
                            "+5\r\nhello\r\n0\r\n\r\n",
                            "-5\r\nhello\r\n0\r\n\r\n",
                            " 5\r\nhello\r\n0\r\n\r\n",
                            "5 \r\nhello\r\n0\r\n\r\n",
                            "5_0\r\nhello\r\n",
                            "5;\r\nhello\r\n0\r\n\r\n",
                            "5;a=\r\nhello\r\n",
                            "5;a=\"x\r\nhello\r\n",
                            "5;a b\r\nhello\r\n",
                            "5;a\x01\r\nhello\r\n",
                            "\r\nhello\r\n",
                            "5\rhello\r\n",
                            "5\r\r\nhello",
                            "FFFFFFFFFFFFFFFF0\r\nhello\r\n",
                            "0\r\nNo colon\r\n\r\n",
                            "0\r\n: x\r\n\r\n",
                            "0\r\nA: \x01\r\n\r\n",
                            "0\r\nA : x\r\n\r\n",
                            "5;a\nhello\r\n",
                            "0\r\n\n"}) {
    for (const std::size_t step : {1U, 1000U}) EXPECT_EQ(decode(bytes, step).error, "invalid_http") << bytes;
  }
}

TEST(Chunked, HoldsTheBodyLimitBeforeTheBytesArrive) {
  EXPECT_EQ(decode("6\r\n", 10, 5).error, "payload_too_large");
  EXPECT_EQ(decode("5\r\nhello\r\n1\r\n", 100, 5).error, "payload_too_large");
  EXPECT_EQ(decode("FFFFFFFFFFFFFFF\r\n", 100, 5).error, "payload_too_large") << "no overflow near 2^60";
  EXPECT_TRUE(decode("5\r\nhello\r\n0\r\n\r\n", 100, 5).done);
}

TEST(Chunked, LimitsExtensionsAndTrailers) {
  EXPECT_EQ(decode("5;a=" + std::string(5000, 'a'), 100).error, "invalid_http");
  std::string many;
  for (int i = 0; i < 100; ++i) many += "1;a=" + std::string(100, 'a') + "\r\nx\r\n";
  EXPECT_EQ(decode(many, 100).error, "invalid_http");
  std::string trailers = "0\r\n";
  for (int i = 0; i < 100; ++i) trailers += "A: " + std::string(100, 'a') + "\r\n";
  EXPECT_EQ(decode(trailers, 100).error, "invalid_http");
}

}  // namespace
}  // namespace shoal::net
