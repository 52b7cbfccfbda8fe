// The real worker rewrites and compares real weights, in its sandbox; what is hostile, cut or cancelled ends in an
// error. Skipped where the weights are not there.
#include "shoal/engine/worker_task.h"

#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>

#include "shoal/gguf/reader.h"

namespace shoal::engine {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kQ4 = 2;
constexpr std::uint32_t kQ8 = 8;
constexpr std::uint32_t kQ4_K = 12;

class WorkerTaskTest : public testing::Test {
 protected:
  WorkerTaskTest() {
    std::string name = (fs::temp_directory_path() / "shoal-task.XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    const char* weights = std::getenv("SHOAL_TEST_WEIGHTS");
    source_ = fs::path(weights != nullptr ? weights : "") / "stories15M-q4_0.gguf";
    options_.worker_path = fs::path(SHOAL_BIN_DIR) / "shoal-worker";
    options_.threads = 1;  // two would spin for each other on a machine that is busy
  }
  ~WorkerTaskTest() override { fs::remove_all(folder_); }
  void SetUp() override {
    if (!fs::exists(source_)) GTEST_SKIP() << "needs $SHOAL_TEST_WEIGHTS/stories15M-q4_0.gguf";
  }

  template <class T>
  Result<T> run(const std::function<Result<T>(base::Yield)>& body) {
    std::optional<Result<T>> result;
    io_.restart();
    base::spawn(io_, "test", [&](base::Yield yield) { result.emplace(body(std::move(yield))); });
    io_.run();
    return std::move(*result);
  }
  WorkerTaskContext context() { return {io_.get_executor(), log_, options_, stop_.get_token(), on_progress_}; }
  Result<ipc::Rewritten> rewrite(const fs::path& source, std::uint32_t type, const fs::path& output) {
    const WorkerTaskContext task = context();
    return run<ipc::Rewritten>(
        [&](base::Yield yield) { return rewrite_weights(task, source.string(), type, output.string(), yield); });
  }
  Result<ipc::Compared> compare(const fs::path& source, const fs::path& candidate) {
    const WorkerTaskContext task = context();
    return run<ipc::Compared>(
        [&](base::Yield yield) { return compare_models(task, source.string(), candidate.string(), 128, yield); });
  }

  static gguf::Header header_of(const fs::path& path) {
    const int fd = ::open(path.c_str(), O_RDONLY);
    gguf::FileSource source(fd);
    auto header = gguf::read_header(source);
    ::close(fd);
    EXPECT_TRUE(header.ok()) << header.error().message();
    return header.ok() ? *header : gguf::Header();
  }
  static std::string bytes_of(const fs::path& path, std::uint64_t offset, std::uint64_t size) {
    std::ifstream in(path, std::ios::binary);
    std::string bytes(size, '\0');
    in.seekg(static_cast<std::streamoff>(offset));
    in.read(bytes.data(), static_cast<std::streamsize>(size));
    return bytes;
  }
  // The source with `bytes` in the middle of its weights.
  fs::path damaged(const std::string& bytes, std::uint64_t offset) const {
    const fs::path path = folder_ / "damaged.gguf";
    fs::copy_file(source_, path, fs::copy_options::overwrite_existing);
    fs::permissions(path, fs::perms::owner_write, fs::perm_options::add);
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(offset));
    file << bytes;
    return path;
  }

  fs::path folder_;
  fs::path source_;
  boost::asio::io_context io_{1};
  base::Log log_ = base::Log::null();
  SupervisorOptions options_;
  std::stop_source stop_;
  std::function<void(std::uint64_t, std::uint64_t)> on_progress_;
};

// Source of the layouts: ggml-common.h of llama.cpp v0.5.0. Half precision by hand: no header of ours reads it.
float half(const char* at) {
  std::uint16_t bits = 0;
  std::memcpy(&bits, at, sizeof bits);
  const int exponent = (bits >> 10) & 31;
  const double mantissa = exponent == 0 ? (bits & 1023) / 1024.0 : 1 + (bits & 1023) / 1024.0;
  const double value = std::ldexp(mantissa, (exponent == 0 ? 1 : exponent) - 15);
  return static_cast<float>((bits & 0x8000) != 0 ? -value : value);
}
std::array<float, 32> q4_0(const char* block) {
  std::array<float, 32> out{};
  for (std::size_t i = 0; i < 16; ++i) {
    const auto byte = static_cast<unsigned char>(block[2 + i]);
    out[i] = half(block) * static_cast<float>((byte & 15) - 8);
    out[i + 16] = half(block) * static_cast<float>((byte >> 4) - 8);
  }
  return out;
}
std::array<float, 32> q8_0(const char* block) {
  std::array<float, 32> out{};
  for (std::size_t i = 0; i < 32; ++i)
    out[i] = half(block) * static_cast<float>(static_cast<signed char>(block[2 + i]));
  return out;
}

TEST_F(WorkerTaskTest, WeightsAreWrittenAgainAndEverythingElseIsCopied) {
  std::uint64_t told = 0;
  on_progress_ = [&](std::uint64_t done, std::uint64_t total) {
    EXPECT_GT(done, told);
    EXPECT_LE(done, total);
    told = done;
  };
  const fs::path output = folder_ / "q8.gguf";
  const auto done = rewrite(source_, kQ8, output);
  ASSERT_TRUE(done.ok()) << done.error().message();
  const gguf::Header before = header_of(source_);
  const gguf::Header after = header_of(output);
  EXPECT_EQ(done->bytes, fs::file_size(output));
  EXPECT_EQ(done->changed, 42U);
  EXPECT_EQ(done->kept, 14U);
  EXPECT_EQ(told, before.weight_bytes());
  EXPECT_EQ(after.number("general.file_type"), 7U);  // LLAMA_FTYPE_MOSTLY_Q8_0
  EXPECT_EQ(after.number("general.quantization_version"), 2U);
  EXPECT_EQ(after.metadata.size(), before.metadata.size());
  for (const gguf::KeySpan& span : before.keys) {
    if (span.key == "general.file_type" || span.key == "general.quantization_version") continue;
    const auto same = std::ranges::find(after.keys, span.key, &gguf::KeySpan::key);
    ASSERT_NE(same, after.keys.end()) << span.key;
    EXPECT_EQ(bytes_of(output, same->begin, same->end - same->begin),
              bytes_of(source_, span.begin, span.end - span.begin))
        << span.key;
  }
  ASSERT_EQ(after.tensors.size(), before.tensors.size());
  for (std::size_t i = 0; i < before.tensors.size(); ++i) {
    const gguf::Tensor& old = before.tensors[i];
    const gguf::Tensor& made = after.tensors[i];
    EXPECT_EQ(made.name, old.name);
    EXPECT_EQ(made.dims, old.dims);
    const std::string from = bytes_of(source_, before.data_offset + old.offset, old.bytes);
    const std::string to = bytes_of(output, after.data_offset + made.offset, made.bytes);
    if (old.type != kQ4) {
      EXPECT_EQ(made.type, old.type) << old.name;
      EXPECT_EQ(to, from) << old.name;
      continue;
    }
    ASSERT_EQ(made.type, kQ8) << old.name;
    for (std::size_t block = 0; block < old.bytes / 18; ++block) {
      const auto wanted = q4_0(from.data() + block * 18);
      const auto got = q8_0(to.data() + block * 34);
      const float step = half(to.data() + block * 34);
      for (std::size_t k = 0; k < 32; ++k)
        // Half a step, and what rounding the step to half precision moves 127 of them.
        ASSERT_NEAR(got[k], wanted[k], 0.58F * std::abs(step) + 1e-7F) << old.name << " block " << block;
    }
  }
}

TEST_F(WorkerTaskTest, AModelIsLikeItself) {
  const fs::path model = source_.parent_path() / "stories260K-f32.gguf";
  std::uint64_t told = 0;
  on_progress_ = [&](std::uint64_t done, std::uint64_t) { told = done; };
  const auto same = compare(model, model);
  ASSERT_TRUE(same.ok()) << same.error().message();
  EXPECT_GT(same->tokens, 2000U);
  EXPECT_EQ(same->tokens, told);
  EXPECT_NEAR(same->kl, 0, 1e-6);
  EXPECT_EQ(same->agreement, 1.0);
  EXPECT_GT(same->perplexity, 1.0);
  EXPECT_EQ(same->perplexity, same->source_perplexity);
}

TEST_F(WorkerTaskTest, WhatDoesNotApplyOrIsDamagedIsAnError) {
  const auto rows = rewrite(source_, kQ4_K, folder_ / "out.gguf");
  ASSERT_FALSE(rows.ok());
  EXPECT_EQ(rows.error().code(), ErrorCode::kUnsupportedParameter);
  EXPECT_NE(rows.error().message().find("rows of 288"), std::string::npos) << rows.error().message();

  const gguf::Header header = header_of(source_);
  const auto tensor = std::ranges::find(header.tensors, kQ4, &gguf::Tensor::type);
  // The scale of the first block: infinity.
  const auto infinite =
      rewrite(damaged(std::string("\x00\x7c", 2), header.data_offset + tensor->offset), kQ8, folder_ / "out.gguf");
  ASSERT_FALSE(infinite.ok());
  EXPECT_EQ(infinite.error().code(), ErrorCode::kNumericFault);
  EXPECT_NE(infinite.error().message().find(tensor->name), std::string::npos) << infinite.error().message();

  const auto other = compare(source_, source_.parent_path() / "stories260K-f32.gguf");
  ASSERT_FALSE(other.ok());
  EXPECT_NE(other.error().message().find("vocabularies of 32000 and 512"), std::string::npos)
      << other.error().message();

  const auto magic = rewrite(damaged("JUNK", 0), kQ8, folder_ / "out.gguf");
  ASSERT_FALSE(magic.ok());
  EXPECT_EQ(magic.error().code(), ErrorCode::kModelInvalid);
}

TEST_F(WorkerTaskTest, AWorkerThatIsKilledOrCancelledEndsTheTask) {
  on_progress_ = [this](std::uint64_t, std::uint64_t) { stop_.request_stop(); };
  const auto cancelled = rewrite(source_, kQ8, folder_ / "out.gguf");
  ASSERT_FALSE(cancelled.ok());
  EXPECT_EQ(cancelled.error().code(), ErrorCode::kCancelled);

  stop_ = std::stop_source();
  on_progress_ = {};
  options_.worker_path = "/bin/false";
  const auto dead = rewrite(source_, kQ8, folder_ / "out.gguf");
  ASSERT_FALSE(dead.ok());
  EXPECT_EQ(dead.error().code(), ErrorCode::kWorkerCrashed);
}

}  // namespace
}  // namespace shoal::engine
