// Strict decoder of the chunked coding (RFC 9112 7.1), incremental: CRLF only, no blanks, sizes that cannot
// overflow, extensions checked and dropped, trailers checked and dropped. Owned by a connection, one object
// per body. Pure: no I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "shoal/base/result.h"

namespace shoal::net {

class ChunkedDecoder {
 public:
  explicit ChunkedDecoder(std::size_t max_body_bytes) : max_body_bytes_(max_body_bytes) {}

  // Reads from the front of `in`, appends data to `body`, returns the bytes read: all of `in` until done().
  // Errors: kInvalidHttp, kPayloadTooLarge.
  [[nodiscard]] Result<std::size_t> feed(std::string_view in, std::string& body);
  [[nodiscard]] bool done() const { return state_ == State::kDone; }

 private:
  enum class State : std::uint8_t { kSizeLine, kData, kDataEnd, kTrailer, kDone };

  Result<void> take_line_byte(char c);
  Result<void> end_of_line();
  Result<void> read_size_line();

  std::size_t max_body_bytes_;
  std::size_t left_ = 0;        // bytes of the current chunk
  std::size_t line_bytes_ = 0;  // of all size lines' extensions and trailers: the overhead that is limited
  std::string line_;
  State state_ = State::kSizeLine;
};

}  // namespace shoal::net
