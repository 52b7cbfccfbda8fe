#include "shoal/net/response_writer.h"

#include <algorithm>
#include <cassert>

#include <fmt/format.h>

#include "shoal/net/head.h"

namespace shoal::net {

ConnectionWriter::ConnectionWriter(Connection& connection, const RequestHead& head, std::string request_id)
    : connection_(connection),
      request_id_(std::move(request_id)),
      head_only_(head.method == "HEAD"),
      chunked_(head.minor_version == 1),
      close_after_(!head.keep_alive) {}

void ConnectionWriter::set_header(std::string name, std::string value) {
  assert(state_ == State::kHeld);
  // A field that would split the response is a client's text in the wrong place: it is not sent.
  if (!is_sendable_field(name, value)) return;
  const auto same = std::ranges::find_if(fields_, [&](const auto& field) { return iequals(field.first, name); });
  if (same != fields_.end()) {
    same->second = std::move(value);
  } else {
    fields_.emplace_back(std::move(name), std::move(value));
  }
}

Fields ConnectionWriter::common_fields() const {
  Fields out;
  // RFC 9110 6.6.1: an origin server with a clock must send Date.
  out.emplace_back("Date", connection_.state().date());
  out.emplace_back("x-request-id", request_id_);
  if (std::ranges::none_of(fields_, [](const auto& field) { return iequals(field.first, "Cache-Control"); })) {
    out.emplace_back("Cache-Control", "no-store");
  }
  out.insert(out.end(), fields_.begin(), fields_.end());
  if (close_after_) {
    out.emplace_back("Connection", "close");
  } else if (!chunked_) {
    out.emplace_back("Connection", "keep-alive");
  }
  return out;
}

Result<void> ConnectionWriter::send(int status, std::string_view content_type, std::string_view body,
                                    base::Yield yield) {
  assert(state_ == State::kHeld);
  if (connection_.state().draining) close_after_ = true;
  Fields fields = common_fields();
  const bool bodiless = status == 204 || status == 304;
  if (!bodiless) {
    if (!content_type.empty()) fields.emplace_back("Content-Type", content_type);
    fields.emplace_back("Content-Length", std::to_string(body.size()));
  }
  std::string bytes = response_head(status, fields);
  if (!bodiless && !head_only_) bytes += body;
  state_ = State::kFinished;
  held_.clear();
  return connection_.write(bytes, yield);
}

void ConnectionWriter::begin_event_stream() {
  assert(state_ == State::kHeld);
  event_stream_ = true;
}

Result<void> ConnectionWriter::write_event(std::string_view data, base::Yield yield) {
  assert(event_stream_ && state_ != State::kFinished && !data.contains('\n'));
  const std::string event = fmt::format("data: {}\n\n", data);
  if (state_ == State::kHeld) {
    held_ += event;
    return {};
  }
  return head_only_ ? Result<void>() : connection_.write(frame(event), yield);
}

Result<void> ConnectionWriter::write_comment(std::string_view text, base::Yield yield) {
  if (state_ != State::kCommitted || head_only_) return {};
  assert(!text.contains('\n'));
  return connection_.write(frame(fmt::format(": {}\n\n", text)), yield);
}

std::string ConnectionWriter::frame(std::string_view bytes) const {
  return chunked_ ? fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes) : std::string(bytes);
}

Result<void> ConnectionWriter::commit(base::Yield yield) {
  assert(state_ == State::kHeld && event_stream_);
  if (!chunked_ || connection_.state().draining) close_after_ = true;
  Fields fields = common_fields();
  fields.emplace_back("Content-Type", "text/event-stream; charset=utf-8");
  fields.emplace_back("X-Accel-Buffering", "no");  // nginx buffers a stream without it
  if (chunked_) fields.emplace_back("Transfer-Encoding", "chunked");
  std::string bytes = response_head(200, fields);
  if (!held_.empty() && !head_only_) bytes += frame(held_);
  held_.clear();
  state_ = State::kCommitted;
  return connection_.write(bytes, yield);
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
