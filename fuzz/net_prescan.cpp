// Fuzzes the readers of hostile HTTP bytes: the request head and the chunked body. Beyond "no crash":
//  - the outcome does not depend on how the bytes were cut into reads;
//  - what the head reader accepts, Beast reads too, with the same method, target, fields and framing, so that
//    no second parser can see another request in the same bytes.
// SHOAL_PLANTED_BUG takes away the limit of a chunked body (net/chunked.cpp): the fuzzer must find it; no seed is
// over the limit.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>

#include "shoal/net/chunked.h"
#include "shoal/net/head.h"
#include "shoal/net/origin.h"

namespace {

using shoal::net::BodyFraming;
using shoal::net::ChunkedDecoder;
using shoal::net::HeadReader;

void require(bool condition) {
  if (!condition) std::abort();
}

void compare_with_beast(const shoal::net::RequestHead& head, std::string_view bytes) {
  if (!head.header("Proxy-Connection").empty()) return;      // Beast reads it as Connection, which RFC 9112 does not
  while (bytes.starts_with("\r\n")) bytes.remove_prefix(2);  // Beast does not skip empty lines
  namespace http = boost::beast::http;
  http::request_parser<http::empty_body> parser;
  parser.header_limit(1U << 20U);
  parser.body_limit(boost::none);
  boost::system::error_code ec;
  parser.put(boost::asio::buffer(bytes.data(), bytes.size()), ec);
  require(!ec && parser.is_header_done());
  const auto& other = parser.get();
  require(other.method_string() == head.method);
  require(other.version() == 10U + static_cast<unsigned>(head.minor_version));
  require(parser.chunked() == (head.framing == BodyFraming::kChunked));
  if (head.framing == BodyFraming::kLength) require(parser.content_length() == head.content_length);
  std::vector<std::pair<std::string, std::string>> mine = head.headers;
  std::vector<std::pair<std::string, std::string>> theirs;  // grouped by name, so both are sorted
  for (const auto& field : other) theirs.emplace_back(field.name_string(), field.value());
  std::ranges::sort(mine);
  std::ranges::sort(theirs);
  require(mine == theirs);
}

void fuzz_head(std::string_view bytes) {
  HeadReader whole({});
  const auto at_once = whole.advance(bytes);
  HeadReader cut({});
  for (std::size_t n = 1; n <= bytes.size(); ++n) {
    const auto stepwise = cut.advance(bytes.substr(0, n));
    if (!stepwise.ok()) {
      require(!at_once.ok() && at_once.error().code() == stepwise.error().code());
      return;
    }
    if (*stepwise) {
      require(at_once.ok() && *at_once && whole.head_bytes() == cut.head_bytes() && whole.head_bytes() == n);
      compare_with_beast(cut.head(), bytes.substr(0, n));
      shoal::net::check_origin({}, cut.head().host, cut.head().header("Origin")).ignore("only that it returns");
      return;
    }
  }
  require(at_once.ok() && !*at_once);
}

void fuzz_chunked(std::string_view bytes) {
  constexpr std::size_t kMax = 16;
  ChunkedDecoder whole(kMax);
  std::string whole_body;
  const auto at_once = whole.feed(bytes, whole_body);
  require(whole_body.size() <= kMax);
  ChunkedDecoder cut(kMax);
  std::string cut_body;
  std::size_t used = 0;
  for (; used < bytes.size() && !cut.done(); ++used) {
    const auto stepwise = cut.feed(bytes.substr(used, 1), cut_body);
    if (!stepwise.ok()) {
      require(!at_once.ok() && at_once.error().code() == stepwise.error().code());
      return;
    }
  }
  require(at_once.ok() && *at_once == used && whole.done() == cut.done() && whole_body == cut_body);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == 'C') {
    fuzz_chunked(bytes);
  } else {
    fuzz_head(bytes);
  }
  return 0;
}
