#include "shoal/cli/serve.h"

#include <csignal>
#include <regex>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoal/cli/local_client.h"

#include "unit/cli/process.h"

namespace shoal::cli {
namespace {

using testing::HasSubstr;

class Serve : public testing::Test {
 protected:
  std::vector<std::string> command(std::vector<std::string> more = {}) const {
    std::vector<std::string> args = {"serve", "--no-models", "--port", "0", "--data-dir", home_.path("data")};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }

  static std::uint16_t port_of(Process& server) {
    if (!server.says("OPENAI_BASE_URL")) return 0;
    std::smatch match;
    std::regex_search(server.out(), match, std::regex("http://127.0.0.1:([0-9]+)"));
    return static_cast<std::uint16_t>(std::stoi(match[1]));
  }

  TemporaryFolder home_;
};

TEST_F(Serve, SaysWhereItIsAndAnswersThere) {
  Process server(home_, command());
  const std::uint16_t port = port_of(server);
  ASSERT_NE(port, 0);
  EXPECT_THAT(server.out(), HasSubstr("export OPENAI_BASE_URL=http://127.0.0.1:" + std::to_string(port) + "/v1"));
  const auto reply = LocalClient::over_tcp("127.0.0.1", port).request({.target = "/healthz"});
  ASSERT_TRUE(reply.ok()) << reply.error().message();
  EXPECT_EQ(reply.value().status, 200);
}

TEST_F(Serve, EndsCleanlyOnEitherSignal) {
  for (const int signal : {SIGTERM, SIGINT}) {
    Process server(home_, command());
    ASSERT_NE(port_of(server), 0);
    server.signal(signal);
    EXPECT_EQ(server.wait().code, 0);
  }
  EXPECT_FALSE(std::filesystem::exists(home_.path("run/shoal/admin.sock")));
}

TEST_F(Serve, RefusesAnAddressThatOthersCanReachWithoutKeys) {
  const Ended ended = Process(home_, command({"--host", "0.0.0.0"})).wait();
  EXPECT_EQ(ended.code, 3);
  EXPECT_THAT(ended.err, HasSubstr("api_keys"));
}

TEST_F(Serve, NamesTheHolderOfATakenPort) {
  Process first(home_, command());
  const std::uint16_t port = port_of(first);
  ASSERT_NE(port, 0);
  const Ended ended =
      Process(home_, {"serve", "--no-models", "--port", std::to_string(port), "--data-dir", home_.path("other")})
          .wait();
  EXPECT_EQ(ended.code, 6);
  EXPECT_THAT(ended.err, HasSubstr(std::to_string(first.pid())));
  EXPECT_THAT(ended.err, HasSubstr("--port"));
}

TEST_F(Serve, TwoServersOfOneUserRunSideBySide) {
  Process first(home_, command());
  ASSERT_NE(port_of(first), 0);
  Process second(home_, command());
  EXPECT_NE(port_of(second), 0);
  EXPECT_TRUE(second.says("another server answers", true));
}

TEST_F(Serve, ReloadIsAllOrNothing) {
  const std::string file = home_.write("shoal.toml", "[log]\nlevel = \"info\"\n");
  Process server(home_, command({"--config", file}));
  const std::uint16_t port = port_of(server);
  ASSERT_NE(port, 0);
  home_.write("shoal.toml", "[log]\nlevel = \"loud\"\n");
  server.signal(SIGHUP);
  EXPECT_TRUE(server.says("loud", true));
  home_.write("shoal.toml", "[server]\nmax_connections = 5\n[log]\nlevel = \"debug\"\n");
  server.signal(SIGHUP);
  EXPECT_TRUE(server.says("server.max_connections", true));
  home_.write("shoal.toml", "[log]\nlevel = \"debug\"\n");
  server.signal(SIGHUP);
  EXPECT_TRUE(server.says("configuration reloaded", true));
  EXPECT_TRUE(LocalClient::over_tcp("127.0.0.1", port).answers());
}

TEST_F(Serve, AKeyFileOpensTheDoorAndNothingElseDoes) {
  const std::string keys = home_.write("keys", "secret-canary-0123456789\n");
  const std::string file = home_.write("shoal.toml", "[server]\napi_keys_file = \"" + keys + "\"\n");
  Process server(home_, command({"--config", file}));
  const std::uint16_t port = port_of(server);
  ASSERT_NE(port, 0);
  const LocalClient client = LocalClient::over_tcp("127.0.0.1", port);
  EXPECT_EQ(client.request({.target = "/v1/models"}).value().status, 401);
  EXPECT_EQ(client.request({.target = "/v1/models", .headers = {{"Authorization", "Bearer secret-canary-0123456789"}}})
                .value()
                .status,
            200);
  // The admin socket belongs to the owner of the process and asks for no key.
  EXPECT_EQ(LocalClient::over_unix(home_.path("run/shoal/admin.sock")).request({.target = "/v1/models"}).value().status,
            200);
  server.signal(SIGTERM);
  const Ended ended = server.wait();
  EXPECT_EQ((ended.out + ended.err).find("secret-canary"), std::string::npos);
}

TEST_F(Serve, AKeyFileThatIsNotThereStopsTheStart) {
  const std::string file = home_.write("shoal.toml", "[server]\napi_keys_file = \"/nonexistent/keys\"\n");
  const Ended ended = Process(home_, command({"--config", file})).wait();
  EXPECT_EQ(ended.code, 3);
  EXPECT_THAT(ended.err, HasSubstr("/nonexistent/keys"));
}

TEST(Greeting, BracketsAnIpv6Address) {
  EXPECT_THAT(greeting_text({.host = "::1", .port = 8080, .model = "m"}), HasSubstr("http://[::1]:8080/v1"));
}

}  // namespace
}  // namespace shoal::cli
