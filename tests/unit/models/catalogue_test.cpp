// The manifest that is compiled in holds what it must; a broken one is refused by name.
#include "shoal/models/catalogue.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

namespace shoal::models {
namespace {

TEST(Catalogue, TheBuiltInOneIsWhole) {
  auto catalogue = Catalogue::built_in();
  ASSERT_TRUE(catalogue.ok()) << catalogue.error().message();
  for (const CatalogueEntry& entry : catalogue->entries()) {
    EXPECT_FALSE(entry.title.empty()) << entry.name;
    EXPECT_GT(entry.context, 0U) << entry.name;
    // What is said to be tested can be checked, byte for byte.
    EXPECT_TRUE(entry.tested.empty() || !entry.sha256.empty() || entry.converts()) << entry.name;
  }
  for (const char* name : {"qwen3-0.6b", "gemma-3-1b-it", "llama-3.2-1b-instruct", "phi-4-mini-instruct", "smollm3-3b",
                           "granite-4.0-micro", "ministral-3-3b-instruct", "tinyllama-1.1b-chat"}) {
    EXPECT_TRUE(catalogue->find(name).ok()) << name;
  }
}

TEST(Catalogue, FindsByAliasAndByHuggingFaceNameAndSuggests) {
  auto catalogue = Catalogue::built_in();
  ASSERT_TRUE(catalogue.ok());
  EXPECT_EQ((*catalogue->find("smollm2"))->name, "smollm2-135m-instruct");
  EXPECT_EQ((*catalogue->find("HuggingFaceTB/SmolLM2-135M-Instruct"))->name, "smollm2-135m-instruct");
  auto missing = catalogue->find("smollm2-135m-instrct");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().suggestion(), "smollm2-135m-instruct");
}

TEST(Catalogue, BrokenEntriesAreRefusedByName) {
  for (const char* text : {"[model.x]\nlicence = 'MIT'\nkind = 'chat'",
                           "[model.x]\nlicence = 'MIT'\nkind = 'poem'\nways = [{kind='url', url='u'}]",
                           "[model.x]\nlicence = 'MIT'\nkind = 'chat'\nways = [{kind='ftp'}]",
                           "[model.x]\nlicence = 'MIT'\nkind = 'chat'\nways = [{kind='pypi', package='p'}]"}) {
    auto catalogue = Catalogue::parse(text);
    ASSERT_FALSE(catalogue.ok()) << text;
    EXPECT_NE(catalogue.error().message().find("model x: "), std::string::npos) << catalogue.error().message();
  }
}

// What one entry says of itself, and what must be said about it.
struct Fault {
  const char* fields;
  const char* said;
};

TEST(Catalogue, AFaultOfAFieldIsSaidWithItsName) {
  const std::string good = "[model.x]\nlicence = 'MIT'\nkind = 'chat'\nways = [{kind='url', url='https://h/f'}]\n";
  ASSERT_TRUE(Catalogue::parse(good).ok());
  for (const Fault& fault : std::vector<Fault>{
           {"shasum = 'x'", "unknown key `shasum`"},
           {"sha265 = 'x'", "did you mean `sha256`?"},
           {"sha256 = 'abc'", "sha256: wanted 64 hexadecimal digits, got \"abc\""},
           {"bytes = -1", "bytes: wanted an integer, 0 or more"},
           {"bytes = 'many'", "bytes: wanted an integer, 0 or more"},
           {"title = 1", "title: wanted a string"},
           {"aliases = 'a'", "aliases: wanted a list of strings"},
           {"default = 'yes'", "default: wanted true or false"},
           {"files = {'../x' = 'abc'}", "wanted 64 hexadecimal digits"},
           {"files = {'x' = ''}", "x needs its sha256"},
       }) {
    const auto catalogue = Catalogue::parse(good + fault.fields, "mine.toml");
    ASSERT_FALSE(catalogue.ok()) << fault.fields;
    EXPECT_NE(catalogue.error().message().find(std::string("mine.toml: model x: ")), std::string::npos);
    EXPECT_NE(catalogue.error().message().find(fault.said), std::string::npos) << catalogue.error().message();
  }
}

TEST(Catalogue, AWayCannotReachOutOfItsPlace) {
  for (const Fault& fault : std::vector<Fault>{
           {"kind='url', url='/etc/passwd'", "url: wanted an address that begins with"},
           {"kind='url', url='-oX'", "url: wanted an address that begins with"},
           {"kind='url', url='scp://h/f'", "url: wanted an address that begins with"},
           {"kind='url-folder', url='https://h/f'", "needs [files]"},
           {"kind='pypi', package='p', version='1', inner='../x'", "inner: wanted a path inside"},
           {"kind='npm', package='--prefix=/', version='1', inner='x'", "wanted the name and version of a package"},
           {"kind='npm', package='p', version='../1', inner='x'", "wanted the name and version of a package"},
           {"kind='npm', parts=[]", "parts: wanted at least one package"},
       }) {
    const auto catalogue =
        Catalogue::parse(std::string("[model.x]\nlicence = 'MIT'\nkind = 'chat'\nways = [{") + fault.fields + "}]");
    ASSERT_FALSE(catalogue.ok()) << fault.fields;
    EXPECT_NE(catalogue.error().message().find(fault.said), std::string::npos) << catalogue.error().message();
  }
}

TEST(Catalogue, AFileOfOnesOwnComesFirst) {
  const auto file = std::filesystem::temp_directory_path() / ("shoal-catalogue-" + std::to_string(getpid()));
  std::ofstream(file) << "[model.mine]\nlicence = 'MIT'\nkind = 'chat'\nways = [{kind='url', url='https://h/f'}]\n"
                         "[model.'smollm2-135m-instruct']\nlicence = 'MIT'\nkind = 'chat'\n"
                         "ways = [{kind='url', url='http://mirror/f'}]\n";
  const auto catalogue = Catalogue::with_file(file);
  std::filesystem::remove(file);
  ASSERT_TRUE(catalogue.ok()) << catalogue.error().message();
  EXPECT_TRUE(catalogue->find("mine").ok());
  EXPECT_EQ((*catalogue->find("smollm2-135m-instruct"))->ways.front().url, "http://mirror/f");
  EXPECT_EQ(catalogue->entries().size(), Catalogue::built_in()->entries().size() + 1);
  const auto missing = Catalogue::with_file(file);
  ASSERT_FALSE(missing.ok());
  EXPECT_NE(missing.error().message().find(file.string()), std::string::npos);
}

}  // namespace
}  // namespace shoal::models
