// Where the value of the top-level "model" lies in the client's own bytes, so that a request can be passed
// on with another model name and every other byte as it came. Threads: any; pure.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace shoal::wire {

struct ByteRange {
  std::size_t begin = 0;
  std::size_t end = 0;  // one past the last byte
};

// The range of the value, quotes included; none when the top level is no object or has no such key. The key
// may be escaped ("\u006dodel"); a "model" inside another object is not it.
// REQUIRES: `body` was accepted by JsonDocument::parse. On other text it finds nothing or some range inside it.
[[nodiscard]] std::optional<ByteRange> model_range(std::string_view body);

// `body` with the range replaced by `model` as a JSON string. REQUIRES: range is model_range(body).
[[nodiscard]] std::string with_model(std::string_view body, ByteRange range, std::string_view model);

}  // namespace shoal::wire
