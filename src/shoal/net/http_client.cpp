#include "shoal/net/http_client.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <map>
#include <utility>

#include <fmt/format.h>
#include <sys/socket.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>

#include "shoal/net/head.h"
#include "shoal/net/public_address.h"
#include "shoal/net/response.h"
#include "shoal/net/room.h"

namespace shoal::net {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
namespace ssl = boost::asio::ssl;
using asio::ip::tcp;
using TcpSocket = asio::basic_stream_socket<tcp, base::Executor>;
using Resolver = asio::ip::basic_resolver<tcp, base::Executor>;
using base::error_code;

constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
constexpr std::size_t kReadBytes = std::size_t{16} * 1024;
constexpr int kMaxInterim = 16;                        // responses before the response
constexpr auto kSweepEvery = std::chrono::seconds(1);  // idle connections
// A connection that served a moment ago is taken as it is. Should the other side have closed it just then, that is seen
// when it is used, as it must be in any case: stale().
constexpr std::int64_t kMomentNs = 1'000'000;
// Up to here the body is written together with the head.
constexpr std::size_t kOneWriteBytes = std::size_t{16} * 1024;

bool breaks_line(std::string_view text) {
  return std::ranges::any_of(text, [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
}

std::string authority_of(const Upstream& upstream) {
  const bool v6 = upstream.host.find(':') != std::string::npos;
  const std::string host = v6 ? "[" + upstream.host + "]" : upstream.host;
  return upstream.port == (upstream.tls ? 443 : 80) ? host : host + ":" + std::to_string(upstream.port);
}

std::string called(const Upstream& upstream) {
  return upstream.name.empty() ? authority_of(upstream) : upstream.name;
}

}  // namespace

// --- what an exchange works with

// A connection, and the one timer of what is waited for on it. A limit that moves away costs nothing: the timer looks
// at it when it fires, and goes on waiting.
struct HttpExchange::Link {
  explicit Link(asio::io_context& io) : socket(io), resolver(io), timer(io), resolved(io) {}

  TcpSocket socket;
  std::unique_ptr<ssl::stream<TcpSocket&>> tls;
  Resolver resolver;
  base::Timer timer;
  base::Timer resolved;  // cancelled when the name is resolved, or nobody waits for it any more
  Resolver::results_type addresses;
  error_code lookup;
  bool looked_up = false;
  std::string in;                  // received, not yet consumed
  std::string out;                 // the request, as it is written
  std::int64_t limit_ns = kNever;  // when what is waited for now must have come
  std::int64_t fires_ns = kNever;  // when the timer looks at that
  std::uint64_t generation = 0;    // of the timer
  bool timed_out = false;
  bool cancelled = false;
  std::int64_t idle_since_ns = 0;

  void stop() {
    resolved.cancel();
    error_code ignored;
    socket.cancel(ignored);
  }
  void close() {
    ++generation;
    timer.cancel();
    resolver.cancel();
    error_code ignored;
    socket.close(ignored);
  }
  static void arm(const std::shared_ptr<Link>& link, const base::Clock& clock) {
    link->fires_ns = link->limit_ns;
    link->timer.expires_after(std::chrono::nanoseconds(base::Deadline{link->fires_ns}.left_ns(clock)));
    link->timer.async_wait([weak = std::weak_ptr(link), generation = ++link->generation, &clock](const error_code&) {
      const auto watched = weak.lock();
      if (!watched || watched->generation != generation) return;
      watched->fires_ns = kNever;
      if (watched->limit_ns == kNever) return;
      if (!base::Deadline{watched->limit_ns}.passed(clock)) return arm(watched, clock);
      watched->timed_out = true;
      watched->stop();
    });
  }
};

void HttpExchange::Stop::operator()() const {
  link->cancelled = true;
  link->stop();
}

struct HttpExchange::Parser {
  http::response_parser<http::buffer_body> response;
};

struct HttpClient::Pool {
  using Link = HttpExchange::Link;

  Pool(asio::io_context& context, const base::Clock& time, HttpClientOptions client_options)
      : io(context), clock(time), options(std::move(client_options)), sweeper(context) {}

  asio::io_context& io;
  const base::Clock& clock;
  const HttpClientOptions options;
  std::map<Upstream, std::vector<std::shared_ptr<Link>>> idle;
  std::unique_ptr<ssl::context> tls;
  base::Timer sweeper;
  std::size_t running = 0;  // exchanges
  bool sweeps = false;
  bool closed = false;

  // Made with the first connection that wants it: it takes some MB.
  Result<ssl::context*> tls_context() {
    if (tls) return tls.get();
    auto made = std::make_unique<ssl::context>(ssl::context::tls_client);
    error_code ec;
    made->set_verify_mode(ssl::verify_peer, ec);
    SSL_CTX_set_min_proto_version(made->native_handle(), TLS1_2_VERSION);
    SSL_CTX_set_mode(made->native_handle(), SSL_MODE_RELEASE_BUFFERS);
    if (options.ca_file.empty()) {
      made->set_default_verify_paths(ec);
    } else {
      made->load_verify_file(options.ca_file, ec);
    }
    if (ec) {
      return Error(ErrorCode::kIo,
                   fmt::format("the certificates of authorities {} cannot be read: {}",
                               options.ca_file.empty() ? "of this system" : options.ca_file, ec.message()));
    }
    tls = std::move(made);
    return tls.get();
  }

  std::shared_ptr<Link> take(const Upstream& upstream) {
    const auto found = idle.find(upstream);
    if (found == idle.end()) return nullptr;
    auto& links = found->second;
    std::shared_ptr<Link> link;
    while (!links.empty() && !link) {
      if (usable(*links.back())) {
        link = std::move(links.back());
      } else {
        links.back()->close();
      }
      links.pop_back();
    }
    return link;
  }

  // Whatever came on an idle connection is the end, or nothing that was asked for.
  [[nodiscard]] bool usable(Link& link) const {
    const std::int64_t idle_ns = clock.monotonic_ns() - link.idle_since_ns;
    if (idle_ns < kMomentNs) return true;
    if (idle_ns > options.idle_timeout_ms * 1'000'000) return false;
    char byte = 0;
    return ::recv(link.socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           (errno == EAGAIN || errno == EWOULDBLOCK);
  }

  static void keep(const std::shared_ptr<Pool>& self, const Upstream& upstream, std::shared_ptr<Link> link) {
    auto& links = self->idle[upstream];
    if (self->closed || links.size() >= self->options.idle_per_upstream) return link->close();
    link->idle_since_ns = self->clock.monotonic_ns();
    links.push_back(std::move(link));
    if (!std::exchange(self->sweeps, true)) sweep_later(self);
  }

  // Now and then closes what the other side has closed, or what was idle for too long.
  static void sweep_later(const std::shared_ptr<Pool>& self) {
    self->sweeper.expires_after(kSweepEvery);
    self->sweeper.async_wait([weak = std::weak_ptr(self)](const error_code&) {
      const auto pool = weak.lock();
      if (!pool || pool->closed) return;
      for (auto at = pool->idle.begin(); at != pool->idle.end();) {
        std::erase_if(at->second, [&](const auto& link) {
          if (pool->usable(*link)) return false;
          link->close();
          return true;
        });
        at = at->second.empty() ? pool->idle.erase(at) : std::next(at);
      }
      pool->sweeps = !pool->idle.empty();
      if (pool->sweeps) sweep_later(pool);
    });
  }

  void close_idle() {
    for (auto& [key, links] : idle) {
      for (const auto& link : links) link->close();
    }
    idle.clear();
    sweeper.cancel();
  }
};

HttpClient::HttpClient(asio::io_context& io, const base::Clock& clock, HttpClientOptions options)
    : pool_(std::make_shared<Pool>(io, clock, std::move(options))) {}

HttpClient::~HttpClient() {
  pool_->closed = true;
  pool_->close_idle();
}

std::size_t HttpClient::idle() const {
  std::size_t count = 0;
  for (const auto& [key, links] : pool_->idle) count += links.size();
  return count;
}

void HttpClient::close_idle() {
  pool_->close_idle();
}

// --- one exchange

HttpExchange::HttpExchange(HttpClient& client, Upstream upstream, ClientLimits limits, std::stop_token cancel)
    : pool_(client.pool_), upstream_(std::move(upstream)), limits_(limits), cancel_(std::move(cancel)) {
  ++pool_->running;
}

HttpExchange::~HttpExchange() {
  --pool_->running;
  on_cancel_.reset();
  if (link_) link_->close();
}

namespace {

base::Deadline sooner(base::Deadline a, base::Deadline b) {
  return {std::min(a.at_ns, b.at_ns)};
}

// Runs `wait`, which suspends, and stops what it waits for at `until`.
template <class Link, class Wait>
void within(const std::shared_ptr<Link>& link, base::Deadline until, const base::Clock& clock, Wait&& wait) {
  link->timed_out = until.passed(clock);
  if (link->timed_out || link->cancelled) return;
  link->limit_ns = until.at_ns;
  if (link->limit_ns < link->fires_ns) Link::arm(link, clock);
  std::forward<Wait>(wait)();
  link->limit_ns = kNever;
}

}  // namespace

// What ended a wait: the caller's wish, a limit, or the other side.
Error HttpExchange::failure(std::string_view what) const {
  if (link_ && link_->cancelled) return {ErrorCode::kCancelled, "the request was cancelled"};
  if (limits_.deadline.passed(pool_->clock))
    return {ErrorCode::kDeadlineExceeded, fmt::format("the deadline passed: {} {}", called(upstream_), what)};
  return {ErrorCode::kUnreachable, fmt::format("{} {}", called(upstream_), what)};
}

Result<void> HttpExchange::connect(base::Yield yield) {
  const auto link = link_;
  const base::Deadline connected = sooner(base::Deadline::after_ms(pool_->clock, limits_.connect_ms), limits_.deadline);
  error_code ec;
  const auto literal = asio::ip::make_address(upstream_.host, ec);
  std::vector<tcp::endpoint> endpoints;
  if (!ec) {
    endpoints.emplace_back(literal, upstream_.port);
  } else {
    // The thread that resolves cannot be interrupted, so nobody waits for it longer than allowed.
    link->resolver.async_resolve(upstream_.host, std::to_string(upstream_.port),
                                 [link](const error_code& failed, Resolver::results_type found) {
                                   link->lookup = failed;
                                   link->addresses = std::move(found);
                                   link->looked_up = true;
                                   link->resolved.cancel();
                                 });
    link->resolved.expires_at(base::Timer::time_point::max());
    within(link, connected, pool_->clock, [&] {
      error_code woken;
      link->resolved.async_wait(yield[woken]);
    });
    if (!link->looked_up) return failure(fmt::format("was not resolved within {} ms", limits_.connect_ms));
    if (link->lookup) return failure(fmt::format("has no address: {}", link->lookup.message()));
    for (const auto& entry : link->addresses) endpoints.push_back(entry.endpoint());
  }
  std::string why = "has no address";
  bool refused_by_us = true;
  for (const tcp::endpoint& endpoint : endpoints) {
    // FENCE: nothing has been sent to this address yet.
    if (!upstream_.private_addresses && !is_public(endpoint.address())) {
      why = "has no public address, and is not configured to be local";
      continue;
    }
    refused_by_us = false;
    link->socket.close(ec);
    ec = asio::error::timed_out;
    within(link, connected, pool_->clock, [&] { link->socket.async_connect(endpoint, yield[ec]); });
    if (!ec) {
      link->socket.set_option(tcp::no_delay(true), ec);
      link->socket.non_blocking(true, ec);
      return upstream_.tls ? start_tls(yield) : Result<void>();
    }
    why = link->timed_out ? fmt::format("did not accept a connection within {} ms", limits_.connect_ms)
                          : fmt::format("cannot be reached: {}", ec.message());
    if (link->cancelled || connected.passed(pool_->clock)) break;
  }
  if (refused_by_us && !endpoints.empty())
    return Error(ErrorCode::kPolicyDenied, fmt::format("{} {}", called(upstream_), why));
  return failure(why);
}

Result<void> HttpExchange::start_tls(base::Yield yield) {
  const auto link = link_;
  ssl::context* const context = SHOAL_TRY(pool_->tls_context());
  link->tls = std::make_unique<ssl::stream<TcpSocket&>>(link->socket, *context);
  error_code ec;
  asio::ip::make_address(upstream_.host, ec);
  // A literal has no server name (RFC 6066); its certificate is checked for the address all the same.
  if (ec) SSL_set_tlsext_host_name(link->tls->native_handle(), upstream_.host.c_str());
  link->tls->set_verify_callback(ssl::host_name_verification(upstream_.host), ec);
  ec = asio::error::timed_out;
  within(link, sooner(base::Deadline::after_ms(pool_->clock, limits_.connect_ms), limits_.deadline), pool_->clock,
         [&] { link->tls->async_handshake(ssl::stream_base::client, yield[ec]); });
  if (!ec) return {};
  if (link->timed_out) return failure(fmt::format("did not finish the TLS handshake within {} ms", limits_.connect_ms));
  const long verified = SSL_get_verify_result(link->tls->native_handle());
  if (verified != X509_V_OK)
    return failure(fmt::format("has a certificate that is not trusted: {}", X509_verify_cert_error_string(verified)));
  return failure(fmt::format("failed the TLS handshake: {}", ec.message()));
}

Result<void> HttpExchange::write(std::string_view bytes, base::Yield yield) {
  const auto link = link_;
  // Those that are ready come first, so that the requests of all of them leave together, as in Connection::write.
  if (pool_->running > 1) asio::post(yield);
  if (link->cancelled) return failure("");
  error_code ec;
  sent_ = true;
  if (!link->tls) {
    // Most requests fit the socket's buffer: nobody waits, and no timer is needed.
    bytes.remove_prefix(link->socket.write_some(asio::buffer(bytes), ec));
    if (bytes.empty()) return {};
    if (ec == asio::error::would_block || ec == asio::error::try_again) ec = {};
  }
  if (!ec) {
    ec = asio::error::timed_out;
    within(link, sooner(base::Deadline::after_ms(pool_->clock, limits_.head_ms), limits_.deadline), pool_->clock, [&] {
      if (link->tls) {
        asio::async_write(*link->tls, asio::buffer(bytes), yield[ec]);
      } else {
        asio::async_write(link->socket, asio::buffer(bytes), yield[ec]);
      }
    });
  }
  if (!ec) return {};
  broke_ = !link->timed_out && !link->cancelled;
  // Who refuses a request need not read it first, and its answer is there to be read.
  cut_ = ec == asio::error::broken_pipe || ec == asio::error::connection_reset;
  if (cut_) return {};
  return failure(fmt::format("did not take the request: {}", ec.message()));
}

Result<void> HttpExchange::send(const ClientRequest& request, base::Yield yield) {
  assert(!link_ && !sent_);
  bool broken = breaks_line(request.method) || breaks_line(request.target);
  for (const auto& [name, value] : request.headers) broken = broken || breaks_line(name) || breaks_line(value);
  if (broken) return Error(ErrorCode::kInvalidRequest, "a header of the outgoing request has a line break in it");

  if (!limits_.fresh) link_ = pool_->take(upstream_);
  reused_ = link_ != nullptr;
  if (!link_) link_ = std::make_shared<Link>(pool_->io);
  on_cancel_.emplace(cancel_, Stop{link_});
  if (link_->cancelled) return failure("");
  if (!reused_) SHOAL_TRY(connect(yield));

  const bool together = request.body.size() <= kOneWriteBytes;
  std::string& head = link_->out;
  head.clear();
  head.append(request.method).append(" ").append(request.target).append(" HTTP/1.1\r\n");
  append_field(head, "Host", authority_of(upstream_));
  append_field(head, "Content-Length", std::to_string(request.body.size()));
  for (const auto& [name, value] : request.headers) append_field(head, name, value);
  head += "\r\n";
  if (together) head += request.body;
  SHOAL_TRY(write(head, yield));
  if (!together && !cut_) SHOAL_TRY(write(request.body, yield));
  answered_ = sooner(base::Deadline::after_ms(pool_->clock, limits_.head_ms), limits_.deadline);
  return {};
}

Result<std::optional<int>> HttpExchange::status(base::Deadline wake, base::Yield yield) {
  assert(link_ && sent_);
  for (;;) {
    if (!parser_) {
      parser_ = std::make_unique<Parser>();
      parser_->response.header_limit(static_cast<std::uint32_t>(limits_.head_bytes));
      parser_->response.body_limit(boost::none);
    }
    auto& response = parser_->response;
    while (!response.is_header_done()) {
      error_code ec = http::error::need_more;
      if (!link_->in.empty()) link_->in.erase(0, response.put(asio::buffer(link_->in), ec));
      if (response.is_header_done()) break;
      if (ec && ec != http::error::need_more) return failure(fmt::format("answered with no HTTP: {}", ec.message()));
      if (!SHOAL_TRY(read_more(answered_, wake, "answer", yield))) return std::optional<int>();
    }
    const unsigned status = response.get().result_int();
    if (status / 100 != 1 || status == 101) break;  // nobody asked for another protocol
    if (++interim_ > kMaxInterim) return failure("sent interim responses without end");
    parser_.reset();  // 100 Continue and its like come before the answer
  }
  next_ = sooner(base::Deadline::after_ms(pool_->clock, limits_.read_ms), limits_.deadline);
  return std::optional(static_cast<int>(parser_->response.get().result_int()));
}

std::string_view HttpExchange::header(std::string_view name) const {
  const auto& fields = parser_->response.get();
  const auto found = fields.find(name);
  return found == fields.end() ? std::string_view() : std::string_view(found->value());
}

Result<bool> HttpExchange::read_more(base::Deadline until, base::Deadline wake, std::string_view what,
                                     base::Yield yield) {
  const auto link = link_;
  const std::size_t before = link->in.size();
  make_room(link->in, kReadBytes);
  const auto room = asio::buffer(link->in.data() + before, kReadBytes);
  error_code ec = asio::error::timed_out;
  std::size_t got = 0;
  within(link, sooner(until, wake), pool_->clock, [&] {
    got = link->tls ? link->tls->async_read_some(room, yield[ec]) : link->socket.async_read_some(room, yield[ec]);
  });
  link->in.resize(before + got);
  if (got > 0) {
    heard_ = true;
    return true;
  }
  if (link->timed_out && !link->cancelled && !until.passed(pool_->clock)) return false;
  if (limits_.deadline.passed(pool_->clock)) return failure(fmt::format("did not {}", what));
  if (link->timed_out || link->cancelled)
    return failure(fmt::format("did not {} within {} ms", what, what == "answer" ? limits_.head_ms : limits_.read_ms));
  if (parser_->response.is_header_done() && (ec == asio::error::eof || ec == ssl::error::stream_truncated)) {
    error_code cut;
    parser_->response.put_eof(cut);
    if (!cut) return true;
  }
  broke_ = true;
  return failure(fmt::format("closed the connection{}", parser_->response.is_header_done()
                                                            ? " in the midst of its answer"
                                                            : " without an answer"));
}

Result<HttpExchange::Read> HttpExchange::read(std::string& out, base::Deadline wake, base::Yield yield) {
  assert(parser_);
  auto& response = parser_->response;
  while (!response.is_done()) {
    const std::size_t before = out.size();
    if (!link_->in.empty()) {
      // What is decoded is never more than what came.
      const std::size_t room = std::min(kReadBytes, link_->in.size());
      make_room(out, room);
      response.get().body().data = out.data() + before;
      response.get().body().size = room;
      error_code ec;
      const std::size_t used = response.put(asio::buffer(link_->in), ec);
      link_->in.erase(0, used);
      out.resize(out.size() - response.get().body().size);
      if (ec && ec != http::error::need_more && ec != http::error::need_buffer)
        return failure(fmt::format("answered with no HTTP: {}", ec.message()));
      if (out.size() > before) {
        next_ = sooner(base::Deadline::after_ms(pool_->clock, limits_.read_ms), limits_.deadline);
        return Read::kMore;
      }
      if (used > 0) continue;  // the frame of a chunk
    }
    if (!SHOAL_TRY(read_more(next_, wake, "send anything", yield))) return Read::kNotYet;
  }
  if (link_) give_back();
  return Read::kEnd;
}

void HttpExchange::give_back() {
  on_cancel_.reset();
  const auto link = std::move(link_);
  const bool http = parser_->response.get().result_int() != 101;  // it speaks another protocol from here on
  if (http && parser_->response.keep_alive() && !cut_ && link->in.empty() && !link->cancelled) {
    HttpClient::Pool::keep(pool_, upstream_, link);
  } else {
    link->close();
  }
}

// --- small things

Result<BaseUrl> parse_base_url(std::string_view url) {
  const auto wrong = [url](std::string_view why) {
    return Error(ErrorCode::kInvalidConfig,
                 fmt::format("'{}' is no base URL: {}; wanted something like https://api.example.com/v1", url, why));
  };
  BaseUrl out;
  std::string_view rest = url;
  if (rest.starts_with("https://")) {
    rest.remove_prefix(8);
  } else if (rest.starts_with("http://")) {
    out.upstream.tls = false;
    rest.remove_prefix(7);
  } else {
    return wrong("it begins with neither https:// nor http://");
  }
  if (rest.find_first_of("?#") != std::string_view::npos) return wrong("it has a query or a fragment");
  if (std::ranges::any_of(url, [](char c) { return c <= ' ' || c == 0x7f; })) return wrong("it has a blank in it");
  const std::size_t slash = rest.find('/');
  const std::string_view authority = rest.substr(0, slash);
  if (authority.find('@') != std::string_view::npos)
    return wrong("it has a user in it; keys are named by key_env or key_file");
  auto parsed = parse_authority(authority);
  if (!parsed.ok()) return wrong(parsed.error().message());
  out.upstream.host = std::move(parsed->host);
  out.upstream.port = out.upstream.tls ? 443 : 80;
  if (!parsed->port.empty()) {
    const char* const end = parsed->port.data() + parsed->port.size();
    if (std::from_chars(parsed->port.data(), end, out.upstream.port).ptr != end || out.upstream.port == 0)
      return wrong("its port is not 1 to 65535");
  }
  out.path = slash == std::string_view::npos ? "" : std::string(rest.substr(slash));
  while (out.path.ends_with('/')) out.path.pop_back();
  return out;
}

}  // namespace shoal::net
