// SseReader: a text/event-stream in pieces of any size, as events. The rules of the WHATWG HTML standard,
// section 9.2.6: lines end with CR, LF or CRLF, comments are skipped, several lines of data are joined with LF, a byte
// order mark at the start is dropped, and an event without the blank line that ends it never happened. `id` and `retry`
// are not read: nobody reconnects here. Bytes are not checked for UTF-8: that is for whoever reads the data.
//
//   SseReader reader;
//   while (SHOAL_TRY(exchange.read(reader.input(), yield)))
//     while (const auto event = SHOAL_TRY(reader.next())) use(event->data);
//
// Owned by the coroutine that reads one stream. Threads: one.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "shoal/base/result.h"

namespace shoal::net {

struct SseEvent {
  std::string_view name;  // of `event:`; empty: not said, which means "message"
  std::string_view data;
};

class SseReader {
 public:
  static constexpr std::size_t kMaxEventBytes = std::size_t{8} << 20;

  // `max_event_bytes`: of the lines that make up one event.
  explicit SseReader(std::size_t max_event_bytes = kMaxEventBytes) : max_event_bytes_(max_event_bytes) {}
  SseReader(const SseReader&) = delete;
  SseReader& operator=(const SseReader&) = delete;

  // Where bytes of the stream are appended, as they come. What is there already must stay as it is.
  [[nodiscard]] std::string& input() { return buffer_; }

  // The next event that is complete; nothing: it takes more bytes. The event's views hold until the next call, and
  // until something is appended. Errors: kBadAnswer when an event is too large; then from every later call, too.
  [[nodiscard]] Result<std::optional<SseEvent>> next();

 private:
  [[nodiscard]] std::size_t find_line_end();
  [[nodiscard]] std::string_view data() const;
  bool skip_byte_order_mark();
  void add_line(std::size_t begin, std::size_t end);
  void add_data(std::size_t begin, std::size_t end);
  void reset_event();
  void drop_what_was_read();

  const std::size_t max_event_bytes_;
  std::string buffer_;
  std::size_t line_ = 0;       // where the current line begins
  std::size_t scanned_ = 0;    // its end is not before this
  std::size_t line_feed_ = 0;  // from scanned_ on there is no LF before this
  bool at_start_ = true;       // of the stream: a byte order mark may come
  bool after_return_ = false;  // a LF now belongs to the CR before it
  bool too_large_ = false;
  bool given_ = false;  // the event below was given to the caller
  // The event that is read: its size, its name, and its data, as a range of buffer_ while that is one line.
  std::size_t bytes_ = 0;
  std::string name_;
  std::size_t data_lines_ = 0;
  std::size_t data_begin_ = 0;
  std::size_t data_end_ = 0;
  std::string joined_;
};

}  // namespace shoal::net
