// The manifest that is compiled in holds what it must; a broken one is refused by name.
#include "shoal/models/catalogue.h"

#include <gtest/gtest.h>

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
    EXPECT_NE(catalogue.error().message().find("x"), std::string::npos);
  }
}

}  // namespace
}  // namespace shoal::models
