// Fuzzes the decoder of frames, whose bytes come from a worker that a model file may have taken over. An input that
// begins with 'S' is a byte stream; any other is the type and the body of one frame, whose header is made here.
// Beyond "no crash":
//  - the frames and the fault do not depend on how the stream was cut into reads;
//  - what was decoded encodes again, to bytes that decode and encode to themselves.
// SHOAL_PLANTED_BUG reads past the end of a body (ipc/codec.h): the fuzzer must find it; no seed is cut short.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "shoal/ipc/frames.h"

namespace {

namespace ipc = shoal::ipc;

void require(bool condition) {
  if (!condition) std::abort();
}

std::string encoded(const ipc::Frame& frame) {
  auto bytes = ipc::encode(frame.header.request, frame.header.deadline_ns, frame.body);
  require(bytes.ok());
  return *bytes;
}

void check_round_trip(const ipc::Frame& frame) {
  if (const auto* failed = std::get_if<ipc::Failed>(&frame.body)) {
    require(static_cast<std::size_t>(failed->code) < shoal::base::error_table().size());
  }
  const std::string bytes = encoded(frame);
  ipc::FrameReader reader;
  reader.feed(bytes);
  const auto again = reader.next();
  require(again.ok() && again->has_value());
  require((*again)->header.type == frame.header.type && encoded(**again) == bytes);
}

struct Outcome {
  std::vector<std::string> frames;
  bool broken = false;
  bool operator==(const Outcome&) const = default;
};

Outcome read_all(std::string_view stream, std::size_t step) {
  Outcome out;
  ipc::FrameReader reader;
  for (std::size_t at = 0; at < stream.size(); at += step) {
    reader.feed(stream.substr(at, step));
    while (true) {
      const auto frame = reader.next();
      if (!frame.ok()) {
        out.broken = true;
        return out;
      }
      if (!frame->has_value()) break;
      check_round_trip(**frame);
      out.frames.push_back(encoded(**frame));
    }
  }
  return out;
}

void fuzz_stream(std::string_view stream) {
  require(read_all(stream, std::max<std::size_t>(stream.size(), 1)) == read_all(stream, 7));
}

void fuzz_body(std::uint8_t type, std::string_view body) {
  if (body.size() > ipc::kMaxBodyBytes) return;
  ipc::FrameHeader header;
  header.body_bytes = static_cast<std::uint32_t>(body.size());
  header.type = static_cast<ipc::FrameType>(type);
  header.request = 1;
  std::string stream(sizeof header, '\0');
  std::memcpy(stream.data(), &header, sizeof header);
  stream += body;
  require(read_all(stream, stream.size()).frames.size() <= 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == 'S') {
    fuzz_stream(rest);
  } else {
    fuzz_body(data[0], rest);
  }
  return 0;
}
