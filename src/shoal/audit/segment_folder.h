// What lies in the folder of a journal, read and judged, and nothing written: which segments there are, where their
// frames end, and whether what follows them is a torn tail or damage. Segments (segments.h) opens a journal with it;
// read_records() is how records are read again.
// Owned by the caller. Threads: any, not the I/O thread: it reads whole segments into memory, one at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/audit/disk.h"
#include "shoal/audit/segment.h"
#include "shoal/base/result.h"

namespace shoal::audit {

// "000000000001.journal".
[[nodiscard]] std::string segment_name(std::uint64_t number);

struct SegmentFile {
  std::filesystem::path path;
  SegmentHead head;
};

struct Survey {
  std::vector<SegmentFile> segments;  // in order; their heads are whole and belong together
  // The last file, when it has no head that is whole: the next segment, prepared and not begun, or damage.
  std::optional<SegmentFile> next;  // of its head only the number and the size of the file are known
};

// Errors: kJournalDamaged, kUnimplemented, kIo.
[[nodiscard]] Result<Survey> survey(Disk& disk, const std::filesystem::path& folder);

using RecordVisit = std::function<Result<void>(const Record&)>;

// Where the frames of a segment end.
struct FramesEnd {
  std::uint64_t next_sequence = 0;
  std::size_t offset = 0;        // of the first byte that is in no frame
  std::size_t batch_offset = 0;  // of the last batch
};

// Calls `visit` for each record from `from` to `up_to`. Errors: what `visit` returns.
[[nodiscard]] Result<FramesEnd> read_frames(const SegmentHead& head, std::string_view bytes, std::uint64_t from,
                                            std::uint64_t up_to, const RecordVisit& visit);

struct Tail {
  std::size_t bytes = 0;      // up to the last that is not zero
  std::uint64_t records = 0;  // whole ones among them
};

// What follows the frames of the last segment: nothing, or the rest of a batch that was not on disk yet. Errors:
// kJournalDamaged when a frame in it proves that the frame that should be at `end` was on disk.
[[nodiscard]] Result<Tail> judge_tail(const SegmentFile& segment, std::string_view bytes, const FramesEnd& end);

// The whole file. Errors: kIo, kJournalDamaged when it does not have the size that its head says.
[[nodiscard]] Result<std::string> read_segment(Disk& disk, const SegmentFile& segment);

// "000000000001.journal is damaged at byte 512: ...", with the path of the file.
[[nodiscard]] Error damaged(const std::filesystem::path& file, std::uint64_t offset, std::string_view what);

// Calls `visit` for each record from `from` to `up_to`, in order, without gaps; `from` 0: from the oldest. Takes no
// lock: for the journal that a server has open, `up_to` is a record that is on disk. Errors: kNotFound when `from` is
// older than what is kept, kJournalDamaged, kUnimplemented, kIo, and what `visit` returns, which ends the reading.
[[nodiscard]] Result<void> read_records(Disk& disk, const std::filesystem::path& folder, std::uint64_t from,
                                        std::uint64_t up_to, const RecordVisit& visit);

}  // namespace shoal::audit
