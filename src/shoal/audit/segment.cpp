#include "shoal/audit/segment.h"

#include <bit>
#include <cassert>
#include <cstring>

#include <fmt/format.h>

#include "shoal/audit/crc32c.h"

namespace shoal::audit {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::string_view kMagic = "SHOALJNL";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kCrcInHead = 12;
constexpr std::size_t kIdInHead = 40;

template <class Integer>
Integer load(std::string_view bytes, std::size_t offset) {
  Integer value = 0;
  assert(offset + sizeof value <= bytes.size());
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

template <class Integer>
void store(char* bytes, Integer value) {
  std::memcpy(bytes, &value, sizeof value);
}

std::uint32_t crc_of_head(std::string_view head) {
  return crc32c(crc32c(0, head.substr(0, kCrcInHead)), head.substr(kCrcInHead + sizeof(std::uint32_t)));
}

}  // namespace

std::string print_head(const SegmentHead& head) {
  assert(head.journal_id.size() == kJournalIdBytes);
  std::string out(kSegmentHeadBytes, '\0');
  std::memcpy(out.data(), kMagic.data(), kMagic.size());
  store(out.data() + 8, kVersion);
  store(out.data() + 16, head.number);
  store(out.data() + 24, head.first_sequence);
  store(out.data() + 32, head.bytes);
  std::memcpy(out.data() + kIdInHead, head.journal_id.data(), kJournalIdBytes);
  store(out.data() + kCrcInHead, crc_of_head(out));
  return out;
}

Result<SegmentHead> parse_head(std::string_view bytes) {
  if (bytes.size() < kSegmentHeadBytes || !bytes.starts_with(kMagic)) {
    return Error(ErrorCode::kJournalDamaged, "it is no segment of a journal");
  }
  bytes = bytes.substr(0, kSegmentHeadBytes);
  if (load<std::uint32_t>(bytes, kCrcInHead) != crc_of_head(bytes)) {
    return Error(ErrorCode::kJournalDamaged, "the sum of its head is wrong");
  }
  if (const auto version = load<std::uint32_t>(bytes, 8); version != kVersion) {
    return Error(ErrorCode::kUnimplemented,
                 fmt::format("it has version {} of the format; this Shoal reads {}", version, kVersion));
  }
  return SegmentHead{load<std::uint64_t>(bytes, 16), load<std::uint64_t>(bytes, 24), load<std::uint64_t>(bytes, 32),
                     std::string(bytes.substr(kIdInHead, kJournalIdBytes))};
}

void append_frame(std::string& out, std::uint64_t sequence, std::uint8_t type, std::string_view payload) {
  assert(sequence > 0);
  assert(payload.size() <= kMaxPayloadBytes);
  char head[kFrameHeadBytes] = {};
  store(head + 4, static_cast<std::uint32_t>(payload.size()));
  store(head + 8, sequence);
  store(head + 20, type);
  out.append(head, kFrameHeadBytes);
  out += payload;
}

Frame unsealed_frame(std::string_view frame) {
  assert(frame.size() >= kFrameHeadBytes);
  const auto payload = load<std::uint32_t>(frame, 4);
  assert(frame.size() - kFrameHeadBytes >= payload);
  return {{load<std::uint64_t>(frame, 8), load<std::uint8_t>(frame, 20), frame.substr(kFrameHeadBytes, payload)},
          load<std::uint32_t>(frame, 16),
          kFrameHeadBytes + payload};
}

FrameCodec::FrameCodec(const SegmentHead& head) : head_crc_(crc_of_head(print_head(head))) {}

void FrameCodec::seal(char* frame, std::uint32_t in_batch) const {
  store(frame + 16, in_batch);
  const std::size_t bytes = kFrameHeadBytes + load<std::uint32_t>({frame, kFrameHeadBytes}, 4);
  store(frame, crc32c(head_crc_, {frame + 4, bytes - 4}));
}

std::optional<Frame> FrameCodec::read(std::string_view bytes) const {
  if (bytes.size() < kFrameHeadBytes) return std::nullopt;
  const auto payload = load<std::uint32_t>(bytes, 4);
  if (payload > kMaxPayloadBytes || payload > bytes.size() - kFrameHeadBytes) return std::nullopt;
  // Cheap, and what most bytes fail that are no frame.
  const auto type_and_zeroes = load<std::uint32_t>(bytes, 20);
  if (load<std::uint64_t>(bytes, 8) == 0 || type_and_zeroes > 0xFF) return std::nullopt;
  const std::size_t whole = kFrameHeadBytes + payload;
  if (load<std::uint32_t>(bytes, 0) != crc32c(head_crc_, bytes.substr(4, whole - 4))) return std::nullopt;
  return unsealed_frame(bytes);
}

}  // namespace shoal::audit
