// Who may speak to the server from a browser. A page that rebinds its own name to 127.0.0.1 carries that
// name in Host and Origin, so a loopback listener answers to IP literals, `localhost` and declared names
// only. That Origin equals Host proves nothing. Pure. Threads: any.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/net/http.h"

namespace shoal::net {

struct OriginPolicy {
  std::vector<std::string> allowed_hosts{};    // names without port, lower case
  std::vector<std::string> allowed_origins{};  // as a browser sends them: "https://app.example"
  bool loopback_listener = true;               // false: any Host passes, keys protect the server
};

// `host` as RequestHead has it; `origin` is the raw field, empty when absent.
// Errors: kOriginDenied; kInvalidHttp when there is no Host at all.
[[nodiscard]] Result<void> check_origin(const OriginPolicy& policy, std::string_view host, std::string_view origin);

[[nodiscard]] bool is_ip_literal(std::string_view host);
// 127.0.0.0/8, ::1, localhost and *.localhost (RFC 6761 6.3).
[[nodiscard]] bool is_loopback_name(std::string_view host);

// True for `application/json` with any parameters. A browser sends that across origins only after a
// preflight, which text/plain and forms avoid.
[[nodiscard]] bool is_json_content_type(std::string_view content_type);

}  // namespace shoal::net
