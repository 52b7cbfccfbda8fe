#include "shoal/net/chunked.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "shoal/net/head.h"

namespace shoal::net {
namespace {

constexpr std::size_t kMaxLineBytes = 4096;
// Extensions and trailers of one body together: nobody sends more than a checksum.
constexpr std::size_t kMaxOverheadBytes = 8192;

Error invalid(const char* what) {
  return {ErrorCode::kInvalidHttp, fmt::format("chunked body: {}", what)};
}

bool is_quoted_text(char c) {
  return c == '\t' || (c >= 0x20 && c != 0x7F) || static_cast<unsigned char>(c) >= 0x80;
}

// *( ";" token [ "=" ( token / quoted-string ) ] ), without the blanks that RFC 9112 calls bad.
bool valid_extensions(std::string_view text) {
  while (!text.empty()) {
    if (text.front() != ';') return false;
    text.remove_prefix(1);
    const auto name_end = static_cast<std::size_t>(std::ranges::find_if_not(text, is_token_char) - text.begin());
    if (name_end == 0) return false;
    text.remove_prefix(name_end);
    if (!text.starts_with('=')) continue;
    text.remove_prefix(1);
    if (text.starts_with('"')) {
      std::size_t i = 1;
      while (i < text.size() && text[i] != '"') {
        if (!is_quoted_text(text[i])) return false;
        i += text[i] == '\\' ? 2 : 1;
      }
      if (i >= text.size()) return false;
      text.remove_prefix(i + 1);
      continue;
    }
    const auto value_end = static_cast<std::size_t>(std::ranges::find_if_not(text, is_token_char) - text.begin());
    if (value_end == 0) return false;
    text.remove_prefix(value_end);
  }
  return true;
}

bool valid_trailer(std::string_view line) {
  const auto colon = line.find(':');
  if (colon == 0 || colon == std::string_view::npos) return false;
  return std::ranges::all_of(line.substr(0, colon), is_token_char) &&
         std::ranges::all_of(line.substr(colon + 1), is_quoted_text);
}

}  // namespace

Result<std::size_t> ChunkedDecoder::feed(std::string_view in, std::string& body) {
  std::size_t used = 0;
  while (used < in.size() && state_ != State::kDone) {
    if (state_ == State::kData) {
      const std::size_t take = std::min(left_, in.size() - used);
      body.append(in.substr(used, take));
      used += take;
      left_ -= take;
      if (left_ == 0) state_ = State::kDataEnd;
      continue;
    }
    SHOAL_TRY(take_line_byte(in[used]));
    ++used;
    if (state_ == State::kSizeLine && left_ > 0) {
#ifndef SHOAL_PLANTED_BUG
      if (left_ > max_body_bytes_ - std::min(max_body_bytes_, body.size())) {
        return Error(ErrorCode::kPayloadTooLarge, fmt::format("the body is larger than {} bytes", max_body_bytes_));
      }
#endif
      state_ = State::kData;
    }
  }
  return used;
}

Result<void> ChunkedDecoder::take_line_byte(char c) {
  const bool after_cr = !line_.empty() && line_.back() == '\r';
  if (c == '\n' && !after_cr) return invalid("a bare LF");
  if (c != '\n' && after_cr) return invalid("a bare CR");
  if (c == '\n') {
    line_.pop_back();
    auto ended = end_of_line();
    line_.clear();
    return ended;
  }
  if (state_ == State::kDataEnd && c != '\r') return invalid("a chunk is longer than its size says");
  line_ += c;
  if (line_.size() > kMaxLineBytes) return invalid("a line is longer than 4096 bytes");
  return {};
}

Result<void> ChunkedDecoder::end_of_line() {
  switch (state_) {
    case State::kSizeLine:
      return read_size_line();
    case State::kDataEnd:
      state_ = State::kSizeLine;
      return {};
    case State::kTrailer:
      if (line_.empty()) {
        state_ = State::kDone;
        return {};
      }
      if (!valid_trailer(line_)) return invalid("a malformed trailer field");
      line_bytes_ += line_.size();
      if (line_bytes_ > kMaxOverheadBytes) return invalid("too many bytes of extensions and trailers");
      return {};
    case State::kData:
    case State::kDone:
      break;
  }
  return invalid("internal: no line is read here");
}

Result<void> ChunkedDecoder::read_size_line() {
  const auto semicolon = std::min(line_.find(';'), line_.size());
  std::uint64_t size = 0;
  const char* const end = line_.data() + semicolon;
  // 15 digits cannot overflow 64 bits; from_chars takes neither sign nor 0x.
  const auto [stop, code] = std::from_chars(line_.data(), end, size, 16);
  if (semicolon == 0 || semicolon > 15 || line_[0] == '-' || code != std::errc{} || stop != end) {
    return invalid("a chunk size that is not a plain hexadecimal number");
  }
  if (!valid_extensions(std::string_view(line_).substr(semicolon))) return invalid("a malformed chunk extension");
  line_bytes_ += line_.size() - semicolon;
  if (line_bytes_ > kMaxOverheadBytes) return invalid("too many bytes of extensions and trailers");
  left_ = static_cast<std::size_t>(size);
  if (size == 0) state_ = State::kTrailer;
  return {};
}

}  // namespace shoal::net
