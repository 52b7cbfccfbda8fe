// The bytes of a segment of the journal: a head of 512 bytes, frames without gaps, then zeroes to the end of the file.
//
//   head   0  "SHOALJNL"                   frame   0  u32  CRC-32C of the rest, beginning with the head's
//          8  u32  version: 1                      4  u32  bytes of the payload
//         12  u32  CRC-32C of the rest             8  u64  sequence number
//         16  u64  number of the segment          16  u32  how many frames of its batch stand before it
//         24  u64  its first sequence number      20  u8   type, then three zeroes
//         32  u64  bytes of the file              24  payload
//         40  the journal's id, 26 characters
//         66  zeroes
//
// All integers are little-endian. The sum of a frame begins with that of its head, so that what lies in another
// segment, or in a payload, is never taken for a frame. A batch is what one sync makes durable. The next batch is
// written after it, so of all that is not whole in a journal, only its last batch may be torn: of its frames any may be
// missing. A frame of a later batch proves that what stands before it was on disk.
// Use: segments.h does. Owned by value. Threads: any; pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "shoal/audit/record.h"
#include "shoal/base/result.h"

namespace shoal::audit {

inline constexpr std::size_t kSegmentHeadBytes = 512;
inline constexpr std::size_t kFrameHeadBytes = 24;
inline constexpr std::size_t kJournalIdBytes = 26;
inline constexpr std::size_t kMaxPayloadBytes = std::size_t{1} << 20;

struct SegmentHead {
  std::uint64_t number = 0;  // from 1, without gaps
  std::uint64_t first_sequence = 0;
  std::uint64_t bytes = 0;  // of the file
  std::string journal_id;   // of base::random_id()

  bool operator==(const SegmentHead&) const = default;
};

// kSegmentHeadBytes bytes. REQUIRES: an id of kJournalIdBytes.
[[nodiscard]] std::string print_head(const SegmentHead& head);
// Errors: kJournalDamaged, kUnimplemented when a later version wrote it.
[[nodiscard]] Result<SegmentHead> parse_head(std::string_view bytes);

struct Frame {
  Record record;
  std::uint32_t in_batch = 0;  // frames of its batch that stand before it
  std::size_t bytes = 0;       // head and payload
};

// With its checksum and place in the batch left open: seal_frame() writes those.
void append_frame(std::string& out, std::uint64_t sequence, std::uint8_t type, std::string_view payload);
// `frame` begins with one of append_frame(), which is not checked: how long it is, and what it holds.
[[nodiscard]] Frame unsealed_frame(std::string_view frame);

// The frames of one segment.
class FrameCodec {
 public:
  explicit FrameCodec(const SegmentHead& head);

  void seal(char* frame, std::uint32_t in_batch) const;
  // The frame that `bytes` begins with, when there is one and it is whole.
  [[nodiscard]] std::optional<Frame> read(std::string_view bytes) const;

 private:
  std::uint32_t head_crc_;
};

}  // namespace shoal::audit
