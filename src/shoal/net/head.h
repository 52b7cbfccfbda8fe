// The raw pre-scan: the one reader of an HTTP/1 request head. It looks at the bytes as they arrive, accepts
// what RFC 9110/9112 allow in exactly one reading, and refuses the rest, so that no proxy in front can
// disagree with us about where a request ends. It is strict where the RFC lets a server choose.
//
// Use: keep the received bytes in one buffer, call advance(buffer) after each read; true: head() is valid
// and head_bytes() of the buffer belong to it. Owned by a connection, one object per request. Pure: no I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shoal/base/result.h"

namespace shoal::net {

struct HeadLimits {
  std::size_t head_bytes = std::size_t{16} * 1024;  // request line and all fields
  std::size_t fields = 100;
  std::size_t target_bytes = std::size_t{8} * 1024;
};

enum class BodyFraming : std::uint8_t { kNone, kLength, kChunked };

struct RequestHead {
  std::string method;
  std::string path;   // percent-decoded, valid UTF-8; "*" only for OPTIONS
  std::string query;  // raw, without '?'
  int minor_version = 1;
  std::vector<std::pair<std::string, std::string>> headers;  // in order, names as sent, values trimmed
  std::string host;  // lower case, without port and brackets; empty only on HTTP/1.0
  BodyFraming framing = BodyFraming::kNone;
  std::uint64_t content_length = 0;  // kLength only
  bool keep_alive = true;
  bool expect_continue = false;

  // The first header of that name, ignoring case; empty when there is none.
  [[nodiscard]] std::string_view header(std::string_view name) const;
};

class HeadReader {
 public:
  explicit HeadReader(const HeadLimits& limits) : limits_(limits) {}

  // `buffer` starts with the bytes of every call before. True when the head is complete.
  // Errors: kInvalidHttp, kHttpVersionUnsupported, kUriTooLong, kHeadersTooLarge, kExpectationFailed,
  // kMethodNotAllowed (TRACE, CONNECT).
  [[nodiscard]] Result<bool> advance(std::string_view buffer);

  [[nodiscard]] const RequestHead& head() const { return head_; }
  [[nodiscard]] RequestHead take() { return std::move(head_); }
  [[nodiscard]] std::size_t head_bytes() const { return line_start_; }

 private:
  Result<void> read_request_line(std::string_view line);
  Result<void> read_target(std::string_view target);
  Result<void> read_field(std::string_view line);
  Result<void> finish();
  Result<void> read_host();
  Result<void> read_framing();
  Result<void> read_connection_and_expect();

  HeadLimits limits_;
  RequestHead head_;
  std::string target_host_;     // of an absolute-form target, with port
  std::size_t line_start_ = 0;  // of the line that is not complete yet
  std::size_t scanned_ = 0;     // bytes already seen
  bool have_request_line_ = false;
};

// Case-insensitive comparison of ASCII names.
[[nodiscard]] bool iequals(std::string_view a, std::string_view b);
// tchar of RFC 9110 5.6.2.
[[nodiscard]] bool is_token_char(char c);

// A Host value, or the authority of an Origin, split and checked.
struct Authority {
  std::string host;  // lower case, IPv6 without brackets
  std::string port;  // digits, or empty
};
// Errors: kInvalidHttp when it is empty or not host[:port] of RFC 3986.
[[nodiscard]] Result<Authority> parse_authority(std::string_view text);

// Of a path, or of a name or value of a query. Errors: kInvalidHttp on a broken escape, an escaped control character,
// or bytes that are not UTF-8.
[[nodiscard]] Result<std::string> percent_decode(std::string_view text);

}  // namespace shoal::net
