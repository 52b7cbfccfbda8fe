#include "shoal/server/server.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "shoal/base/suggest.h"
#include "shoal/net/origin.h"
#include "shoal/wire/json_text.h"

namespace shoal::server {
namespace {

constexpr std::string_view kWildcard = "{id}";

}  // namespace

// A path is literal, or holds {id}, which matches one or more segments: names of models may have a slash.
struct Server::Route {
  std::string_view method;
  std::string_view path;
  std::string_view label;  // for metrics and the log: no braces, which the text format of metrics uses itself
  void (Server::*run)(Exchange&);
  bool needs_key = true;
  bool admin_only = false;
};

std::span<const Server::Route> Server::routes() {
  static constexpr std::array kRoutes = {
      Route{"POST", "/v1/chat/completions", "/v1/chat/completions", &Server::chat},
      Route{"POST", "/v1/completions", "/v1/completions", &Server::complete},
      Route{"POST", "/v1/embeddings", "/v1/embeddings", &Server::embed},
      Route{"POST", "/v1/score", "/v1/score", &Server::score},
      Route{"POST", "/v1/classify", "/v1/classify", &Server::classify},
      Route{"POST", "/v1/tokenize", "/v1/tokenize", &Server::tokenize},
      Route{"POST", "/v1/detokenize", "/v1/detokenize", &Server::detokenize},
      Route{"POST", "/v1/shoal/route", "/v1/shoal/route", &Server::test_route},
      Route{"GET", "/v1/models", "/v1/models", &Server::list_models},
      Route{"GET", "/v1/models/{id}", "/v1/models/:id", &Server::show_model},
      Route{"GET", "/healthz", "/healthz", &Server::health, false},
      Route{"GET", "/readyz", "/readyz", &Server::ready, false},
      Route{"GET", "/metrics", "/metrics", &Server::show_metrics},
      Route{"GET", "/openapi.json", "/openapi.json", &Server::openapi, false},
      Route{"GET", "/", "/", &Server::page, false},
      Route{"GET", "/assets/chat.js", "/assets/chat.js", &Server::page_script, false},
      Route{"GET", "/assets/chat.css", "/assets/chat.css", &Server::page_style, false},
      Route{"GET", "/v1/shoal/receipts", "/v1/shoal/receipts", &Server::list_receipts},
      Route{"GET", "/v1/shoal/receipts/{id}", "/v1/shoal/receipts/:id", &Server::show_receipt},
      Route{"POST", "/v1/shoal/feedback", "/v1/shoal/feedback", &Server::feedback},
      Route{"GET", "/admin/routes/{id}/risk", "/admin/routes/:id/risk", &Server::show_risk, false, true},
      Route{"GET", "/admin/costs", "/admin/costs", &Server::show_costs, false, true},
      Route{"POST", "/admin/costs/reprice", "/admin/costs/reprice", &Server::reprice, false, true},
      Route{"GET", "/admin/keys", "/admin/keys", &Server::list_keys, false, true},
      Route{"POST", "/admin/keys", "/admin/keys", &Server::create_key, false, true},
      Route{"POST", "/admin/keys/{id}/revoke", "/admin/keys/:id/revoke", &Server::revoke_key, false, true},
      Route{"GET", "/admin/workers", "/admin/workers", &Server::list_workers, false, true},
      Route{"POST", "/admin/models/{id}/load", "/admin/models/:id/load", &Server::load_model, false, true},
      Route{"POST", "/admin/reload", "/admin/reload", &Server::reload, false, true},
  };
  return kRoutes;
}

namespace {

// Whether `path` matches `pattern`; the wildcard's text goes to `tail`.
bool matches(std::string_view pattern, std::string_view path, std::string& tail) {
  const std::size_t at = pattern.find(kWildcard);
  if (at == std::string_view::npos) return pattern == path;
  const std::string_view before = pattern.substr(0, at);
  const std::string_view after = pattern.substr(at + kWildcard.size());
  if (path.size() <= before.size() + after.size() || !path.starts_with(before) || !path.ends_with(after)) return false;
  tail = path.substr(before.size(), path.size() - before.size() - after.size());
  return true;
}

bool method_matches(std::string_view wanted, std::string_view came) {
  return wanted == came || (wanted == "GET" && came == "HEAD");  // the writer sends no body to a HEAD
}

// The path that the client probably meant: the one with /v1 or without it twice, or the nearest.
std::string likely_path(std::string_view path, std::span<const std::string_view> known) {
  std::string_view bare = path;
  while (bare.size() > 1 && bare.ends_with('/')) bare.remove_suffix(1);
  while (bare.starts_with("/v1/v1/")) bare.remove_prefix(3);
  if (std::ranges::find(known, bare) != known.end()) return std::string(bare);
  std::string with_v1 = "/v1" + std::string(bare);
  if (std::ranges::find(known, with_v1) != known.end()) return with_v1;
  return std::string(base::suggest(bare, known));
}

Result<void> check_content(const net::HttpRequest& request) {
  const std::string_view encoding = request.header("Content-Encoding");
  if (!encoding.empty() && encoding != "identity") {
    return Error(ErrorCode::kUnsupportedMediaType,
                 fmt::format("the Content-Encoding is \"{}\"; send the body as it is", wire::shortened(encoding)));
  }
  const std::string_view type = request.header("Content-Type");
  if (net::is_json_content_type(type)) return {};
  return Error(ErrorCode::kUnsupportedMediaType,
               type.empty() ? "there is no Content-Type; send `Content-Type: application/json`"
                            : fmt::format("the Content-Type is \"{}\"; send `Content-Type: application/json`",
                                          wire::shortened(type)));
}

}  // namespace

Server::Server(gateway::Pipeline& pipeline, engine::Engine& engine, telemetry::Registry& registry,
               const base::Clock& clock, base::Log& log, ServerOptions options, KeySet keys, AdminHooks hooks)
    : pipeline_(pipeline),
      engine_(engine),
      registry_(registry),
      clock_(clock),
      log_(log),
      options_(std::move(options)),
      keys_(std::move(keys)),
      hooks_(std::move(hooks)),
      metrics_(registry) {}

const Server::Route* Server::find(Exchange& exchange, std::string& allow, bool& path_known) const {
  const bool admin = exchange.request.listener == net::ListenerKind::kAdmin;
  for (const Route& route : routes()) {
    if ((route.admin_only && !admin) || !matches(route.path, exchange.request.path, exchange.tail)) continue;
    path_known = true;
    exchange.route = route.label;
    if (method_matches(route.method, exchange.request.method)) return &route;
    allow += (allow.empty() ? "" : ", ") + std::string(route.method) + (route.method == "GET" ? ", HEAD" : "");
  }
  return nullptr;
}

Result<void> Server::check_key(Exchange& exchange) const {
  if (keys_.open() || exchange.request.listener == net::ListenerKind::kAdmin) return {};
  constexpr std::string_view kScheme = "bearer ";
  const std::string_view sent = exchange.request.header("Authorization");
  const bool bearer =
      sent.size() > kScheme.size() && std::ranges::equal(sent.substr(0, kScheme.size()), kScheme, [](char a, char b) {
        return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b;
      });
  if (!bearer) {
    return Error(ErrorCode::kUnauthenticated, sent.empty()
                                                  ? "this server needs a key; send `Authorization: Bearer KEY`"
                                                  : "the Authorization header is not of the form `Bearer KEY`");
  }
  const types::Principal* const principal = keys_.principal_of(sent.substr(kScheme.size()));
  if (principal == nullptr) return Error(ErrorCode::kUnauthenticated, "the key is not one of this server's");
  exchange.principal = *principal;
  return {};
}

// Only pages that the configuration names. Others are refused before they come here (net::check_origin), or are
// loopback pages, which may send what needs no preflight and may read nothing. Source: the Fetch standard, 3.2.
bool Server::cross_origin(Exchange& exchange) const {
  const std::string origin(exchange.request.header("Origin"));
  if (origin.empty() || std::ranges::count(options_.allowed_origins, origin) == 0) return false;
  exchange.writer.set_header("Access-Control-Allow-Origin", origin);
  exchange.writer.set_header("Vary", "Origin");
  exchange.writer.set_header("Access-Control-Expose-Headers",
                             "Retry-After, retry-after-ms, x-request-id, x-shoal-certificate, x-shoal-decision-id, "
                             "x-shoal-egress, x-shoal-model, "
                             "x-shoal-route");
  if (exchange.request.method != "OPTIONS" || exchange.request.header("Access-Control-Request-Method").empty())
    return false;
  exchange.route = "preflight";
  exchange.writer.set_header("Access-Control-Allow-Methods", "GET, HEAD, POST");
  // SDKs add headers of their own; a page that is trusted may send what it likes.
  const std::string wanted(exchange.request.header("Access-Control-Request-Headers"));
  if (!wanted.empty()) exchange.writer.set_header("Access-Control-Allow-Headers", wanted);
  exchange.writer.set_header("Access-Control-Max-Age", "600");
  exchange.send(200, "text/plain", "");
  return true;
}

void Server::dispatch(Exchange& exchange) {
  std::string allow;
  bool path_known = false;
  const Route* route = find(exchange, allow, path_known);
  if (route == nullptr && path_known) {
    exchange.writer.set_header("Allow", allow);
    exchange.send_error(
        Error(ErrorCode::kMethodNotAllowed, fmt::format("{} takes {}, not {}", wire::shortened(exchange.request.path),
                                                        allow, wire::shortened(exchange.request.method))));
    return;
  }
  if (route == nullptr) {
    exchange.route = "unknown";
    std::vector<std::string_view> known;
    for (const Route& one : routes()) {
      if (!one.admin_only) known.push_back(one.path);
    }
    const std::string likely = likely_path(exchange.request.path, known);
    exchange.send_error(
        Error(ErrorCode::kNotFound,
              fmt::format("there is nothing at {}{}", wire::shortened(exchange.request.path),
                          likely.empty() ? "; /openapi.json lists the paths" : "; did you mean " + likely + "?"))
            .with_suggestion(likely));
    return;
  }
  if (route->needs_key) {
    if (auto allowed = check_key(exchange); !allowed.ok()) return exchange.send_error(allowed.error());
  }
  // A POST of the public API carries JSON; a page of another origin cannot send that without asking first.
  if (route->method == "POST" && !route->admin_only) {
    if (auto readable = check_content(exchange.request); !readable.ok()) return exchange.send_error(readable.error());
  }
  (this->*route->run)(exchange);
}

void Server::handle(const net::HttpRequest& request, net::ResponseWriter& writer, base::Yield yield) {
  Exchange exchange(request, writer, yield, clock_.monotonic_ns());
  if (!cross_origin(exchange)) dispatch(exchange);
  const double seconds = static_cast<double>(clock_.monotonic_ns() - exchange.started_ns) / 1e9;
  const int status = exchange.status == 0 ? base::error_info(ErrorCode::kCancelled).http_status : exchange.status;
  metrics_.request(exchange.route, status, seconds);
  // Never the path, the body or a key: the route is ours, the request id was checked.
  log_.info("request", {{"request", request.id},
                        {"route", exchange.route},
                        {"status", status},
                        {"code", exchange.code},
                        {"ms", seconds * 1000},
                        {"retry", !request.header("x-stainless-retry-count").empty() &&
                                      request.header("x-stainless-retry-count") != "0"}});
}

}  // namespace shoal::server
