#include "shoal/net/origin.h"

#include <algorithm>
#include <array>

#include <arpa/inet.h>
#include <fmt/format.h>

#include "shoal/net/head.h"

namespace shoal::net {
namespace {

bool is_ipv4(std::string_view host) {
  std::array<unsigned char, sizeof(in_addr)> address{};
  return inet_pton(AF_INET, std::string(host).c_str(), address.data()) == 1;
}

bool is_ipv6(std::string_view host) {
  std::array<unsigned char, sizeof(in6_addr)> address{};
  return inet_pton(AF_INET6, std::string(host).c_str(), address.data()) == 1;
}

bool contains_ignoring_case(const std::vector<std::string>& list, std::string_view name) {
  return std::ranges::any_of(list, [&](const std::string& entry) { return iequals(entry, name); });
}

// Client text for a message: printable ASCII, short.
std::string shown(std::string_view text) {
  std::string out(text.substr(0, 100));
  std::ranges::replace_if(out, [](char c) { return c < 0x20 || c > 0x7E; }, '?');
  return out;
}

Error denied_origin(std::string_view origin) {
  return {ErrorCode::kOriginDenied,
          fmt::format("the Origin `{}` is not allowed; add it to server.allowed_origins if you trust that page",
                      shown(origin))};
}

}  // namespace

bool is_ip_literal(std::string_view host) {
  return is_ipv4(host) || is_ipv6(host);
}

bool is_loopback_name(std::string_view host) {
  if (is_ipv4(host)) return host.starts_with("127.");
  return host == "::1" || iequals(host, "localhost") ||
         (host.size() > 10 && iequals(host.substr(host.size() - 10), ".localhost"));
}

Result<void> check_origin(const OriginPolicy& policy, std::string_view host, std::string_view origin) {
  if (host.empty()) return Error(ErrorCode::kInvalidHttp, "no Host field; send one, on HTTP/1.0 too");
  const bool declared = contains_ignoring_case(policy.allowed_hosts, host);
  if (policy.loopback_listener && !declared && !is_ip_literal(host) && !is_loopback_name(host)) {
    return Error(ErrorCode::kOriginDenied,
                 fmt::format("the Host `{}` is not a name of this server; use an IP address or localhost, or add it to "
                             "server.allowed_hosts",
                             shown(host)));
  }
  if (origin.empty() || contains_ignoring_case(policy.allowed_origins, origin)) return {};
  const auto scheme = origin.find("://");
  if (scheme == std::string_view::npos) return denied_origin(origin);
  if (const auto name = origin.substr(0, scheme); name != "http" && name != "https") return denied_origin(origin);
  const auto authority = parse_authority(origin.substr(scheme + 3));
  if (!authority.ok()) return denied_origin(origin);
  const std::string& from = authority->host;
  // An address cannot be rebound, so a page of our own on a LAN address may call us; a bare equal name may not.
  const bool own_page = from == host && (is_ip_literal(from) || declared);
  if (is_loopback_name(from) || own_page) return {};
  return denied_origin(origin);
}

bool is_json_content_type(std::string_view content_type) {
  content_type = content_type.substr(0, content_type.find(';'));
  while (content_type.ends_with(' ') || content_type.ends_with('\t')) content_type.remove_suffix(1);
  return iequals(content_type, "application/json");
}

}  // namespace shoal::net
