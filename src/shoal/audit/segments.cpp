#include "shoal/audit/segments.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "shoal/base/ids.h"

namespace shoal::audit {
namespace {

constexpr std::uint64_t kPrepareBytes = std::uint64_t{256} << 10;
constexpr std::string_view kUnfinished = "next.tmp";

Result<void> write_all(File& file, std::uint64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t n = SHOAL_TRY(file.write_at(offset, bytes));
    if (n == 0) return Error(ErrorCode::kIo, "a write to the journal wrote nothing");
    offset += n;
    bytes.remove_prefix(n);
  }
  return {};
}

}  // namespace

Segments::Segments(Disk& disk, SegmentsOptions options) : disk_(disk), options_(std::move(options)) {}

Result<std::unique_ptr<Segments>> Segments::open(Disk& disk, SegmentsOptions options) {
  if (options.segment_bytes < kMinSegmentBytes || options.segment_bytes > kMaxSegmentBytes) {
    return Error(ErrorCode::kInvalidConfig, fmt::format("a segment of the journal has {} to {} bytes, not {}",
                                                        kMinSegmentBytes, kMaxSegmentBytes, options.segment_bytes));
  }
  std::unique_ptr<Segments> segments(new Segments(disk, std::move(options)));
  SHOAL_TRY(segments->recover());
  return segments;
}

std::size_t Segments::max_payload_bytes() const {
  return std::min<std::size_t>(kMaxPayloadBytes, options_.segment_bytes - kSegmentHeadBytes - kFrameHeadBytes);
}

// All is read and judged before anything is written.
Result<void> Segments::recover() {
  SHOAL_TRY(disk_.make_folder(options_.folder));
  lock_ = SHOAL_TRY(disk_.lock_folder(options_.folder));
  const Survey found = SHOAL_TRY(survey(disk_, options_.folder));
  if (found.next) SHOAL_TRY(adopt_next(*found.next));
  if (found.segments.empty()) {
    journal_id_ = recovery_.journal_id = base::random_id();
    SHOAL_TRY(begin_segment());
    recovery_.segments = 1;
    return {};
  }
  std::string bytes;
  const FramesEnd end = SHOAL_TRY(check_segments(found, bytes));
  const SegmentFile& last = found.segments.back();
  const Tail tail = SHOAL_TRY(judge_tail(last, bytes, end));
  journal_id_ = recovery_.journal_id = last.head.journal_id;
  next_sequence_ = end.next_sequence;
  recovery_.first_sequence = found.segments.front().head.first_sequence;
  recovery_.next_sequence = end.next_sequence;
  recovery_.segments = found.segments.size();
  current_ = Current{SHOAL_TRY(disk_.open(last.path, OpenMode::kWrite)), last.head, FrameCodec(last.head), end.offset};
  // The last server may have died of a sync that failed. Then these are bytes that the kernel shows and the disk does
  // not have, and another sync would not write them: they count as written. So they are written again.
  SHOAL_TRY(write_all(*current_->file, 0, std::string_view(bytes).substr(0, kSegmentHeadBytes)));
  SHOAL_TRY(write_all(*current_->file, end.batch_offset,
                      std::string_view(bytes).substr(end.batch_offset, end.offset - end.batch_offset)));
  SHOAL_TRY(current_->file->sync());
  SHOAL_TRY(disk_.sync_folder(options_.folder));
  if (tail.bytes == 0) return {};
  // What is left of a torn batch could be taken for records once others stand before it, but not in another segment.
  recovery_.cut_bytes = tail.bytes;
  recovery_.cut_records = tail.records;
  recovery_.cut_file = last.path.string();
  recovery_.cut_offset = end.offset;
  return begin_segment();
}

Result<FramesEnd> Segments::check_segments(const Survey& found, std::string& last_bytes) const {
  constexpr std::uint64_t kAll = std::numeric_limits<std::uint64_t>::max();
  for (std::size_t i = 0;; ++i) {
    const SegmentFile& segment = found.segments[i];
    const bool is_last = i + 1 == found.segments.size();
    const std::uint64_t next = is_last ? kAll : found.segments[i + 1].head.first_sequence;
    if (!is_last && next <= options_.checked_before) continue;
    std::string bytes = SHOAL_TRY(read_segment(disk_, segment));
    const FramesEnd end = SHOAL_TRY(read_frames(segment.head, bytes, 0, kAll, nullptr));
    if (is_last) {
      last_bytes = std::move(bytes);
      return end;
    }
    if (end.next_sequence != next) {
      return damaged(
          segment.path, end.offset,
          fmt::format("its records end before {}, and the next segment begins with {}", end.next_sequence, next));
    }
  }
}

// A file without a head was prepared and never begun, or its head is damaged: then there are records in it.
Result<void> Segments::adopt_next(const SegmentFile& file) {
  if (file.head.bytes < kMinSegmentBytes) {
    return damaged(file.path, file.head.bytes, "the file ends there");
  }
  const std::string bytes = SHOAL_TRY(read_segment(disk_, file));
  const std::size_t last = bytes.find_last_not_of('\0');
  if (last != std::string::npos && last >= kSegmentHeadBytes) {
    return damaged(file.path, 0, "it has no head that is whole, and there is something in it");
  }
  next_ = Next{SHOAL_TRY(disk_.open(file.path, OpenMode::kWrite)), file.head.bytes, file.head.bytes, true};
  return {};
}

std::uint64_t Segments::next_number() const {
  return current_ ? current_->head.number + 1 : 1;
}

Result<void> Segments::write(std::span<char> frames) {
  while (!frames.empty()) {
    const std::uint64_t room = current_->head.bytes - current_->end;
    std::size_t bytes = 0;
    std::uint32_t count = 0;
    while (bytes < frames.size()) {
      const Frame frame = unsealed_frame({frames.data() + bytes, frames.size() - bytes});
      assert(frame.record.sequence == next_sequence_ + count);
      assert(frame.record.payload.size() <= max_payload_bytes());
      if (bytes + frame.bytes > room) break;
      current_->codec.seal(frames.data() + bytes, count);
      bytes += frame.bytes;
      ++count;
    }
    if (count == 0) {
      SHOAL_TRY(begin_segment());
      continue;
    }
    SHOAL_TRY(write_all(*current_->file, current_->end, {frames.data(), bytes}));
    SHOAL_TRY(current_->file->sync());
    current_->end += bytes;
    next_sequence_ += count;
    frames = frames.subspan(bytes);
  }
  return {};
}

// Name and head are on disk before the first frame is written: a segment without a head has no records.
Result<void> Segments::begin_segment() {
  while (!next_is_ready()) SHOAL_TRY(prepare_slice());
  const SegmentHead head{next_number(), next_sequence_, next_->bytes, journal_id_};
  SHOAL_TRY(write_all(*next_->file, 0, print_head(head)));
  SHOAL_TRY(next_->file->sync());
  SHOAL_TRY(disk_.sync_folder(options_.folder));
  current_ = Current{std::move(next_->file), head, FrameCodec(head), kSegmentHeadBytes};
  next_.reset();
  prepare_after_ = 0;
  return {};
}

// Ready when the segment is half full, at the latest.
bool Segments::wants_to_prepare(bool idle) const {
  if (next_is_ready() || current_->end < prepare_after_) return false;
  return idle || (next_ ? next_->prepared : 0) < 2 * current_->end;
}

Result<void> Segments::prepare() {
  auto prepared = prepare_slice();
  if (!prepared.ok()) prepare_after_ = current_->end + options_.segment_bytes / 8;
  return prepared;
}

Result<void> Segments::prepare_slice() {
  const std::filesystem::path unfinished = options_.folder / kUnfinished;
  auto slice = [&]() -> Result<void> {
    if (!next_) next_ = Next{SHOAL_TRY(disk_.open(unfinished, OpenMode::kCreate)), options_.segment_bytes, 0, false};
    const std::string zeroes(std::min(kPrepareBytes, next_->bytes - next_->prepared), '\0');
    SHOAL_TRY(write_all(*next_->file, next_->prepared, zeroes));
    SHOAL_TRY(next_->file->sync());
    next_->prepared += zeroes.size();
    if (next_->prepared < next_->bytes) return {};
    SHOAL_TRY(disk_.rename(unfinished, options_.folder / segment_name(next_number())));
    next_->ready = true;
    return {};
  }();
  if (!slice.ok()) {
    next_.reset();
    disk_.remove(unfinished).ignore("it is made anew");
  }
  return slice;
}

}  // namespace shoal::audit
