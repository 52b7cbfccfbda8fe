#include "shoal/config/document.h"

#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

namespace shoal::config {
namespace {

TEST(Document, ExplainSaysWhereTheValueCameFrom) {
  const Loaded loaded = load({.environment = {{"SHOAL_SERVER__PORT", "81"}}}).result().value();
  const std::string text = explain(*find_key("server.port"), &loaded);
  EXPECT_NE(text.find("value     81\n  set by    SHOAL_SERVER__PORT\n"), std::string::npos) << text;
  EXPECT_NE(text.find("default   8080"), std::string::npos);
  EXPECT_NE(text.find("after a restart"), std::string::npos);
}

TEST(Document, ShowIsAFileThatLoadsToTheSameConfiguration) {
  const Loaded loaded = load({.environment = {{"SHOAL_SERVER__PORT", "81"},
                                              {"SHOAL_SERVER__DATA_DIR", "/a \"b\"\\c"},
                                              {"SHOAL_ENGINE__PRELOAD", "x,y"}}})
                            .result()
                            .value();
  Config again;
  std::vector<Origin> origins;
  const std::vector<Fault> faults = apply_toml(show(loaded), "shown", "", again, origins);
  ASSERT_TRUE(faults.empty()) << to_error(faults).message();
  for (const Key& key : keys()) EXPECT_EQ(key.read(again), key.read(*loaded.config)) << key.name;
}

TEST(Document, TheReferencePageIsCurrent) {
  std::ifstream in(SHOAL_SOURCE_DIR "/docs/reference/configuration.md");
  std::stringstream text;
  text << in.rdbuf();
  EXPECT_EQ(text.str(), reference()) << "run `shoal config reference > docs/reference/configuration.md`";
}

TEST(Document, EveryKeyIsDescribed) {
  for (const Key& key : keys()) {
    EXPECT_TRUE(key.help.ends_with('.')) << key.name;
    EXPECT_EQ(key.unit.empty(), !key.name.ends_with("_ms") && !key.name.ends_with("_mib") &&
                                    !key.name.ends_with("_bytes") && !key.name.ends_with("_days") &&
                                    key.name != "engine.context_length" && key.name != "engine.ubatch")
        << key.name;
    EXPECT_FALSE(check_value(key, key.read(Config{})).has_value()) << key.name;
  }
}

}  // namespace
}  // namespace shoal::config
