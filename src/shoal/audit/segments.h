// Segments: the journal on disk, without threads. Opens a folder and finds the end, writes batches, each with one sync,
// and prepares the file that comes next: zeroes are written before it is used, so that the sync of a batch changes
// bytes of a file and nothing about it (a third faster than appending; the sync of one small batch takes 0.1 ms).
// Place: below Journal, which calls it on its writer's thread and on no other.
// Use: open(); write() for each batch; prepare() while wants_to_prepare() and nothing else is to do.
// Owned by the Journal. Threads: one at a time. Everything blocks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "shoal/audit/disk.h"
#include "shoal/audit/segment_folder.h"
#include "shoal/base/result.h"

namespace shoal::audit {

inline constexpr std::uint64_t kMinSegmentBytes = 4096;
inline constexpr std::uint64_t kMaxSegmentBytes = std::uint64_t{1} << 30;

struct SegmentsOptions {
  std::filesystem::path folder;
  std::uint64_t segment_bytes = std::uint64_t{16} << 20;
  // Segments whose records are all older are opened by their heads alone: their records were checked before.
  std::uint64_t checked_before = 0;
};

// What open() found.
struct Recovery {
  std::string journal_id;            // of the journal itself: a new one, in a new folder, has another
  std::uint64_t first_sequence = 1;  // of the oldest record, or of the first to come
  std::uint64_t next_sequence = 1;
  std::uint64_t segments = 0;
  // A batch that was not on disk yet when the machine went down. It stays in its file, and counts for nothing.
  std::uint64_t cut_bytes = 0;
  std::uint64_t cut_records = 0;  // whole ones that came after one that was not
  std::string cut_file;
  std::uint64_t cut_offset = 0;
};

class Segments {
 public:
  // Makes the folder and the first segment when there are none. Errors: kIo, also when another has the folder open;
  // kJournalDamaged with file and offset, and then nothing was written; kUnimplemented when a later version wrote it;
  // kInvalidConfig.
  static Result<std::unique_ptr<Segments>> open(Disk& disk, SegmentsOptions options);

  [[nodiscard]] const Recovery& recovery() const { return recovery_; }
  [[nodiscard]] std::size_t max_payload_bytes() const;

  // One batch, as append_frame() wrote it, in order; seals the frames. On disk when it returns, in one sync, or in two
  // where it goes on in the next segment. REQUIRES: payloads of at most max_payload_bytes(). After an error nothing may
  // be written any more: what is on disk is unknown. Errors: kIo.
  Result<void> write(std::span<char> frames);

  // Whether it is time to prepare more of the next segment; `idle`: nothing else is to do.
  [[nodiscard]] bool wants_to_prepare(bool idle) const;
  [[nodiscard]] bool next_is_ready() const { return next_ && next_->ready; }
  // Writes kPrepareBytes of it, in about 0.3 ms. When it fails, it begins again after some more records, and at the
  // latest in write(), where a failure counts. Errors: kIo.
  Result<void> prepare();

 private:
  struct Current {
    std::unique_ptr<File> file;
    SegmentHead head;
    FrameCodec codec;
    std::uint64_t end;  // of its last frame
  };
  struct Next {
    std::unique_ptr<File> file;
    std::uint64_t bytes = 0;  // of the whole file
    std::uint64_t prepared = 0;
    bool ready = false;  // all of it is on disk, and it has its name
  };

  Segments(Disk& disk, SegmentsOptions options);
  Result<void> recover();
  Result<void> adopt_next(const SegmentFile& file);
  Result<void> continue_last(const SegmentFile& file);
  Result<FramesEnd> check_segments(const Survey& found, std::string& last_bytes) const;
  Result<void> begin_segment();
  Result<void> prepare_slice();
  [[nodiscard]] std::uint64_t next_number() const;

  Disk& disk_;
  const SegmentsOptions options_;
  std::unique_ptr<FolderLock> lock_;
  Recovery recovery_;
  std::string journal_id_;
  std::uint64_t next_sequence_ = 1;
  std::optional<Current> current_;
  std::optional<Next> next_;
  std::uint64_t prepare_after_ = 0;  // end of the current segment that is waited for after a failure
};

}  // namespace shoal::audit
