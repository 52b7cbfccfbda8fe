#include "shoal/net/connection.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <fmt/format.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>

#include "shoal/base/clock.h"
#include "shoal/base/ids.h"
#include "shoal/net/chunked.h"
#include "shoal/net/response.h"
#include "shoal/net/response_writer.h"
#include "shoal/net/room.h"

namespace shoal::net {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr std::size_t kReadBytes = std::size_t{16} * 1024;
constexpr std::size_t kSpareBuffers = 64;
constexpr std::size_t kMostSpareBytes = std::size_t{64} * 1024;
// What a client may pipeline behind a running request before we stop reading.
constexpr std::size_t kMaxPipelinedBytes = std::size_t{64} * 1024;
// What a client that was refused may still send, so that it comes to read why: most libraries write all first.
constexpr std::size_t kMaxLingerBytes = std::size_t{64} * 1024 * 1024;
constexpr std::size_t kLingerTurnBytes = std::size_t{1024} * 1024;

bool would_block(const error_code& ec) {
  return ec == asio::error::would_block || ec == asio::error::try_again;
}

}  // namespace

void ServerState::keep(std::string buffer) {
  if (spare_.size() >= kSpareBuffers || buffer.capacity() > kMostSpareBytes) return;
  buffer.clear();
  spare_.push_back(std::move(buffer));
}

std::string ServerState::take() {
  if (spare_.empty()) return {};
  std::string buffer = std::move(spare_.back());
  spare_.pop_back();
  return buffer;
}

const std::string& ServerState::date() const {
  const std::int64_t now_s = base::SystemClock().unix_seconds();
  if (now_s != dated_s_) {
    dated_s_ = now_s;
    date_ = http_date(now_s);
  }
  return date_;
}

Connection::Connection(std::shared_ptr<ServerState> state, Socket socket, ListenerKind kind, bool loopback_listener)
    : state_(std::move(state)),
      socket_(std::move(socket)),
      timer_(socket_.get_executor()),
      kind_(kind),
      loopback_listener_(loopback_listener) {
  state_->connections.insert(this);
  state_->stats.open_connections = state_->connections.size();
}

Connection::~Connection() {
  state_->connections.erase(this);
  state_->stats.open_connections = state_->connections.size();
  if (state_->connections.empty()) state_->drained.cancel();
}

void Connection::start() {
  wait_idle();
}

void Connection::start_refusing() {
  phase_ = Phase::kReading;
  base::spawn(socket_.get_executor(), "refusal", [self = shared_from_this()](base::Yield yield) {
    self->refuse(Error(ErrorCode::kTooManyConnections,
                       fmt::format("{} connections are open; retry later", self->state_->options.max_connections)),
                 base::random_id(), yield);
    self->close();
  });
}

void Connection::close() {
  if (phase_ == Phase::kClosed) return;
  phase_ = Phase::kClosed;
  ++timer_generation_;
  timer_.cancel();
  error_code ignored;
  socket_.close(ignored);
  mark_gone();
}

// --- readiness

void Connection::wait_idle() {
  phase_ = Phase::kIdle;
  state_->keep(std::exchange(in_, {}));
  arm(state_->options.idle_timeout_ms);
  watch();
}

void Connection::watch() {
  if (watching_ || phase_ == Phase::kClosed) return;
  watching_ = true;
  socket_.async_wait(Socket::wait_read, [self = shared_from_this()](const error_code& ec) { self->on_readable(ec); });
}

void Connection::on_readable(const error_code& ec) {
  watching_ = false;
  if (ec || phase_ == Phase::kClosed) return;
  if (phase_ == Phase::kHandling) {
    read_while_handling();
  } else if (phase_ == Phase::kIdle) {
    phase_ = Phase::kReading;
    in_ = state_->take();
    base::spawn(socket_.get_executor(), "connection",
                [self = shared_from_this()](base::Yield yield) { self->serve(yield); });
  }
}

// The request is read: what comes now is a pipelined request, or the end. A half-close counts as the end:
// no HTTP client library does that, and it is the only sign of a client that gave up.
void Connection::read_while_handling() {
  const std::size_t before = in_.size();
  make_room(in_, kReadBytes);
  error_code ec;
  const std::size_t n = socket_.read_some(asio::buffer(in_.data() + before, kReadBytes), ec);
  in_.resize(before + n);
  if (ec && !would_block(ec)) {
    mark_gone();
  } else if (in_.size() < kMaxPipelinedBytes) {
    watch();
  }
}

void Connection::mark_gone() {
  gone_ = true;
  cancel_.request_stop();
}

std::stop_token Connection::cancel_token() {
  if (!cancel_.stop_possible()) cancel_ = std::stop_source();
  if (gone_) cancel_.request_stop();
  return cancel_.get_token();
}

void Connection::arm(std::int64_t timeout_ms) {
  timed_out_ = false;
  limit_ = std::chrono::steady_clock::now() + std::chrono::milliseconds(std::max<std::int64_t>(timeout_ms, 0));
  if (limit_ < fires_) wait_for_limit();
}

void Connection::wait_for_limit() {
  const std::uint64_t generation = ++timer_generation_;
  fires_ = limit_;
  timer_.expires_at(limit_);
  timer_.async_wait([self = shared_from_this(), generation](const error_code&) {
    if (generation != self->timer_generation_) return;
    self->fires_ = kNever;
    if (self->limit_ == kNever) return;
    if (std::chrono::steady_clock::now() < self->limit_) return self->wait_for_limit();
    if (self->phase_ == Phase::kIdle) return self->close();
    self->timed_out_ = true;
    error_code ignored;
    self->socket_.cancel(ignored);
  });
}

// --- reading

void Connection::serve(base::Yield yield) {
  do {
    if (!serve_one(yield)) {
      close();
      return;
    }
  } while (!in_.empty() && phase_ != Phase::kClosed);
  if (phase_ == Phase::kClosed) return;
  if (state_->draining) {
    close();
  } else {
    wait_idle();
  }
}

bool Connection::serve_one(base::Yield yield) {
  phase_ = Phase::kReading;
  auto head = read_head(yield);
  std::string id = base::random_id();
  if (!head.ok()) {
    if (head.error().code() != ErrorCode::kCancelled) refuse(head.error(), id, yield);
    return false;
  }
  if (const auto given = head->header("x-request-id"); is_request_id(given)) id = given;
  auto checked = check(*head);
  if (!checked.ok()) {
    refuse(checked.error(), id, yield);
    return false;
  }
  auto body = read_body(*head, yield);
  disarm();
  if (!body.ok()) {
    if (body.error().code() != ErrorCode::kCancelled) refuse(body.error(), id, yield);
    return false;
  }
  head->headers.emplace_back("x-request-id", id);
  return handle(std::move(head).value(), std::move(body).value(), yield);
}

Result<RequestHead> Connection::read_head(base::Yield yield) {
  arm(state_->options.head_timeout_ms);
  HeadReader reader(state_->options.head);
  while (!SHOAL_TRY(reader.advance(in_))) {
    auto n = read_some(yield);
    if (n.ok()) continue;
    if (n.error().code() == ErrorCode::kRequestTimeout) {
      return Error(ErrorCode::kRequestTimeout,
                   fmt::format("the head was not complete after {} ms", state_->options.head_timeout_ms));
    }
    return std::move(n).error();
  }
  in_.erase(0, reader.head_bytes());
  return reader.take();
}

Result<void> Connection::check(const RequestHead& head) const {
  if (kind_ == ListenerKind::kPublic) {
    const OriginPolicy policy{state_->options.allowed_hosts, state_->options.allowed_origins, loopback_listener_};
    SHOAL_TRY(check_origin(policy, head.host, head.header("Origin")));
  }
  const auto encoding = head.header("Content-Encoding");
  if (!encoding.empty() && !iequals(encoding, "identity")) {
    return Error(ErrorCode::kUnsupportedMediaType,
                 "compressed request bodies are not read; send the body without Content-Encoding");
  }
  if (head.content_length > state_->options.max_body_bytes) {
    return Error(ErrorCode::kPayloadTooLarge, fmt::format("the body has {} bytes; at most {} are read",
                                                          head.content_length, state_->options.max_body_bytes));
  }
  return {};
}

Result<std::string> Connection::read_body(const RequestHead& head, base::Yield yield) {
  std::string body;
  if (head.framing == BodyFraming::kNone) return body;
  if (head.expect_continue && in_.empty()) SHOAL_TRY(write("HTTP/1.1 100 Continue\r\n\r\n", yield));
  const auto& options = state_->options;
  const auto started = std::chrono::steady_clock::now();
  ChunkedDecoder decoder(options.max_body_bytes);
  for (;;) {
    if (head.framing == BodyFraming::kChunked) {
      const std::size_t used = SHOAL_TRY(decoder.feed(in_, body));
      in_.erase(0, used);
      if (decoder.done()) return body;
    } else {
      const std::size_t take =
          std::min<std::size_t>(in_.size(), static_cast<std::size_t>(head.content_length) - body.size());
      body.append(in_, 0, take);
      in_.erase(0, take);
      if (body.size() == head.content_length) return body;
    }
    // Absolute: a byte now and then does not extend it by more than the byte is worth.
    const auto spent =
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - started).count();
    const auto earned =
        static_cast<std::int64_t>(body.size()) * 1000 / std::max<std::int64_t>(options.body_bytes_per_s, 1);
    arm(options.body_grace_ms + earned - spent);
    auto n = read_some(yield);
    if (n.ok()) continue;
    if (n.error().code() == ErrorCode::kRequestTimeout) {
      return Error(ErrorCode::kRequestTimeout, fmt::format("the body came slower than {} bytes/s; {} bytes had arrived",
                                                           options.body_bytes_per_s, body.size()));
    }
    return std::move(n).error();
  }
}

Result<std::size_t> Connection::read_some(base::Yield yield) {
  const std::size_t before = in_.size();
  make_room(in_, kReadBytes);
  const auto room = asio::buffer(in_.data() + before, kReadBytes);
  error_code ec = asio::error::would_block;
  std::size_t n = 0;
  if (!timed_out_) n = socket_.read_some(room, ec);
  if (would_block(ec) && !timed_out_) n = socket_.async_read_some(room, yield[ec]);
  in_.resize(before + n);
  if (n > 0) return n;
  if (timed_out_) return Error(ErrorCode::kRequestTimeout, "the client was too slow");
  return Error(ErrorCode::kCancelled, "the client closed the connection");
}

// --- answering

bool Connection::handle(RequestHead head, std::string body, base::Yield yield) {
  HttpRequest request{head.method, head.path, head.query, std::move(head.headers), std::move(body), {}, kind_};
  request.id = std::move(request.headers.back().second);
  request.headers.pop_back();
  ConnectionWriter writer(*this, head, request.id);
  if (request.method == "OPTIONS" && request.path == "*") {
    writer.set_header("Allow", "GET, HEAD, POST, DELETE, OPTIONS");
    return writer.send(204, {}, {}, yield).ok() && writer.reusable();
  }
  phase_ = Phase::kHandling;
  ++state_->stats.requests;
  ++state_->stats.active_requests;
  watch();
  const Handler& handler = kind_ == ListenerKind::kAdmin ? state_->admin_handler : state_->public_handler;
  handler(request, writer, yield);
  cancel_ = std::stop_source(std::nostopstate);
  --state_->stats.active_requests;
  if (phase_ == Phase::kClosed || gone_) return false;
  if (writer.state() == ResponseWriter::State::kHeld) {
    const Error error(ErrorCode::kInternal, "the request ended without an answer");
    writer.close_after();
    writer.discard();
    writer.send(error.info().http_status, "application/json", error_json(error), yield)
        .ignore("the connection closes either way");
  }
  return writer.reusable();
}

Result<void> Connection::write(std::string_view bytes, base::Yield yield) {
  // Those that are ready come first, so that what all of them have to say leaves together: a send wakes whoever reads,
  // which is a third of its price, and one that follows at once finds it awake. It also makes streams take turns.
  if (state_->stats.active_requests > 1) asio::post(yield);
  if (phase_ == Phase::kClosed || gone_) return Error(ErrorCode::kCancelled, "the client is gone");
  bool armed = false;
  while (!bytes.empty()) {
    error_code ec;
    std::size_t n = socket_.write_some(asio::buffer(bytes.data(), bytes.size()), ec);
    if (would_block(ec)) {
      if (!std::exchange(armed, true)) arm(state_->options.write_timeout_ms);
      ec = {};
      if (!timed_out_) n = socket_.async_write_some(asio::buffer(bytes.data(), bytes.size()), yield[ec]);
    }
    const bool too_slow = armed && timed_out_;
    if (ec || too_slow) {
      disarm();
      mark_gone();
      if (too_slow) {
        return Error(ErrorCode::kRequestTimeout,
                     fmt::format("the client did not read for {} ms", state_->options.write_timeout_ms));
      }
      return Error(ErrorCode::kCancelled, "the client is gone");
    }
    bytes.remove_prefix(n);
  }
  if (armed) disarm();
  return {};
}

void Connection::refuse(const Error& error, std::string_view request_id, base::Yield yield) {
  ++state_->stats.refused_requests;
  const std::string body = error_json(error);
  std::string bytes;
  append_status(bytes, error.info().http_status);
  append_field(bytes, "Date", state_->date());
  append_field(bytes, "x-request-id", request_id);
  append_field(bytes, "Cache-Control", "no-store");
  append_field(bytes, "Connection", "close");
  append_field(bytes, "Content-Type", "application/json");
  append_field(bytes, "Content-Length", std::to_string(body.size()));
  if (error.code() == ErrorCode::kMethodNotAllowed) append_field(bytes, "Allow", "GET, HEAD, POST, DELETE, OPTIONS");
  if (error.info().retryable) append_field(bytes, "Retry-After", "1");
  bytes.append("\r\n").append(body);
  disarm();
  timed_out_ = false;
  if (write(bytes, yield).ok()) linger(yield);
}

// A close with unread input makes the kernel send RST, which destroys the answer on its way. So: end our
// side, then read and drop until the client has closed, for a bounded time.
void Connection::linger(base::Yield yield) {
  error_code ec;
  socket_.shutdown(Socket::shutdown_send, ec);
  arm(state_->options.linger_timeout_ms);
  std::size_t turn = 0;
  for (std::size_t dropped = 0; dropped < kMaxLingerBytes;) {
    in_.clear();
    auto n = read_some(yield);
    if (!n.ok()) break;
    dropped += *n;
    // Bytes that are there already are read without waiting: others get their turn, and the timer too.
    if ((turn += *n) >= kLingerTurnBytes) {
      turn = 0;
      asio::post(yield);
    }
  }
  disarm();
}

}  // namespace shoal::net
