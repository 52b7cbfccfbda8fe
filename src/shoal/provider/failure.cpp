#include "shoal/provider/failure.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>
#include <limits>
#include <string>

#include <fmt/format.h>

namespace shoal::provider {
namespace {

// The longest that a provider may ask us to stay away: a day.
constexpr std::int64_t kMaxRetryAfterMs = 86'400'000;

template <std::size_t N>
bool one_of(std::string_view text, const std::array<std::string_view, N>& names) {
  return std::ranges::find(names, text) != names.end();
}

bool is_context_length(const types::RemoteError& said) {
  static constexpr std::array<std::string_view, 4> kCodes = {"context_length_exceeded", "string_above_max_length",
                                                             "exceed_context_size_error", "context_window_exceeded"};
  if (said.status >= 500) return false;
  if (one_of(said.code, kCodes) || one_of(said.type, kCodes)) return true;
  // vLLM and Anthropic give it no code of its own.
  return (said.status == 400 || said.status == 413) &&
         (said.message.find("maximum context length") != std::string::npos ||
          said.message.find("prompt is too long") != std::string::npos);
}

bool is_billing(const types::RemoteError& said) {
  static constexpr std::array<std::string_view, 6> kCodes = {"insufficient_quota", "billing_hard_limit_reached",
                                                             "billing_not_active", "billing_error",
                                                             "credit_exhausted",   "BILLING_DISABLED"};
  if (said.status == 402 || one_of(said.code, kCodes) || one_of(said.type, kCodes)) return true;
  // Anthropic says it with 400 and invalid_request_error.
  return said.status == 400 && said.message.find("credit balance is too low") != std::string::npos;
}

bool is_key(const types::RemoteError& said) {
  // Gemini says it with 400.
  static constexpr std::array<std::string_view, 4> kCodes = {"API_KEY_INVALID", "API_KEY_EXPIRED", "invalid_api_key",
                                                             "API_KEY_SERVICE_BLOCKED"};
  return said.status == 401 || said.status == 403 || one_of(said.code, kCodes);
}

// What a status of 4xx says of the request.
ErrorCode client_fault(int status) {
  switch (status) {
    case 404:
      return ErrorCode::kModelNotFound;
    case 413:
      return ErrorCode::kPayloadTooLarge;
    case 422:
      return ErrorCode::kUnsupportedParameter;
    default:
      return ErrorCode::kInvalidRequest;
  }
}

}  // namespace

FailureClass class_of(const Error& error) {
  switch (error.code()) {
    case ErrorCode::kUnreachable:
    case ErrorCode::kUpstreamFailed:
    case ErrorCode::kRateLimited:
    case ErrorCode::kBadAnswer:
      return FailureClass::kTransient;
    case ErrorCode::kUpstreamRefused:
      return FailureClass::kHardDown;
    case ErrorCode::kContextLengthExceeded:
      return FailureClass::kContextLength;
    case ErrorCode::kInvalidRequest:
    case ErrorCode::kModelNotFound:
    case ErrorCode::kPayloadTooLarge:
    case ErrorCode::kUnsupportedParameter:
      return FailureClass::kClientFault;
    default:
      return FailureClass::kOurs;
  }
}

Error error_of(std::string_view provider, const types::RemoteError& said, std::optional<std::int64_t> retry_after_ms) {
  if (!retry_after_ms) retry_after_ms = said.retry_after_ms;
  const auto says = [&] { return fmt::format("{} says: {}", provider, said.message); };
  if (is_context_length(said)) return {ErrorCode::kContextLengthExceeded, says()};
  if (is_billing(said))
    return {ErrorCode::kUpstreamRefused, fmt::format("{} takes no more requests from this server's account", provider)};
  if (is_key(said)) return {ErrorCode::kUpstreamRefused, fmt::format("{} refused the key of this server", provider)};
  if (said.status == 429) {
    Error error(ErrorCode::kRateLimited, fmt::format("{} takes no more requests for now", provider));
    return retry_after_ms ? std::move(error).with_retry_after_ms(*retry_after_ms) : std::move(error);
  }
  if (said.status == 0 || said.status == 408 || said.status >= 500) {
    Error error(ErrorCode::kUpstreamFailed,
                said.status == 0 ? fmt::format("{} broke its answer off with an error: {}", provider, said.message)
                                 : fmt::format("{} failed with status {}", provider, said.status));
    return retry_after_ms ? std::move(error).with_retry_after_ms(*retry_after_ms) : std::move(error);
  }
  if (said.status >= 400) {
    Error error(client_fault(said.status), says());
    return said.param.empty() ? std::move(error) : std::move(error).with_param(said.param);
  }
  return {ErrorCode::kBadAnswer, fmt::format("{} answered with status {}, which is no answer", provider, said.status)};
}

void hide_key(std::string& text, std::string_view key) {
  // What is shorter is no secret: servers of one's own are given "none", or "x".
  constexpr std::size_t kShortestKey = 8;
  constexpr std::size_t kShortestBeginning = 4;
  constexpr std::string_view kHidden = "(key)";
  constexpr std::string_view kCut = "...";
  if (key.size() < kShortestKey) return;
  for (std::size_t at = text.find(key); at != std::string::npos; at = text.find(key, at + kHidden.size()))
    text.replace(at, key.size(), kHidden);
  if (!text.ends_with(kCut)) return;
  const std::string_view said = std::string_view(text).substr(0, text.size() - kCut.size());
  for (std::size_t length = std::min(key.size(), said.size()); length >= kShortestBeginning; --length) {
    if (!said.ends_with(key.substr(0, length))) continue;
    text.replace(said.size() - length, length, kHidden);
    return;
  }
}

std::optional<std::int64_t> retry_after_ms(std::string_view ms_header, std::string_view header,
                                           std::int64_t now_unix_seconds) {
  const auto number = [](std::string_view text) -> std::optional<double> {
    double value = 0;
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || fault != std::errc() || end != text.data() + text.size() || !(value >= 0)) return std::nullopt;
    return value;
  };
  const auto bounded = [](double ms) {
    return static_cast<std::int64_t>(std::min(ms, static_cast<double>(kMaxRetryAfterMs)));
  };
  if (const auto ms = number(ms_header)) return bounded(*ms);
  if (const auto seconds = number(header)) return bounded(*seconds * 1000);
  const std::string text(header);
  // RFC 9110, 5.6.7: the form of now, and the two obsolete ones that a recipient must read all the same.
  for (const char* const form : {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"}) {
    std::tm when{};
    const char* const end = ::strptime(text.c_str(), form, &when);
    if (end == nullptr || *end != '\0') continue;
    return bounded(static_cast<double>(std::max<std::int64_t>(::timegm(&when) - now_unix_seconds, 0)) * 1000);
  }
  return std::nullopt;
}

}  // namespace shoal::provider
