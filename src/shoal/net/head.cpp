#include "shoal/net/head.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include <arpa/inet.h>
#include <fmt/format.h>

namespace shoal::net {
namespace {

constexpr std::size_t kUsualFields = 16;
constexpr std::size_t kMaxMethodBytes = 32;

constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
constexpr bool is_alpha(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
char to_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), to_lower);
  return out;
}

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

Error invalid(std::string message) {
  return {ErrorCode::kInvalidHttp, std::move(message)};
}

int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  const char l = to_lower(c);
  return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

// RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80                   ? 1
                               : lead >= 0xC2 && lead < 0xE0 ? 2
                               : (lead & 0xF0U) == 0xE0      ? 3
                               : lead >= 0xF0 && lead < 0xF5 ? 4
                                                             : 0;
    if (length == 0 || i + length > text.size()) return false;
    for (std::size_t k = 1; k < length; ++k) {
      if ((static_cast<unsigned char>(text[i + k]) & 0xC0U) != 0x80) return false;
    }
    const unsigned char second = length > 1 ? static_cast<unsigned char>(text[i + 1]) : 0;
    if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F)) return false;
    if ((lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F)) return false;
    i += length;
  }
  return true;
}

// What may stand raw in a target. Wider than RFC 3986 by ^`{|}[] , which browsers leave unescaped in a query.
bool is_target_char(char c) {
  return c > 0x20 && c < 0x7F && c != '"' && c != '<' && c != '>' && c != '\\' && c != '#';
}

bool is_reg_name_char(char c) {
  return is_alpha(c) || is_digit(c) || c == '-' || c == '.' || c == '_';
}

// The values of a list-valued field, over all its lines.
template <class Visit>
void each_list_member(const RequestHead& head, std::string_view name, Visit visit) {
  for (const auto& [field, value] : head.headers) {
    if (!iequals(field, name)) continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      const auto comma = rest.find(',');
      visit(trim(rest.substr(0, comma)));
      rest = comma == std::string_view::npos ? std::string_view{} : rest.substr(comma + 1);
    }
  }
}

// The value of a field that may come once. Errors: kInvalidHttp when it comes twice.
Result<std::optional<std::string_view>> single(const RequestHead& head, std::string_view name) {
  std::optional<std::string_view> found;
  for (const auto& [field, value] : head.headers) {
    if (!iequals(field, name)) continue;
    if (found) return invalid(fmt::format("two {} fields; wanted one", name));
    found = value;
  }
  return found;
}

}  // namespace

Result<std::string> percent_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
    if (high < 0 || low < 0) return invalid("the target has a '%' that two hexadecimal digits do not follow");
    const int byte = high * 16 + low;
    if (byte < 0x20 || byte == 0x7F)
      return invalid(fmt::format("the target escapes the control character %{:02X}", byte));
    out += static_cast<char>(byte);
    i += 2;
  }
  if (!is_utf8(out)) return invalid("the path is not UTF-8 after percent-decoding");
  return out;
}

bool iequals(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return to_lower(x) == to_lower(y); });
}

bool is_token_char(char c) {
  static constexpr auto kIsToken = [] {
    std::array<bool, 256> table{};
    for (int i = 0; i < 128; ++i) {
      const char one = static_cast<char>(i);
      table[static_cast<std::size_t>(i)] =
          is_alpha(one) || is_digit(one) || (i != 0 && std::string_view("!#$%&'*+-.^_`|~").contains(one));
    }
    return table;
  }();
  return kIsToken[static_cast<unsigned char>(c)];
}

std::string_view RequestHead::header(std::string_view name) const {
  for (const auto& [field, value] : headers) {
    if (iequals(field, name)) return value;
  }
  return {};
}

Result<Authority> parse_authority(std::string_view text) {
  const auto fault = [] {
    return invalid("the host is not a name or address with an optional port, such as localhost:8080");
  };
  Authority out;
  std::string_view rest;
  if (text.starts_with('[')) {
    const auto close = text.find(']');
    if (close == std::string_view::npos) return fault();
    out.host = lower(text.substr(1, close - 1));
    std::array<unsigned char, sizeof(in6_addr)> address{};
    if (inet_pton(AF_INET6, out.host.c_str(), address.data()) != 1) return fault();
    rest = text.substr(close + 1);
  } else {
    const auto colon = text.find(':');
    out.host = lower(text.substr(0, colon));
    if (out.host.empty() || out.host.size() > 255 || !std::ranges::all_of(out.host, is_reg_name_char)) return fault();
    rest = colon == std::string_view::npos ? std::string_view{} : text.substr(colon);
  }
  if (rest.empty()) return out;
  if (rest.front() != ':') return fault();
  rest.remove_prefix(1);
  std::uint16_t port = 0;
  if (!rest.empty()) {  // RFC 3986 3.2.3 allows "host:"
    const auto [end, code] = std::from_chars(rest.data(), rest.data() + rest.size(), port);
    if (code != std::errc{} || end != rest.data() + rest.size()) return fault();
  }
  out.port = rest;
  return out;
}

Result<bool> HeadReader::advance(std::string_view buffer) {
  while (scanned_ < buffer.size()) {
    const char c = buffer[scanned_];
    if (c == '\0') return invalid("a NUL byte in the head");
    if (c == '\n') return invalid("a line ends with a bare LF; wanted CRLF");
    if (c != '\r') {
      ++scanned_;
      if (!have_request_line_ && scanned_ - line_start_ == kMaxMethodBytes + 1 &&
          !buffer.substr(line_start_, kMaxMethodBytes + 1).contains(' ')) {
        return invalid("no method in the first bytes; this is not an HTTP request");
      }
      if (!have_request_line_ && scanned_ - line_start_ > limits_.target_bytes + kMaxMethodBytes + 16) {
        return Error(ErrorCode::kUriTooLong,
                     fmt::format("the request line is longer than a target of {} bytes needs", limits_.target_bytes));
      }
    } else {
      if (scanned_ + 1 == buffer.size()) break;
      if (buffer[scanned_ + 1] != '\n') return invalid("a bare CR in the head");
      const std::string_view line = buffer.substr(line_start_, scanned_ - line_start_);
      scanned_ += 2;
      line_start_ = scanned_;
      if (!have_request_line_) {
        // RFC 9112 2.2: empty lines before the request line are ignored. They count against the limit.
        if (!line.empty()) SHOAL_TRY(read_request_line(line));
      } else if (line.empty()) {
        SHOAL_TRY(finish());
        return true;
      } else {
        SHOAL_TRY(read_field(line));
      }
    }
    if (scanned_ > limits_.head_bytes) {
      return Error(ErrorCode::kHeadersTooLarge, fmt::format("the head is larger than {} bytes", limits_.head_bytes));
    }
  }
  return false;
}

Result<void> HeadReader::read_request_line(std::string_view line) {
  const auto first = line.find(' ');
  const auto last = line.rfind(' ');
  if (first == std::string_view::npos || first == last || line.find(' ', first + 1) != last) {
    return invalid("the request line is not `METHOD TARGET HTTP/1.1` with single spaces");
  }
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (method.empty() || method.size() > kMaxMethodBytes || !std::ranges::all_of(method, is_token_char)) {
    return invalid("the method is not a token");
  }
  if (version.size() != 8 || !version.starts_with("HTTP/") || !is_digit(version[5]) || version[6] != '.' ||
      !is_digit(version[7])) {
    return invalid("the version is not of the form HTTP/1.1");
  }
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    return Error(ErrorCode::kHttpVersionUnsupported, fmt::format("{} is not spoken here; wanted HTTP/1.1", version));
  }
  head_.minor_version = version[7] - '0';
  head_.method = method;
  have_request_line_ = true;
  if (target.size() > limits_.target_bytes) {
    return Error(ErrorCode::kUriTooLong,
                 fmt::format("the target has {} bytes; at most {} are read", target.size(), limits_.target_bytes));
  }
  if (target.empty() || !std::ranges::all_of(target, is_target_char)) {
    return invalid("the target is empty or has a character that a URI may not hold");
  }
  if (method == "CONNECT" || method == "TRACE") {
    return Error(ErrorCode::kMethodNotAllowed, fmt::format("{} is not offered", method));
  }
  return read_target(target);
}

Result<void> HeadReader::read_target(std::string_view target) {
  if (target == "*") {
    if (head_.method != "OPTIONS") return invalid("the target `*` is for OPTIONS only");
    head_.path = "*";
    return {};
  }
  if (target.front() != '/') {
    const bool http = target.size() > 7 && iequals(target.substr(0, 7), "http://");
    const bool https = target.size() > 8 && iequals(target.substr(0, 8), "https://");
    if (!http && !https) return invalid("the target is neither a path nor an http URI");
    target.remove_prefix(http ? 7 : 8);
    const auto end = std::min(target.find_first_of("/?"), target.size());
    target_host_ = lower(target.substr(0, end));
    [[maybe_unused]] const Authority checked = SHOAL_TRY(parse_authority(target_host_));
    target.remove_prefix(end);
  }
  const auto question = target.find('?');
  if (question != std::string_view::npos) head_.query = target.substr(question + 1);
  const std::string_view path = target.substr(0, question);
  head_.path = path.empty() ? std::string("/") : SHOAL_TRY(percent_decode(path));
  return {};
}

Result<void> HeadReader::read_field(std::string_view line) {
  if (head_.headers.size() == limits_.fields) {
    return Error(ErrorCode::kHeadersTooLarge, fmt::format("more than {} header fields", limits_.fields));
  }
  if (line.front() == ' ' || line.front() == '\t') return invalid("a folded header line, or a space before a header");
  const auto colon = line.find(':');
  if (colon == std::string_view::npos) return invalid("a header line without a colon");
  const std::string_view name = line.substr(0, colon);
  if (name.empty() || !std::ranges::all_of(name, is_token_char)) {
    return invalid(
        "a header name is empty or has a character that is not of a token, such as a space before the colon");
  }
  const std::string_view value = trim(line.substr(colon + 1));
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\t') || byte == 0x7F)
      return invalid(fmt::format("a control character 0x{:02x} in a header value", byte));
  }
  // Some CGI-style proxies read '_' as '-': with them in front these two would frame the body.
  if (iequals(name, "Content_Length") || iequals(name, "Transfer_Encoding")) {
    return invalid("a header name that others take for Content-Length or Transfer-Encoding");
  }
  if (head_.headers.empty()) head_.headers.reserve(kUsualFields);
  head_.headers.emplace_back(name, value);
  return {};
}

Result<void> HeadReader::finish() {
  SHOAL_TRY(read_host());
  SHOAL_TRY(read_framing());
  return read_connection_and_expect();
}

Result<void> HeadReader::read_host() {
  const auto host = SHOAL_TRY(single(head_, "Host"));
  if (!host) {
    if (head_.minor_version == 0) return {};
    return invalid("no Host field; HTTP/1.1 needs one");
  }
  head_.host = SHOAL_TRY(parse_authority(*host)).host;
  if (!target_host_.empty() && target_host_ != lower(*host))
    return invalid("the target names another host than the Host field");
  return {};
}

Result<void> HeadReader::read_framing() {
  const auto length = SHOAL_TRY(single(head_, "Content-Length"));
  const auto coding = SHOAL_TRY(single(head_, "Transfer-Encoding"));
  if (length && coding) return invalid("both Content-Length and Transfer-Encoding");
  if (coding) {
    if (head_.minor_version == 0) return invalid("Transfer-Encoding on HTTP/1.0");
    if (*coding != "chunked") return invalid("a Transfer-Encoding other than `chunked`");
    head_.framing = BodyFraming::kChunked;
  }
  if (length) {
    const bool digits = !length->empty() && std::ranges::all_of(*length, is_digit);
    if (!digits || (length->size() > 1 && length->front() == '0') || length->size() > 18) {
      return invalid("Content-Length is not one plain decimal number");
    }
    std::from_chars(length->data(), length->data() + length->size(), head_.content_length);
    head_.framing = BodyFraming::kLength;
  }
  return {};
}

Result<void> HeadReader::read_connection_and_expect() {
  bool close = false;
  bool keep = false;
  bool tokens = true;
  each_list_member(head_, "Connection", [&](std::string_view member) {
    tokens = tokens && std::ranges::all_of(member, is_token_char);
    close = close || iequals(member, "close");
    keep = keep || iequals(member, "keep-alive");
  });
  if (!tokens) return invalid("a Connection field that is not a list of tokens");
  head_.keep_alive = !close && (head_.minor_version == 1 || keep);
  const auto expect = SHOAL_TRY(single(head_, "Expect"));
  if (!expect || head_.minor_version == 0) return {};  // RFC 9110 10.1.1: ignored on HTTP/1.0
  if (!iequals(*expect, "100-continue")) {
    return Error(ErrorCode::kExpectationFailed, "the Expect field is not 100-continue");
  }
  head_.expect_continue = head_.framing != BodyFraming::kNone;
  return {};
}

}  // namespace shoal::net
