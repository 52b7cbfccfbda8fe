// Real model files are read right; hostile ones are refused with the place and the reason, at every cut.
#include "shoal/gguf/reader.h"

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace shoal::gguf {
namespace {

std::filesystem::path weights(const char* name) {
  const char* folder = std::getenv("SHOAL_TEST_WEIGHTS");
  return std::filesystem::path(folder != nullptr ? folder : SHOAL_SOURCE_DIR "/../shared/weights") / name;
}

// Builds a file field by field, so that each test can put one wrong thing in its place.
struct Builder {
  std::string bytes;

  template <class T>
  Builder& put(T value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Builder& text(std::string_view value) {
    put(std::uint64_t{value.size()});
    bytes += value;
    return *this;
  }
  Builder& start(std::uint64_t tensors, std::uint64_t keys, std::uint32_t version = 3) {
    bytes += "GGUF";
    return put(version).put(tensors).put(keys);
  }
  Builder& key_text(std::string_view key, std::string_view value) {
    return text(key).put(std::uint32_t{8}).text(value);
  }
  Builder& key_u32(std::string_view key, std::uint32_t value) { return text(key).put(std::uint32_t{4}).put(value); }
  Builder& tensor(std::string_view name, std::vector<std::uint64_t> dims, std::uint32_t type, std::uint64_t offset) {
    text(name).put(static_cast<std::uint32_t>(dims.size()));
    for (const std::uint64_t dim : dims) put(dim);
    return put(type).put(offset);
  }
  Builder& data(std::size_t size) {
    bytes.resize((bytes.size() + 31) / 32 * 32);
    bytes.append(size, 'x');
    return *this;
  }
  [[nodiscard]] Result<Header> read() const {
    MemorySource source(bytes);
    return read_header(source);
  }
  [[nodiscard]] std::string fault() const {
    auto header = read();
    return header.ok() ? "" : header.error().message();
  }
};

Builder good() {
  return Builder()
      .start(2, 3)
      .key_text("general.architecture", "llama")
      .key_u32("llama.block_count", 2)
      .key_u32("llama.embedding_length", 64)
      .tensor("a", {32, 2}, 2, 0)
      .tensor("b", {8}, 0, 64)
      .data(96);
}

TEST(GgufReader, ReadsWhatTheBuilderWrote) {
  auto header = good().read();
  ASSERT_TRUE(header.ok()) << header.error().message();
  EXPECT_EQ(header->architecture(), "llama");
  EXPECT_EQ(header->arch_number("block_count"), 2U);
  ASSERT_EQ(header->tensors.size(), 2U);
  EXPECT_EQ(header->tensors[0].bytes, 36U);  // two blocks of Q4_0
  EXPECT_EQ(header->tensors[1].bytes, 32U);
  EXPECT_EQ(header->parameters(), 72U);
}

TEST(GgufReader, TheCacheOfATokenFollowsTheLengthsThatAreGiven) {
  const auto header = Builder()
                          .start(0, 6)
                          .key_text("general.architecture", "llama")
                          .key_u32("llama.block_count", 2)
                          .key_u32("llama.embedding_length", 64)
                          .key_u32("llama.attention.head_count", 4)
                          .key_u32("llama.attention.key_length", 32)
                          .key_u32("llama.attention.value_length", 8)
                          .data(0)
                          .read();
  ASSERT_TRUE(header.ok()) << header.error().message();
  EXPECT_EQ(header->kv_bytes_per_token(2), 2U * 4 * (32 + 8) * 2);
}

TEST(GgufReader, EveryCutIsRefused) {
  const std::string whole = good().bytes;
  for (std::size_t keep = 0; keep < whole.size(); ++keep) {
    MemorySource source(std::string_view(whole).substr(0, keep));
    auto header = read_header(source);
    ASSERT_FALSE(header.ok()) << "cut to " << keep;
    EXPECT_EQ(header.error().code(), ErrorCode::kModelInvalid);
  }
}

struct Hostile {
  const char* name;
  Builder file;
  const char* says;
};

TEST(GgufReader, HostileFilesAreRefusedWithTheReason) {
  const auto arch = [](std::uint64_t tensors, std::uint64_t keys) {
    return Builder().start(tensors, keys + 1).key_text("general.architecture", "llama");
  };
  const std::vector<Hostile> files = {
      {"not a model", Builder{"PK\x03\x04 and so on, long enough to read on"}, "magic"},
      {"version 1", Builder().start(0, 0, 1), "version"},
      {"version 99", Builder().start(0, 0, 99), "version"},
      {"a billion tensors", Builder().start(1'000'000'000, 0), "at most"},
      {"keys beyond counting", Builder().start(0, ~0ULL), "at most"},
      {"a key of 1 GiB", Builder().start(0, 1).put(std::uint64_t{1} << 30), "a key"},
      {"a string of 2^63", arch(0, 1).text("x").put(std::uint32_t{8}).put(std::uint64_t{1} << 63), "a string"},
      {"a value type of 13", arch(0, 1).text("x").put(std::uint32_t{13}), "value type"},
      {"a boolean of 2", arch(0, 1).text("x").put(std::uint32_t{7}).put(std::uint8_t{2}), "boolean"},
      {"an array of arrays", arch(0, 1).text("x").put(std::uint32_t{9}).put(std::uint32_t{9}).put(std::uint64_t{1}),
       "arrays of arrays"},
      {"an array of 2^60", arch(0, 1).text("x").put(std::uint32_t{9}).put(std::uint32_t{0}).put(std::uint64_t{1} << 60),
       "does not fit"},
      {"an array longer than the file",
       arch(0, 1).text("x").put(std::uint32_t{9}).put(std::uint32_t{0}).put(std::uint64_t{1'000'000}), "does not fit"},
      {"a key that stands twice", arch(0, 1).key_text("general.architecture", "bert"), "twice"},
      {"an empty key", arch(0, 1).key_u32("", 1), "empty"},
      {"no architecture", Builder().start(0, 1).key_u32("x", 1), "general.architecture"},
      {"alignment 0", arch(0, 1).key_u32("general.alignment", 0), "power of two"},
      {"alignment 48", arch(0, 1).key_u32("general.alignment", 48), "power of two"},
      {"alignment 2^31", arch(0, 1).key_u32("general.alignment", 1U << 31), "power of two"},
      {"no dimensions", arch(1, 0).tensor("a", {}, 0, 0).data(64), "dimensions"},
      {"five dimensions", arch(1, 0).tensor("a", {1, 1, 1, 1, 1}, 0, 0).data(64), "dimensions"},
      {"a dimension of 0", arch(1, 0).tensor("a", {0}, 0, 0).data(64), "out of range"},
      {"dimensions that overflow", arch(1, 0).tensor("a", {1ULL << 39, 1ULL << 39}, 0, 0).data(64), "out of range"},
      {"an unknown type", arch(1, 0).tensor("a", {32}, 99, 0).data(64), "not a known layout"},
      {"half a block", arch(1, 0).tensor("a", {33}, 2, 0).data(64), "not a known layout"},
      {"beyond the end", arch(1, 0).tensor("a", {32}, 0, 0).data(64), "not within"},
      {"an offset beyond the end", arch(1, 0).tensor("a", {8}, 0, 1ULL << 62).data(64), "not within"},
      {"an odd offset", arch(1, 0).tensor("a", {8}, 0, 7).data(64), "aligned"},
      {"tensors that overlap", arch(2, 0).tensor("a", {16}, 0, 0).tensor("b", {8}, 0, 32).data(96), "overlap"},
      {"a tensor that stands twice", arch(2, 0).tensor("a", {8}, 0, 0).tensor("a", {8}, 0, 32).data(96), "twice"},
      {"a tensor name of 64", arch(1, 0).tensor(std::string(64, 'a'), {8}, 0, 0).data(64), "tensor name"},
  };
  for (const Hostile& hostile : files) {
    EXPECT_NE(hostile.file.fault().find(hostile.says), std::string::npos)
        << hostile.name << " said: " << hostile.file.fault();
  }
}

TEST(GgufReader, FlippedBitsNeverCrash) {
  std::mt19937 random(7);
  const std::string whole = good().bytes;
  for (int round = 0; round < 50'000; ++round) {
    std::string bytes = whole;
    for (auto flips = 1 + random() % 3; flips > 0; --flips)
      bytes[random() % bytes.size()] = static_cast<char>(random());
    MemorySource source(bytes);
    (void)read_header(source).ok();
  }
}

struct Real {
  const char* file;
  const char* architecture;
  std::uint64_t layers, context, vocabulary, kv_bytes;
};

TEST(GgufReader, ReadsRealModels) {
  for (const Real& real : {Real{"stories260K-f32.gguf", "llama", 5, 128, 512, 640},
                           Real{"stories15M-q4_0.gguf", "llama", 6, 128, 32000, 6912},
                           Real{"minimind2-small-26m-q4_0.gguf", "llama", 8, 32768, 6400, 4096},
                           Real{"all-MiniLM-L6-v2-q8_0.gguf", "bert", 6, 512, 30522, 9216}}) {
    const auto path = weights(real.file);
    if (!std::filesystem::exists(path)) GTEST_SKIP() << "no test weights at " << path;
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    FileSource source(fd);
    auto header = read_header(source);
    close(fd);
    ASSERT_TRUE(header.ok()) << header.error().message();
    EXPECT_EQ(header->architecture(), real.architecture);
    EXPECT_EQ(header->arch_number("block_count"), real.layers);
    EXPECT_EQ(header->arch_number("context_length"), real.context);
    EXPECT_EQ(header->vocabulary(), real.vocabulary);
    EXPECT_EQ(header->kv_bytes_per_token(2), real.kv_bytes) << real.file;
    EXPECT_LE(header->data_offset + header->weight_bytes(), std::filesystem::file_size(path));
  }
}

}  // namespace
}  // namespace shoal::gguf
