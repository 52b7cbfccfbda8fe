// Exchange: one request and its response, as the routes see it: who asks, until when, and the few ways to
// answer, so that every error has the same body and headers. Lives on the stack of the request's coroutine.
// Threads: the I/O thread.
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

#include "shoal/base/async.h"
#include "shoal/base/clock.h"
#include "shoal/base/result.h"
#include "shoal/net/http.h"
#include "shoal/routing/plan.h"
#include "shoal/types/principal.h"

namespace shoal::server {

struct Exchange {
  Exchange(const net::HttpRequest& of, net::ResponseWriter& to, base::Yield in, std::int64_t now_ns)
      : request(of), writer(to), yield(std::move(in)), started_ns(now_ns) {}

  const net::HttpRequest& request;
  net::ResponseWriter& writer;
  base::Yield yield;
  std::int64_t started_ns;
  types::Principal principal;
  std::string_view route;  // the pattern that matched, for metrics and the log
  std::string tail;        // what the pattern's wildcard matched: the {id} of /v1/models/{id}
  int status = 0;          // that was sent; 0: none yet
  std::string_view code;   // of the error that was sent; empty: none

  void send_json(int with_status, std::string_view body);
  void send(int with_status, std::string_view content_type, std::string_view body);
  // Status, body, Retry-After and x-should-retry from the error table. REQUIRES: writer is held.
  void send_error(const Error& error);
};

// Whether a client that repeats the request unchanged can hope. OpenAI's SDKs retry 408, 409, 429 and 5xx
// unless the server says `x-should-retry: false`.
[[nodiscard]] bool must_not_retry(const Error& error);

// From `x-shoal-timeout-ms`; never when there is none. Errors: kInvalidRequest.
[[nodiscard]] Result<base::Deadline> deadline_of(const net::HttpRequest& request, const base::Clock& clock);

// Whether `x-shoal-privacy: local_only` forbids that anything of the request leaves this machine; of several such
// headers one is enough. Errors: kInvalidRequest for another value, an empty one too: a wish for privacy is never
// misread.
[[nodiscard]] Result<bool> local_only_of(const net::HttpRequest& request);

// Through how many other Shoals the request came: `x-shoal-hops`, which a Shoal sends to a provider that is declared
// local. Errors: kInvalidRequest for no number; kPolicyDenied where a route may lead back to itself.
[[nodiscard]] Result<std::int32_t> hops_of(const net::HttpRequest& request);

// Errors: kInvalidRequest for a header `x-shoal-...` that nothing reads, with what may be meant: such a wish is never
// dropped.
[[nodiscard]] Result<void> check_shoal_headers(const net::HttpRequest& request);

// From `x-shoal-prefer: local` or `remote`: whom the client would rather have answer. Errors: kInvalidRequest.
[[nodiscard]] Result<routing::Prefer> prefer_of(const net::HttpRequest& request);

// An answer of a local model outside the pipeline.
void send_local(Exchange& exchange, const std::string& model, std::string_view body);

}  // namespace shoal::server
