#include "shoal/server/exchange.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "shoal/wire/openai/print.h"

namespace shoal::server {
namespace {

constexpr std::string_view kPrivacyHeader = "x-shoal-privacy";
constexpr std::string_view kPreferHeader = "x-shoal-prefer";
constexpr std::string_view kTimeoutHeader = "x-shoal-timeout-ms";
constexpr std::int64_t kMaxTimeoutMs = 24LL * 3600 * 1000;
// SDKs never retry when they are told to wait for longer than two minutes.
constexpr std::int64_t kMaxRetryAfterMs = 120'000;

}  // namespace

std::stop_token Exchange::client_gone() {
  std::stop_source gone;
  writer.on_client_gone([gone]() mutable { gone.request_stop(); });
  return gone.get_token();
}

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
  const std::string_view text = request.header(kPrivacyHeader);
  if (text.empty() || text == "any") return false;
  if (text == "local_only") return true;
  return Error(ErrorCode::kInvalidRequest, fmt::format("the header {} must be local_only or any", kPrivacyHeader))
      .with_param(std::string(kPrivacyHeader));
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
