// The store keeps what it was given, by content, and gives back exactly that.
#include "shoal/models/store.h"

#include <fstream>

#include <gtest/gtest.h>

#include "shoal/base/sha256.h"
#include "shoal/models/pull.h"

namespace shoal::models {
namespace {

namespace fs = std::filesystem;

class StoreTest : public testing::Test {
 protected:
  StoreTest() : folder(fs::temp_directory_path() / ("shoal-store-" + std::to_string(getpid()))), store(folder) {
    fs::create_directories(folder);
  }
  ~StoreTest() override { fs::remove_all(folder); }

  // The smallest file that is a GGUF.
  fs::path model_file(const std::string& name, char filler = 'x') const {
    std::string bytes = "GGUF";
    const auto put = [&bytes](auto value) { bytes.append(reinterpret_cast<const char*>(&value), sizeof value); };
    put(std::uint32_t{3});
    put(std::uint64_t{1});
    put(std::uint64_t{1});
    const std::string key = "general.architecture";
    put(std::uint64_t{key.size()});
    bytes += key;
    put(std::uint32_t{8});
    put(std::uint64_t{5});
    bytes += "llama";
    put(std::uint64_t{1});
    bytes += "a";
    put(std::uint32_t{1});
    put(std::uint64_t{8});
    put(std::uint32_t{0});
    put(std::uint64_t{0});
    bytes.resize((bytes.size() + 31) / 32 * 32);
    bytes.append(32, filler);
    std::ofstream(folder / name, std::ios::binary) << bytes;
    return folder / name;
  }
  const fs::path folder;
  const Store store;
  const PullTools tools{[](std::uint64_t, std::uint64_t) {}, [](const std::string&) {}, {}};
};

TEST_F(StoreTest, ImportsListsAndRemoves) {
  const fs::path file = model_file("My Model.gguf");
  auto installed = import_model(file, store, {}, tools);
  ASSERT_TRUE(installed.ok()) << installed.error().message();
  EXPECT_EQ(installed->name, "my-model");
  EXPECT_EQ(installed->sha256, *base::sha256_of_file(file));
  EXPECT_EQ(installed->path.filename(), "sha256-" + installed->sha256);
  ASSERT_EQ(store.list()->size(), 1U);
  EXPECT_EQ(store.list()->front().sha256, installed->sha256);
  ASSERT_TRUE(store.remove("my-model").ok());
  EXPECT_TRUE(store.list()->empty());
  EXPECT_FALSE(fs::exists(installed->path));
  EXPECT_TRUE(fs::exists(file)) << "the original is not ours to remove";
}

TEST_F(StoreTest, ABlobWithTwoNamesOutlivesTheFirst) {
  const fs::path file = model_file("a.gguf");
  auto one = import_model(file, store, {"one", false}, tools);
  auto two = import_model(file, store, {"two", false}, tools);
  ASSERT_TRUE(one.ok() && two.ok());
  EXPECT_EQ(one->path, two->path);
  ASSERT_TRUE(store.remove("one").ok());
  EXPECT_TRUE(fs::exists(two->path));
}

TEST_F(StoreTest, UsedInPlaceIsNeverRemoved) {
  const fs::path file = model_file("a.gguf");
  auto linked = import_model(file, store, {"here", true}, tools);
  ASSERT_TRUE(linked.ok());
  EXPECT_EQ(linked->path, fs::canonical(file));
  ASSERT_TRUE(store.remove("here").ok());
  EXPECT_TRUE(fs::exists(file));
}

TEST_F(StoreTest, WhatIsNotAModelIsRefusedAndLeavesNothing) {
  std::ofstream(folder / "bad.gguf") << "not a model";
  EXPECT_EQ(import_model(folder / "bad.gguf", store, {}, tools).error().code(), ErrorCode::kModelInvalid);
  EXPECT_EQ(import_model(folder / "none.gguf", store, {}, tools).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(import_model(model_file("a.gguf"), store, {"../evil", false}, tools).error().code(),
            ErrorCode::kInvalidRequest);
  EXPECT_TRUE(store.list()->empty());
}

TEST_F(StoreTest, ANameIsShortPlainAndNotHidden) {
  EXPECT_TRUE(check_name(std::string(128, 'a')).ok());
  EXPECT_TRUE(check_name("Org_model-1.5.gguf").ok());
  for (const std::string& name : {std::string(129, 'a'), std::string(), std::string(".hidden"), std::string("a/b"),
                                  std::string("a b"), std::string("\xC3\xA9")}) {
    EXPECT_FALSE(check_name(name).ok()) << name;
  }
}

TEST_F(StoreTest, ATakenNameIsNotOverwritten) {
  ASSERT_TRUE(import_model(model_file("a.gguf"), store, {"a", false}, tools).ok());
  EXPECT_EQ(import_model(model_file("b.gguf", 'y'), store, {"a", false}, tools).error().code(),
            ErrorCode::kAlreadyExists);
}

TEST_F(StoreTest, ABrokenEntryIsNamedAndTheOthersStand) {
  ASSERT_TRUE(import_model(model_file("a.gguf"), store, {"good", false}, tools).ok());
  std::ofstream(folder / "models/names/bad.json") << "{";
  std::ofstream(folder / "models/names/gone.json") << R"({"path":"blobs/sha256-none"})";
  std::vector<std::string> faults;
  EXPECT_EQ(store.list(&faults)->size(), 1U);
  EXPECT_EQ(faults.size(), 2U);
  EXPECT_TRUE(store.remove("bad").ok() && store.remove("gone").ok());
  faults.clear();
  EXPECT_EQ(store.list(&faults)->size(), 1U);
  EXPECT_TRUE(faults.empty());
}

TEST_F(StoreTest, AMissingNameSuggestsTheNearest) {
  ASSERT_TRUE(import_model(model_file("a.gguf"), store, {"smollm2", false}, tools).ok());
  EXPECT_EQ(store.find("smolm2").error().suggestion(), "smollm2");
}

// A catalogue entry whose ways are files of this machine: curl reads them as it reads a site.
TEST_F(StoreTest, PullChecksTheSumAndGoesOnToTheNextWay) {
  const fs::path right = model_file("right.gguf");
  const fs::path wrong = model_file("wrong.gguf", 'y');
  CatalogueEntry entry;
  entry.name = "m";
  entry.sha256 = *base::sha256_of_file(right);
  entry.ways = {{Way::Kind::kUrl, "file:///nowhere/at/all", {}},
                {Way::Kind::kUrl, "file://" + wrong.string(), {}},
                {Way::Kind::kUrl, "file://" + right.string(), {}}};
  auto installed = pull(entry, store, tools);
  ASSERT_TRUE(installed.ok()) << installed.error().message();
  EXPECT_EQ(installed->sha256, entry.sha256);
  EXPECT_EQ(installed->source, "file://" + right.string());
  EXPECT_FALSE(fs::exists(folder / "models/partial/m"));
}

TEST_F(StoreTest, PullSaysWhyEveryWayFailed) {
  CatalogueEntry entry;
  entry.name = "m";
  entry.sha256 = std::string(64, '0');
  entry.ways = {{Way::Kind::kUrl, "file:///nowhere/at/all", {}},
                {Way::Kind::kUrl, "file://" + model_file("a.gguf").string(), {}}};
  auto installed = pull(entry, store, tools);
  ASSERT_FALSE(installed.ok());
  EXPECT_EQ(installed.error().code(), ErrorCode::kDownloadFailed);
  EXPECT_NE(installed.error().message().find("/nowhere/at/all"), std::string::npos);
  EXPECT_NE(installed.error().message().find("wanted 0000"), std::string::npos) << installed.error().message();
  EXPECT_TRUE(store.list()->empty());
}

TEST(DescribeTest, WhatAModelIsForFollowsFromHowItPools) {
  const auto does = [](const std::string& architecture, std::optional<std::uint64_t> pooling) {
    gguf::Header header;
    header.metadata["general.architecture"] = architecture;
    if (pooling) header.metadata[architecture + ".pooling_type"] = *pooling;
    const types::ModelInfo info = describe("m", "/m.gguf", "", header);
    return std::string(info.generates ? "generates" : "") + (info.embeds ? "embeds" : "");
  };
  EXPECT_EQ(does("llama", std::nullopt), "generates");
  EXPECT_EQ(does("llama", 0), "generates");
  EXPECT_EQ(does("bert", std::nullopt), "embeds");
  EXPECT_EQ(does("bert", 1), "embeds");
  EXPECT_EQ(does("qwen3", 3), "embeds") << "the last token";
  EXPECT_EQ(does("qwen3", 4), "") << "a reranker";
  EXPECT_EQ(does("bert", 4), "");
}

}  // namespace
}  // namespace shoal::models
