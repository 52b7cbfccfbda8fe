#include "shoal/ipc/frames.h"

#include <array>
#include <cstring>

#include <fmt/format.h>

#include "shoal/ipc/bodies.h"

namespace shoal::ipc {
namespace {

// The frame types in the order of the alternatives of Body.
constexpr std::array kTypes = {
    FrameType::kGenerate,   FrameType::kEmbed,    FrameType::kScore,     FrameType::kTokenize,
    FrameType::kDetokenize, FrameType::kCancel,   FrameType::kCredit,    FrameType::kPing,
    FrameType::kDrain,      FrameType::kLease,    FrameType::kReady,     FrameType::kAccepted,
    FrameType::kToken,      FrameType::kFinished, FrameType::kScored,    FrameType::kHiddenState,
    FrameType::kEmbedding,  FrameType::kTokens,   FrameType::kText,      FrameType::kFailed,
    FrameType::kPong,       FrameType::kStats,    FrameType::kLeaseHeld, FrameType::kTaskProgress,
    FrameType::kRewritten,  FrameType::kCompared};
static_assert(kTypes.size() == std::variant_size_v<Body>);

Error broken(std::string message) {
  return {ErrorCode::kInvalidRequest, "worker frame: " + std::move(message)};
}

template <std::size_t I = 0>
bool read_body(FrameType type, Reader& reader, Body& body) {
  if constexpr (I == std::variant_size_v<Body>) {
    return false;
  } else {
    if (kTypes[I] != type) return read_body<I + 1>(type, reader, body);
    read(reader, body.emplace<I>());
    return true;
  }
}

}  // namespace

Result<void> encode_to(std::string& out, std::uint64_t request, std::int64_t deadline_ns, const Body& body) {
  const std::size_t begin = out.size();
  FrameHeader header{0, kTypes[body.index()], kProtocolVersion, request, deadline_ns};
  out.append(sizeof header, '\0');
  Writer writer(out);
  std::visit([&writer](const auto& alternative) { write(writer, alternative); }, body);
  const std::size_t bytes = out.size() - begin - sizeof header;
  if (bytes > kMaxBodyBytes) {
    out.resize(begin);
    return broken(fmt::format("a body may have at most {} bytes, this one has {}", kMaxBodyBytes, bytes));
  }
  header.body_bytes = static_cast<std::uint32_t>(bytes);
  std::memcpy(out.data() + begin, &header, sizeof header);
  return {};
}

Result<std::string> encode(std::uint64_t request, std::int64_t deadline_ns, const Body& body) {
  std::string out;
  SHOAL_TRY(encode_to(out, request, deadline_ns, body));
  return out;
}

void FrameReader::feed(std::span<const char> bytes) {
  if (consumed_ > 0 && consumed_ == buffer_.size()) {
    buffer_.clear();
    consumed_ = 0;
  } else if (consumed_ > kMaxBodyBytes) {
    buffer_.erase(0, consumed_);
    consumed_ = 0;
  }
  buffer_.append(bytes.data(), bytes.size());
}

Result<std::optional<Frame>> FrameReader::next() {
  const std::string_view rest = std::string_view(buffer_).substr(consumed_);
  if (rest.size() < sizeof(FrameHeader)) return std::optional<Frame>();
  Frame frame;
  std::memcpy(&frame.header, rest.data(), sizeof frame.header);
  if (frame.header.version != kProtocolVersion) {
    return broken(fmt::format("wanted protocol version {}, got {}; gateway and worker must be of one build",
                              kProtocolVersion, frame.header.version));
  }
  if (frame.header.body_bytes > kMaxBodyBytes) {
    return broken(
        fmt::format("a body may have at most {} bytes, this one announces {}", kMaxBodyBytes, frame.header.body_bytes));
  }
  if (rest.size() - sizeof(FrameHeader) < frame.header.body_bytes) return std::optional<Frame>();
  Reader reader(rest.substr(sizeof(FrameHeader), frame.header.body_bytes));
  const auto type = static_cast<unsigned>(frame.header.type);
  if (!read_body(frame.header.type, reader, frame.body)) return broken(fmt::format("unknown type {}", type));
  if (reader.failed()) return broken(fmt::format("the body of type {} is cut short or out of range", type));
  if (reader.left() != 0) return broken(fmt::format("{} bytes left over in a body of type {}", reader.left(), type));
  consumed_ += sizeof(FrameHeader) + frame.header.body_bytes;
  return std::optional<Frame>(std::move(frame));
}

}  // namespace shoal::ipc
