#include "shoal/net/response_writer.h"

#include <algorithm>
#include <cassert>
#include <iterator>

#include <fmt/compile.h>
#include <fmt/format.h>

#include "shoal/net/head.h"

namespace shoal::net {

ConnectionWriter::ConnectionWriter(Connection& connection, const RequestHead& head, std::string request_id)
    : connection_(connection),
      request_id_(std::move(request_id)),
      head_only_(head.method == "HEAD"),
      chunked_(head.minor_version == 1),
      close_after_(!head.keep_alive) {
  fields_.reserve(8);
}

void ConnectionWriter::set_header(std::string_view name, std::string value) {
  assert(state_ == State::kHeld);
  // A field that would split the response is a client's text in the wrong place: it is not sent.
  if (!is_sendable_field(name, value)) return;
  const auto same = std::ranges::find_if(fields_, [&](const auto& field) { return iequals(field.first, name); });
  if (same != fields_.end()) {
    same->second = std::move(value);
  } else {
    fields_.emplace_back(name, std::move(value));
  }
}

void ConnectionWriter::append_head(std::string& out, int status) const {
  append_status(out, status);
  // RFC 9110 6.6.1: an origin server with a clock must send Date.
  append_field(out, "Date", connection_.state().date());
  append_field(out, "x-request-id", request_id_);
  if (std::ranges::none_of(fields_, [](const auto& field) { return iequals(field.first, "Cache-Control"); }))
    append_field(out, "Cache-Control", "no-store");
  for (const auto& [name, value] : fields_) append_field(out, name, value);
  if (close_after_) {
    append_field(out, "Connection", "close");
  } else if (!chunked_) {
    append_field(out, "Connection", "keep-alive");
  }
}

template <class Append>
Result<void> ConnectionWriter::write(Append append, base::Yield yield) {
  std::string bytes = connection_.take_buffer();
  append(bytes);
  auto written = connection_.write(bytes, std::move(yield));
  connection_.keep_buffer(std::move(bytes));
  return written;
}

Result<void> ConnectionWriter::send(int status, std::string_view content_type, std::string_view body,
                                    base::Yield yield) {
  assert(state_ == State::kHeld);
  if (connection_.state().draining) close_after_ = true;
  const bool bodiless = status == 204 || status == 304;
  state_ = State::kFinished;
  held_.clear();
  return write(
      [&](std::string& out) {
        append_head(out, status);
        if (!bodiless) {
          if (!content_type.empty()) append_field(out, "Content-Type", content_type);
          append_field(out, "Content-Length", std::to_string(body.size()));
        }
        out += "\r\n";
        if (!bodiless && !head_only_) out += body;
      },
      std::move(yield));
}

void ConnectionWriter::begin_event_stream() {
  assert(state_ == State::kHeld);
  event_stream_ = true;
}

Result<void> ConnectionWriter::write_event(std::string_view data, base::Yield yield) {
  assert(event_stream_ && state_ != State::kFinished && !data.contains('\n'));
  if (state_ == State::kHeld) {
    held_.append("data: ").append(data).append("\n\n");
    return {};
  }
  if (head_only_) return {};
  return write([&](std::string& out) { append_frame(out, {"data: ", data, "\n\n"}); }, std::move(yield));
}

Result<void> ConnectionWriter::write_comment(std::string_view text, base::Yield yield) {
  if (state_ != State::kCommitted || head_only_) return {};
  assert(!text.contains('\n'));
  return write([&](std::string& out) { append_frame(out, {": ", text, "\n\n"}); }, std::move(yield));
}

void ConnectionWriter::append_frame(std::string& out, std::initializer_list<std::string_view> parts) const {
  if (chunked_) {
    std::size_t bytes = 0;
    for (const std::string_view part : parts) bytes += part.size();
    fmt::format_to(std::back_inserter(out), FMT_COMPILE("{:x}\r\n"), bytes);
  }
  for (const std::string_view part : parts) out += part;
  if (chunked_) out += "\r\n";
}

Result<void> ConnectionWriter::commit(base::Yield yield) {
  assert(state_ == State::kHeld && event_stream_);
  if (!chunked_ || connection_.state().draining) close_after_ = true;
  state_ = State::kCommitted;
  return write(
      [&](std::string& out) {
        append_head(out, 200);
        append_field(out, "Content-Type", "text/event-stream; charset=utf-8");
        append_field(out, "X-Accel-Buffering", "no");  // nginx buffers a stream without it
        if (chunked_) append_field(out, "Transfer-Encoding", "chunked");
        out += "\r\n";
        if (!held_.empty() && !head_only_) append_frame(out, {held_});
        held_.clear();
      },
      std::move(yield));
}

Result<void> ConnectionWriter::end_stream(base::Yield yield) {
  assert(state_ == State::kCommitted);
  state_ = State::kFinished;
  if (!chunked_ || head_only_) return {};
  return connection_.write("0\r\n\r\n", yield);
}

void ConnectionWriter::discard() {
  assert(state_ == State::kHeld);
  held_.clear();
  event_stream_ = false;
}

}  // namespace shoal::net
