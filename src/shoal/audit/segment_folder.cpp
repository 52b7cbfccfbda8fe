#include "shoal/audit/segment_folder.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include <fmt/format.h>

namespace shoal::audit {
namespace {

constexpr std::string_view kSuffix = ".journal";
constexpr std::size_t kNumberDigits = 12;

std::optional<std::uint64_t> number_of(std::string_view name) {
  if (name.size() != kNumberDigits + kSuffix.size() || !name.ends_with(kSuffix)) return std::nullopt;
  std::uint64_t number = 0;
  const char* const end = name.data() + kNumberDigits;
  const auto parsed = std::from_chars(name.data(), end, number);
  if (parsed.ec != std::errc() || parsed.ptr != end || number == 0) return std::nullopt;
  return number;
}

Result<std::vector<std::uint64_t>> numbers_in(Disk& disk, const std::filesystem::path& folder) {
  std::vector<std::uint64_t> numbers;
  for (const std::string& name : SHOAL_TRY(disk.list(folder))) {
    if (const auto number = number_of(name)) numbers.push_back(*number);
  }
  std::ranges::sort(numbers);
  return numbers;
}

// The head as the file says it, if it is whole; what the file itself says, in any case.
Result<std::pair<SegmentFile, Result<SegmentHead>>> look_at(Disk& disk, const std::filesystem::path& folder,
                                                            std::uint64_t number) {
  SegmentFile segment{folder / segment_name(number), {}};
  const auto file = SHOAL_TRY(disk.open(segment.path, OpenMode::kRead));
  segment.head.number = number;
  segment.head.bytes = SHOAL_TRY(file->size());
  std::string bytes(kSegmentHeadBytes, '\0');
  bytes.resize(SHOAL_TRY(file->read_at(0, bytes)));
  return std::pair(std::move(segment), parse_head(bytes));
}

Result<void> check_head(const SegmentFile& file, const SegmentHead& head, const Survey& before) {
  if (head.number != file.head.number) {
    return damaged(file.path, 0, fmt::format("its head says that it is segment {}", head.number));
  }
  if (head.bytes != file.head.bytes) {
    return damaged(file.path, 0, fmt::format("it has {} bytes, and its head says {}", file.head.bytes, head.bytes));
  }
  if (before.segments.empty()) return {};
  if (head.journal_id != before.segments.back().head.journal_id) {
    return damaged(file.path, 0, "it belongs to another journal than the segment before it");
  }
  if (head.first_sequence < before.segments.back().head.first_sequence) {
    return damaged(file.path, 0, "it begins with an older record than the segment before it");
  }
  return {};
}

}  // namespace

std::string segment_name(std::uint64_t number) {
  return fmt::format("{:0{}}{}", number, kNumberDigits, kSuffix);
}

Error damaged(const std::filesystem::path& file, std::uint64_t offset, std::string_view what) {
  return {ErrorCode::kJournalDamaged, fmt::format("{} is damaged at byte {}: {}", file.string(), offset, what)};
}

Result<Survey> survey(Disk& disk, const std::filesystem::path& folder) {
  Survey found;
  const std::vector<std::uint64_t> numbers = SHOAL_TRY(numbers_in(disk, folder));
  for (const std::uint64_t number : numbers) {
    if (number != numbers.front() && !found.segments.empty() && number != found.segments.back().head.number + 1) {
      return damaged(folder / segment_name(found.segments.back().head.number + 1), 0, "the file is missing");
    }
    auto [file, head] = SHOAL_TRY(look_at(disk, folder, number));
    if (!head.ok()) {
      if (head.error().code() == ErrorCode::kUnimplemented) {
        return Error(ErrorCode::kUnimplemented, fmt::format("{}: {}", file.path.string(), head.error().message()));
      }
      if (number != numbers.back()) return damaged(file.path, 0, head.error().message());
      found.next = std::move(file);
      break;
    }
    SHOAL_TRY(check_head(file, *head, found));
    file.head = *std::move(head);
    found.segments.push_back(std::move(file));
  }
  if (found.segments.empty() && found.next && found.next->head.number != 1) {
    return damaged(folder / segment_name(found.next->head.number - 1), 0, "the file is missing");
  }
  return found;
}

Result<std::string> read_segment(Disk& disk, const SegmentFile& segment) {
  const auto file = SHOAL_TRY(disk.open(segment.path, OpenMode::kRead));
  std::string bytes;
  std::size_t read = 0;
  std::optional<Error> failure;
  bytes.resize_and_overwrite(segment.head.bytes, [&](char* data, std::size_t size) {
    auto result = file->read_at(0, {data, size});
    if (result.ok())
      read = *result;
    else
      failure = std::move(result).error();
    return read;
  });
  if (failure) return *std::move(failure);
  if (read != segment.head.bytes) return damaged(segment.path, read, "the file ends there");
  return bytes;
}

Result<FramesEnd> read_frames(const SegmentHead& head, std::string_view bytes, std::uint64_t from, std::uint64_t up_to,
                              const RecordVisit& visit) {
  const FrameCodec codec(head);
  FramesEnd end{head.first_sequence, kSegmentHeadBytes, kSegmentHeadBytes};
  std::uint32_t in_batch = 0;
  while (end.next_sequence <= up_to) {
    const std::optional<Frame> frame = codec.read(bytes.substr(end.offset));
    if (!frame || frame->record.sequence != end.next_sequence) break;
    if (frame->in_batch == 0) {
      end.batch_offset = end.offset;
    } else if (frame->in_batch != in_batch) {
      break;
    }
    if (visit && end.next_sequence >= from) SHOAL_TRY(visit(frame->record));
    in_batch = frame->in_batch + 1;
    ++end.next_sequence;
    end.offset += frame->bytes;
  }
  return end;
}

// Of the last batch any sector may be missing, so whole frames of it may stand after one that is not.
Result<Tail> judge_tail(const SegmentFile& segment, std::string_view bytes, const FramesEnd& end) {
  const std::size_t last = bytes.find_last_not_of('\0');
  if (last == std::string_view::npos || last < end.offset) return Tail{};
  Tail tail{last + 1 - end.offset, 0};
  const FrameCodec codec(segment.head);
  for (std::size_t offset = end.offset; offset <= last;) {
    const std::optional<Frame> frame = codec.read(bytes.substr(offset));
    if (!frame) {
      ++offset;
      continue;
    }
    const std::uint64_t sequence = frame->record.sequence;
    const bool same_batch = sequence > end.next_sequence && sequence - frame->in_batch <= end.next_sequence;
    if (!same_batch) {
      return damaged(segment.path, end.offset,
                     fmt::format("record {} should stand there, and {} follows, written later, at byte {}",
                                 end.next_sequence, sequence, offset));
    }
    ++tail.records;
    offset += frame->bytes;
  }
  return tail;
}

Result<void> read_records(Disk& disk, const std::filesystem::path& folder, std::uint64_t from, std::uint64_t up_to,
                          const RecordVisit& visit) {
  const Survey found = SHOAL_TRY(survey(disk, folder));
  const std::vector<SegmentFile>& segments = found.segments;
  if (segments.empty()) return {};
  if (from != 0 && from < segments.front().head.first_sequence) {
    return Error(ErrorCode::kNotFound, fmt::format("record {} is not kept any more; the oldest in {} is {}", from,
                                                   folder.string(), segments.front().head.first_sequence));
  }
  for (std::size_t i = 0; i < segments.size() && segments[i].head.first_sequence <= up_to; ++i) {
    const bool is_last = i + 1 == segments.size();
    const std::uint64_t last = is_last ? up_to : std::min(up_to, segments[i + 1].head.first_sequence - 1);
    if (from > last) continue;
    const std::string bytes = SHOAL_TRY(read_segment(disk, segments[i]));
    const FramesEnd end = SHOAL_TRY(read_frames(segments[i].head, bytes, from, last, visit));
    if (end.next_sequence <= last) {
      return damaged(segments[i].path, end.offset, fmt::format("record {} should stand there", end.next_sequence));
    }
  }
  return {};
}

}  // namespace shoal::audit
