#include "shoal/config/load.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "shoal/base/suggest.h"

namespace shoal::config {
namespace {

namespace fs = std::filesystem;

class LoadTest : public testing::Test {
 protected:
  LoadTest() {
    std::string pattern = (fs::temp_directory_path() / "shoal-config-XXXXXX").string();
    dir_ = mkdtemp(pattern.data());
  }
  ~LoadTest() override { fs::remove_all(dir_); }

  std::string write(std::string_view text, std::string_view name = "config.toml") const {
    const fs::path path = dir_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
    return path.string();
  }

  fs::path dir_;
};

const Origin& origin(const Loaded& loaded, std::string_view key) {
  return loaded.origins[static_cast<std::size_t>(find_key(key) - keys().data())];
}

TEST_F(LoadTest, DefaultsAloneAreValid) {
  const auto loaded = load({.environment = {{"HOME", "/home/x"}}}).result();
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ(loaded->config->server.port, 8080);
  EXPECT_EQ(loaded->config->server.data_dir, "/home/x/.local/share/shoal");
  EXPECT_EQ(loaded->config->server.admin_socket, "/home/x/.local/share/shoal/admin.sock");
  EXPECT_EQ(loaded->file, "");
}

TEST_F(LoadTest, FlagsWinOverVariablesOverTheFileOverDefaults) {
  const std::string file = write("[server]\nport = 1\nhost = \"::1\"\nmax_connections = 7\n[engine]\nslots = 2\n");
  const auto loaded = load({.path = file,
                            .environment = {{"SHOAL_SERVER__PORT", "2"}, {"SHOAL_SERVER__HOST", "127.0.0.2"}},
                            .flags = {{"server.port", "3", "--port"}}})
                          .result();
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  EXPECT_EQ(loaded->config->server.port, 3);
  EXPECT_EQ(loaded->config->server.host, "127.0.0.2");
  EXPECT_EQ(loaded->config->server.max_connections, 7);
  EXPECT_EQ(origin(*loaded, "server.port").place, "--port");
  EXPECT_EQ(origin(*loaded, "server.host").place, "SHOAL_SERVER__HOST");
  EXPECT_EQ(origin(*loaded, "server.max_connections").place, file + ":4");
  EXPECT_EQ(origin(*loaded, "engine.slots").layer, Layer::kFile);
  EXPECT_EQ(origin(*loaded, "engine.threads").layer, Layer::kDefault);
  ASSERT_EQ(loaded->overridden.size(), 2U);  // what the file says of host and port has no effect
  EXPECT_EQ(loaded->overridden[1].key, "server.port");
  EXPECT_EQ(loaded->overridden[1].place, file + ":2");
  EXPECT_EQ(loaded->overridden[1].by, "--port");
}

TEST_F(LoadTest, EveryKeyCanBeSetByItsVariable) {
  for (const Key& key : keys()) {
    if (key.name == "server.api_keys_env") continue;  // names a variable that must exist
    const Value value = key.read(Config{});
    std::string text = "a";
    if (key.type == Type::kBool) text = std::get<bool>(value) ? "false" : "true";
    if (key.type == Type::kInteger) text = std::to_string(key.max);
    if (key.type == Type::kChoice) text = key.choices.back();
    if (key.type == Type::kMoney) text = "0.07";
    if (key.type == Type::kTarget) text = "a/b";
    if (key.name == "engine.heartbeat_ms") text = "200";
    const auto loaded = load({.environment = {{key.variable(), text}}}).result();
    ASSERT_TRUE(loaded.ok()) << loaded.error().message();
    EXPECT_NE(key.read(*loaded->config), value) << key.name;
    EXPECT_EQ(origin(*loaded, key.name).place, key.variable());
  }
}

TEST_F(LoadTest, ListsInVariablesAreSeparatedByCommas) {
  const auto loaded = load({.environment = {{"SHOAL_ENGINE__PRELOAD", "a,b"}}}).result();
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ(loaded->config->engine.preload, (std::vector<std::string>{"a", "b"}));
}

TEST_F(LoadTest, UnknownVariablesAreErrorsWithTheNearestName) {
  const LoadOutcome outcome = load({.environment = {{"SHOAL_SERVER__PROT", "1"}, {"SHOAL_PORT_X_Y", "1"}}});
  ASSERT_EQ(outcome.faults.size(), 2U);
  EXPECT_EQ(outcome.faults[1].place, "SHOAL_SERVER__PROT");
  EXPECT_EQ(outcome.faults[1].suggestion, "did you mean SHOAL_SERVER__PORT?");
  EXPECT_FALSE(outcome.loaded.has_value());
}

TEST_F(LoadTest, VariablesThatAreNotKeysAreLetThrough) {
  const auto loaded =
      load({.environment = {{"SHOAL_CACHE", "/x"}, {"SHOAL_TEST_SEED", "1"}, {"SHOALX", "1"}}}).result();
  EXPECT_TRUE(loaded.ok());
}

TEST_F(LoadTest, BadVariablesAndFlagsAreNamed) {
  const LoadOutcome outcome =
      load({.environment = {{"SHOAL_SERVER__PORT", "80x"}}, .flags = {{"server.max_connections", "", "--max"}}});
  ASSERT_EQ(outcome.faults.size(), 2U);
  EXPECT_EQ(render(outcome.faults[0]),
            "SHOAL_SERVER__PORT: error: `server.port`: wanted an integer from 0 to 65535, got \"80x\"");
  EXPECT_EQ(outcome.faults[1].place, "--max");
}

TEST_F(LoadTest, FaultsOfAllLayersComeInOneRun) {
  const LoadOutcome outcome = load({.path = write("[server]\nport = \"x\"\nprot = 1\n"),
                                    .environment = {{"SHOAL_LOG__LEVEL", "loud"}},
                                    .flags = {{"server.port", "-1", "--port"}}});
  EXPECT_EQ(outcome.faults.size(), 4U);
}

TEST_F(LoadTest, AFileThatWasAskedForMustExist) {
  const LoadOutcome outcome = load({.path = (dir_ / "none.toml").string()});
  ASSERT_EQ(outcome.faults.size(), 1U);
  EXPECT_NE(outcome.faults[0].message.find("No such file"), std::string::npos);
  EXPECT_EQ(load({.path = dir_.string()}).faults.size(), 1U);
}

TEST_F(LoadTest, TheDefaultFileIsReadWhenItExists) {
  write("[server]\nport = 5\n", "shoal/config.toml");
  const auto loaded = load({.environment = {{"XDG_CONFIG_HOME", dir_.string()}}}).result();
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ(loaded->config->server.port, 5);
  // A relative value of the variable is to be ignored, says the XDG specification.
  EXPECT_EQ(load({.environment = {{"XDG_CONFIG_HOME", "."}}}).result()->file, "");
}

TEST_F(LoadTest, RelativePathsOfAFileCountFromItsFolder) {
  const auto loaded =
      load({.path = write("[server]\ndata_dir = \"data\"\n[models]\ndirs = [\"../m\", \"/abs\"]\n", "sub/c.toml")})
          .result();
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ(loaded->config->server.data_dir, (dir_ / "sub/data").string());
  EXPECT_EQ(loaded->config->models.dirs[0], (dir_ / "m").string());
  EXPECT_EQ(loaded->config->models.dirs[1], "/abs");
}

TEST_F(LoadTest, KeysComeFromOnePlaceThatExists) {
  EXPECT_EQ(load({.environment = {{"SHOAL_SERVER__API_KEYS_ENV", "MY_KEYS"}}}).faults.size(), 1U);
  EXPECT_TRUE(load({.environment = {{"SHOAL_SERVER__API_KEYS_ENV", "MY_KEYS"}, {"MY_KEYS", "k"}}}).faults.empty());
  EXPECT_TRUE(
      load({.environment = {{"SHOAL_SERVER__API_KEYS_ENV", "SHOAL_KEYS"}, {"SHOAL_KEYS", "k"}}}).faults.empty());
  EXPECT_EQ(load({.environment = {{"SHOAL_SERVER__API_KEYS_ENV", "MY_KEYS"},
                                  {"MY_KEYS", "k"},
                                  {"SHOAL_SERVER__API_KEYS_FILE", "/k"}}})
                .faults.size(),
            1U);
}

TEST_F(LoadTest, ReloadTakesHotKeys) {
  const std::string file = write("[log]\nlevel = \"info\"\n");
  const Loaded before = load({.path = file}).result().value();
  write("[log]\nlevel = \"debug\"\n");
  const auto after = reload(*before.config, {.path = file});
  ASSERT_TRUE(after.ok()) << after.error().message();
  EXPECT_EQ(after->config->log.level, "debug");
  EXPECT_EQ(before.config->log.level, "info");
}

TEST_F(LoadTest, ReloadIsAllOrNothing) {
  const std::string file = write("");
  const Loaded before = load({.path = file}).result().value();
  write("[server]\nport = 1\n[engine]\nslots = 8\n[log]\nlevel = \"debug\"\n");
  const auto refused = reload(*before.config, {.path = file});
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message().find("server.port, engine.slots need"), std::string::npos)
      << refused.error().message();
  write("[log]\nlevel = \"loud\"\n");
  EXPECT_FALSE(reload(*before.config, {.path = file}).ok());
}

TEST(CheckBind, OnlyLoopbackMayBeOpenToAll) {
  ServerConfig server;
  for (const char* host : {"127.0.0.1", "127.9.9.9", "::1", "localhost"}) {
    server.host = host;
    EXPECT_TRUE(check_bind(server, false).ok()) << host;
  }
  for (const char* host : {"0.0.0.0", "::", "192.168.1.2", "example.org", "127.0.0.1.example.org", "::ffff:10.0.0.1"}) {
    server.host = host;
    ASSERT_FALSE(check_bind(server, false).ok()) << host;
    EXPECT_EQ(check_bind(server, false).error().code(), ErrorCode::kUnsafeBind);
  }
  server.api_keys_file = "/keys";
  EXPECT_TRUE(check_bind(server, false).ok());
}

// One edit at every place of every key: the right name must come first nearly always, and none may be accepted.
TEST(Typos, OfOneEditAreUnderstood) {
  int asked = 0;
  int right = 0;
  for (const Key& key : keys()) {
    for (std::size_t i = 0; i < key.leaf().size(); i += 2) {
      std::string typo(key.leaf());
      typo.erase(i, 1);
      if (typo.empty() || find_key(std::string(key.section()) + "." + typo) != nullptr) continue;
      Config config;
      std::vector<Origin> origins;
      const std::vector<Fault> faults =
          apply_toml("[" + std::string(key.section()) + "]\n" + typo + " = 1\n", "f", "", config, origins);
      ASSERT_EQ(faults.size(), 1U) << typo;
      ++asked;
      right += faults[0].suggestion == "did you mean `" + std::string(key.leaf()) + "`?" ? 1 : 0;
    }
  }
  EXPECT_GE(asked, 200);
  EXPECT_GE(right * 100, asked * 95) << right << " of " << asked;
}

}  // namespace
}  // namespace shoal::config
