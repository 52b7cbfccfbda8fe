#include "shoal/server/exchange.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include "shoal/base/suggest.h"
#include "shoal/net/head.h"
#include "shoal/wire/json_text.h"
#include "shoal/wire/openai/print.h"
#include "shoal/wire/outgoing.h"

namespace shoal::server {
namespace {

constexpr std::string_view kPrivacyHeader = "x-shoal-privacy";
constexpr std::string_view kPreferHeader = "x-shoal-prefer";
constexpr std::string_view kTimeoutHeader = "x-shoal-timeout-ms";
constexpr std::string_view kOurs = "x-shoal-";
constexpr std::array<std::string_view, 4> kKnown = {kPrivacyHeader, kPreferHeader, kTimeoutHeader, wire::kHopsHeader};
// A route through more Shoals than these is none that somebody wants.
constexpr std::int32_t kMaxHops = 4;
constexpr std::int64_t kMaxTimeoutMs = 24LL * 3600 * 1000;
// SDKs never retry when they are told to wait for longer than two minutes.
constexpr std::int64_t kMaxRetryAfterMs = 120'000;

}  // namespace

void Exchange::send(int with_status, std::string_view content_type, std::string_view body) {
  status = with_status;
  writer.send(with_status, content_type, body, yield).ignore("the client is gone; the connection notices and ends");
}

void Exchange::send_json(int with_status, std::string_view body) {
  send(with_status, "application/json", body);
}

void Exchange::send_error(const Error& error) {
  const base::ErrorInfo& info = error.info();
  code = info.slug;
  if (must_not_retry(error)) {
    writer.set_header("x-should-retry", "false");
  } else if (info.retryable && error.retry_after_ms()) {
    writer.set_header("x-should-retry", "true");
  }
  if (error.retry_after_ms() && info.retryable) {
    const std::int64_t ms = std::min(*error.retry_after_ms(), kMaxRetryAfterMs);
    writer.set_header("retry-after-ms", fmt::format("{}", ms));
    writer.set_header("Retry-After", fmt::format("{}", (ms + 999) / 1000));
  }
  if (error.code() == ErrorCode::kUnauthenticated) writer.set_header("WWW-Authenticate", "Bearer");
  std::string body;
  wire::openai::append_error(body, error);
  send_json(info.http_status, body);
}

bool must_not_retry(const Error& error) {
  const base::ErrorInfo& info = error.info();
  if (error.no_retry()) return true;
  if (info.retryable) return false;
  const int status = info.http_status;
  return status == 402 || status == 403 || status == 409 || status == 422 || status >= 500;
}

Result<base::Deadline> deadline_of(const net::HttpRequest& request, const base::Clock& clock) {
  const std::string_view text = request.header(kTimeoutHeader);
  if (text.empty()) return base::Deadline{};
  std::int64_t ms = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), ms);
  if (fault != std::errc() || end != text.data() + text.size() || ms < 1 || ms > kMaxTimeoutMs) {
    return Error(ErrorCode::kInvalidRequest,
                 fmt::format("the header {} must be a whole number of milliseconds from 1 to {}", kTimeoutHeader,
                             kMaxTimeoutMs))
        .with_param(std::string(kTimeoutHeader));
  }
  return base::Deadline::after_ms(clock, ms);
}

Result<bool> local_only_of(const net::HttpRequest& request) {
  bool local_only = false;
  for (const auto& [name, value] : request.headers) {
    if (!net::iequals(name, kPrivacyHeader)) continue;
    if (value != "any" && value != "local_only") {
      return Error(ErrorCode::kInvalidRequest, fmt::format("the header {} must be local_only or any, not \"{}\"",
                                                           kPrivacyHeader, wire::shortened(value)))
          .with_param(std::string(kPrivacyHeader));
    }
    local_only = local_only || value == "local_only";
  }
  return local_only;
}

Result<std::int32_t> hops_of(const net::HttpRequest& request) {
  const std::string_view text = request.header(wire::kHopsHeader);
  if (text.empty()) return 0;
  std::int32_t hops = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), hops);
  if (fault != std::errc() || end != text.data() + text.size() || hops < 0) {
    return Error(ErrorCode::kInvalidRequest, fmt::format("the header {} must be a whole number", wire::kHopsHeader))
        .with_param(std::string(wire::kHopsHeader));
  }
  if (hops <= kMaxHops) return hops;
  return Error(ErrorCode::kPolicyDenied,
               fmt::format("the request came through {} Shoals, at most {} are allowed: a route leads back to itself",
                           hops, kMaxHops));
}

Result<void> check_shoal_headers(const net::HttpRequest& request) {
  for (const auto& [name, value] : request.headers) {
    if (name.size() < kOurs.size() || !net::iequals(std::string_view(name).substr(0, kOurs.size()), kOurs)) continue;
    const auto is_it = [&name](std::string_view known) { return net::iequals(name, known); };
    if (std::ranges::any_of(kKnown, is_it)) continue;
    const std::string near(base::suggest(name, kKnown));
    return Error(ErrorCode::kInvalidRequest,
                 fmt::format("\"{}\" is no header that is read here{}", wire::shortened(name),
                             near.empty() ? "; leave it out" : "; did you mean " + near + "?"))
        .with_param(wire::shortened(name))
        .with_suggestion(near);
  }
  return {};
}

Result<routing::Prefer> prefer_of(const net::HttpRequest& request) {
  const std::string_view text = request.header(kPreferHeader);
  if (text.empty()) return routing::Prefer::kNone;
  if (text == "local") return routing::Prefer::kLocal;
  if (text == "remote") return routing::Prefer::kRemote;
  return Error(ErrorCode::kInvalidRequest, fmt::format("the header {} must be local or remote", kPreferHeader))
      .with_param(std::string(kPreferHeader));
}

void send_local(Exchange& exchange, const std::string& model, std::string_view body) {
  exchange.writer.set_header("x-shoal-model", model);
  exchange.writer.set_header("x-shoal-route", "local");
  exchange.writer.set_header("x-shoal-egress", "none");
  exchange.send_json(200, body);
}

}  // namespace shoal::server
