// What a provider's refusal means for the request and for the provider. The provider's own error code decides, then the
// status. Source: the classes of Busbar's circuit breaker, in its docs/circuit-breaker.md.
// Threads: any; pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "shoal/base/error.h"
#include "shoal/types/remote.h"

namespace shoal::provider {

enum class FailureClass : std::uint8_t {
  kTransient,      // 5xx, 408, 429, connections, timeouts, answers that break off: counts against the provider
  kHardDown,       // our key or account is refused: nothing will work with it for a while
  kContextLength,  // only a model with a longer context can help
  kClientFault,    // the request itself is wrong: every provider would say so
  kOurs,           // cancelled, our own deadline or policy: says nothing about the provider
};

// REQUIRES: an error of error_of(), net::HttpExchange or a codec.
[[nodiscard]] FailureClass class_of(const Error& error);

// The error that a client gets for it. Its own faults are told in the provider's words; what is between Shoal and the
// provider, such as a refused key, is not. `retry_after_ms`: what the provider said.
[[nodiscard]] Error error_of(std::string_view provider, const types::RemoteError& said,
                             std::optional<std::int64_t> retry_after_ms);

// Puts "(key)" in place of each `key` in what a provider said, and of the beginning of one where the text was cut off.
void hide_key(std::string& text, std::string_view key);

// From Retry-After in seconds or as a date, and retry-after-ms; nothing when neither is there or can be read.
[[nodiscard]] std::optional<std::int64_t> retry_after_ms(std::string_view ms_header, std::string_view header,
                                                         std::int64_t now_unix_seconds);

}  // namespace shoal::provider
