#include "shoal/net/origin.h"

#include <gtest/gtest.h>

namespace shoal::net {
namespace {

std::string verdict(const OriginPolicy& policy, std::string_view host, std::string_view origin = {}) {
  const auto result = check_origin(policy, host, origin);
  return result.ok() ? "" : std::string(result.error().info().slug);
}

TEST(Origin, LoopbackListenerAnswersOnlyToNamesThatCannotBeRebound) {
  const OriginPolicy policy{.allowed_hosts = {"box.lan"}};
  for (const char* host : {"localhost", "app.localhost", "127.0.0.1", "::1", "192.168.1.5", "box.lan", "BOX.lan"}) {
    EXPECT_EQ(verdict(policy, host), "") << host;
  }
  for (const char* host :
       {"evil.example", "localhost.evil.example", "xlocalhost", "127.0.0.1.evil.example", "127.1", "other.lan"}) {
    EXPECT_EQ(verdict(policy, host), "origin_denied") << host;
  }
  EXPECT_EQ(verdict(policy, ""), "invalid_http");
}

TEST(Origin, EqualHostAndOriginProveNothing) {
  const OriginPolicy open{.loopback_listener = false};
  EXPECT_EQ(verdict(open, "evil.example"), "");
  EXPECT_EQ(verdict(open, "evil.example", "http://evil.example"), "origin_denied");
}

TEST(Origin, PagesOfThisMachineAndDeclaredOnesPass) {
  const OriginPolicy policy{.allowed_hosts = {"box.lan"},
                            .allowed_origins = {"https://app.example", "vscode-webview://x"}};
  for (const char* origin :
       {"http://localhost:3000", "https://127.0.0.1", "http://[::1]:80", "https://app.example", "vscode-webview://x"}) {
    EXPECT_EQ(verdict(policy, "localhost", origin), "") << origin;
  }
  for (const char* origin : {"null", "https://evil.example", "https://app.example.evil.example", "file://localhost",
                             "localhost", "http://localhost@evil.example", "http://", "https://app.example:444"}) {
    EXPECT_EQ(verdict(policy, "localhost", origin), "origin_denied") << origin;
  }
  EXPECT_EQ(verdict(policy, "box.lan", "http://box.lan:8080"), "");
  EXPECT_EQ(verdict(policy, "192.168.1.5", "http://192.168.1.5:8080"), "");
  EXPECT_EQ(verdict(policy, "192.168.1.5", "http://192.168.1.6:8080"), "origin_denied");
}

TEST(Origin, OnlyJsonIsJson) {
  EXPECT_TRUE(is_json_content_type("Application/JSON; charset=utf-8"));
  EXPECT_TRUE(is_json_content_type("application/json"));
  for (const char* type :
       {"", "text/plain", "text/plain; application/json", "application/jsonp", "application/x-www-form-urlencoded"}) {
    EXPECT_FALSE(is_json_content_type(type)) << type;
  }
}

}  // namespace
}  // namespace shoal::net
