#include "shoal/net/sse_reader.h"

#include <algorithm>

#include <fmt/format.h>

namespace shoal::net {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

}  // namespace

// memchr in place of a loop over both ends. Where LF is, is kept, so that lines that end with CR cost no second search.
std::size_t SseReader::find_line_end() {
  const std::string_view all = buffer_;
  line_feed_ = std::min(all.find('\n', std::max(line_feed_, scanned_)), all.size());
  scanned_ += std::min(all.substr(scanned_, line_feed_ - scanned_).find('\r'), line_feed_ - scanned_);
  return scanned_;
}

std::string_view SseReader::data() const {
  if (data_lines_ > 1) return joined_;
  return std::string_view(buffer_).substr(data_begin_, data_end_ - data_begin_);
}

// Whether it is known that there is none, or that it was skipped.
bool SseReader::skip_byte_order_mark() {
  const std::string_view begin = std::string_view(buffer_).substr(0, kByteOrderMark.size());
  if (begin.size() < kByteOrderMark.size() && kByteOrderMark.starts_with(begin)) return false;
  at_start_ = false;
  if (begin == kByteOrderMark) line_ = scanned_ = begin.size();
  return true;
}

void SseReader::add_data(std::size_t begin, std::size_t end) {
  if (data_lines_ == 1) joined_ = data();
  if (data_lines_ > 0) joined_.append("\n").append(buffer_, begin, end - begin);
  data_begin_ = begin;
  data_end_ = end;
  ++data_lines_;
}

void SseReader::add_line(std::size_t begin, std::size_t end) {
  const std::string_view line = std::string_view(buffer_).substr(begin, end - begin);
  const std::size_t colon = std::min(line.find(':'), line.size());
  std::size_t value = std::min(colon + 1, line.size());
  if (value < line.size() && line[value] == ' ') ++value;
  const std::string_view field = line.substr(0, colon);
  if (field == "data") {
    add_data(begin + value, end);
  } else if (field == "event") {
    name_ = line.substr(value);
  } else {
    return;
  }
  bytes_ += line.size();
}

void SseReader::reset_event() {
  given_ = false;
  bytes_ = 0;
  name_.clear();
  data_lines_ = 0;
  joined_.clear();
}

void SseReader::drop_what_was_read() {
  const std::size_t gone = data_lines_ == 1 ? data_begin_ : line_;
  buffer_.erase(0, gone);
  line_ -= gone;
  scanned_ -= gone;
  line_feed_ -= gone;
  if (data_lines_ == 1) {
    data_begin_ -= gone;
    data_end_ -= gone;
  }
}

Result<std::optional<SseEvent>> SseReader::next() {
  if (given_) reset_event();
  while (!too_large_ && (!at_start_ || skip_byte_order_mark())) {
    if (after_return_ && line_ < buffer_.size()) {
      after_return_ = false;
      if (buffer_[line_] == '\n') scanned_ = ++line_;
    }
    const std::size_t begin = line_;
    const std::size_t end = find_line_end();
    too_large_ = bytes_ + (end - begin) > max_event_bytes_;
    if (too_large_) break;
    if (end == buffer_.size()) {
      drop_what_was_read();
      return std::optional<SseEvent>();
    }
#ifdef SHOAL_PLANTED_BUG
    after_return_ = buffer_[end] == '\r' && end + 1 < buffer_.size();
#else
    after_return_ = buffer_[end] == '\r';
#endif
    line_ = scanned_ = end + 1;
    if (end > begin) {
      add_line(begin, end);
    } else if (data_lines_ == 0) {
      reset_event();
    } else {
      given_ = true;
      return std::optional(SseEvent{name_, data()});
    }
  }
  if (!too_large_) return std::optional<SseEvent>();
  return Error(ErrorCode::kBadAnswer,
               fmt::format("an event of the stream has more than {} bytes, the most that are read", max_event_bytes_));
}

}  // namespace shoal::net
