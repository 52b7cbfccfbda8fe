// Conversion keeps every number and name; broken folders and files are refused with the reason.
#include "shoal/models/convert/convert.h"

#include <bit>
#include <cstring>
#include <fstream>

#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>

#include "shoal/gguf/reader.h"
#include "shoal/models/convert/bert.h"
#include "shoal/models/convert/safetensors.h"

namespace shoal::models::convert {
namespace {

namespace fs = std::filesystem;

TEST(Safetensors, HostileHeadersAreRefused) {
  struct Case {
    const char* header;
    const char* says;
  };
  for (
      const Case& c :
      {Case{"[]", "JSON object"}, Case{"{", "JSON object"}, Case{R"({"a":{}})", "wanted dtype"},
       Case{R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4096]}})", "not within"},
       Case{R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[8,4]}})", "ends before"},
       Case{R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,4]}})", "not within"},
       Case{R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,4]}})", "are not 4 bytes"},
       Case{R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}})", "out of range"},
       Case{
           R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
           "overlap"}}) {
    const auto parsed = parse_header(c.header, 8 + std::strlen(c.header) + 64);
    ASSERT_FALSE(parsed.ok()) << c.header;
    EXPECT_NE(parsed.error().message().find(c.says), std::string::npos)
        << c.header << " said " << parsed.error().message();
  }
}

TEST(Bert, NamesTensorsAsLlamaCppDoes) {
  EXPECT_EQ(*bert_tensor_name("embeddings.word_embeddings.weight"), "token_embd.weight");
  EXPECT_EQ(*bert_tensor_name("bert.encoder.layer.11.attention.output.LayerNorm.bias"), "blk.11.attn_output_norm.bias");
  EXPECT_EQ(*bert_tensor_name("encoder.layer.3.output.dense.weight"), "blk.3.ffn_down.weight");
  EXPECT_EQ(*bert_tensor_name("pooler.dense.weight"), "");
  EXPECT_FALSE(bert_tensor_name("model.layers.0.self_attn.q_proj.weight").ok());
}

class FolderTest : public testing::Test {
 protected:
  FolderTest() : folder(fs::temp_directory_path() / ("shoal-convert-" + std::to_string(getpid()))) {
    fs::create_directories(folder);
    write("config.json", R"({"model_type":"bert","max_position_embeddings":4,"hidden_size":2,"intermediate_size":2,
      "num_hidden_layers":1,"num_attention_heads":1,"layer_norm_eps":1e-12,"vocab_size":7,"type_vocab_size":2})");
    write("tokenizer.json", R"({"added_tokens":[{"id":0,"content":"[PAD]"}],"model":{"type":"WordPiece","vocab":
      {"[PAD]":0,"[UNK]":1,"[CLS]":2,"[SEP]":3,"[MASK]":4,"sea":5,"##shell":6}}})");
    const std::string header =
        R"({"embeddings.word_embeddings.weight":{"dtype":"F32","shape":[7,2],"data_offsets":[0,56]},
      "embeddings.LayerNorm.bias":{"dtype":"F32","shape":[2],"data_offsets":[56,64]}})";
    std::string bytes;
    const std::uint64_t size = header.size();
    bytes.append(reinterpret_cast<const char*>(&size), sizeof size);
    bytes += header;
    for (int i = 0; i < 16; ++i) {
      const float value = static_cast<float>(i) * 0.25F;
      bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    write("model.safetensors", bytes);
  }
  ~FolderTest() override { fs::remove_all(folder); }
  void write(const std::string& name, const std::string& bytes) const {
    std::ofstream(folder / name, std::ios::binary) << bytes;
  }

  const fs::path folder;
};

TEST_F(FolderTest, WhatIsWrittenCanBeRead) {
  const fs::path out = folder / "out.gguf";
  const auto report = convert_folder(folder, out);
  ASSERT_TRUE(report.ok()) << report.error().message();
  EXPECT_EQ(report->tensors, 2U);
  std::ifstream in(out, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  gguf::MemorySource source(bytes);
  const auto header = gguf::read_header(source);
  ASSERT_TRUE(header.ok()) << header.error().message();
  EXPECT_EQ(header->architecture(), "bert");
  EXPECT_EQ(header->vocabulary(), 7U);
  EXPECT_EQ(header->number("tokenizer.ggml.cls_token_id"), 2U);
  ASSERT_EQ(header->tensors.size(), 2U);
  const gguf::Tensor& matrix = header->tensors[0];
  EXPECT_EQ(matrix.name, "token_embd.weight");
  EXPECT_EQ(matrix.dims, (std::vector<std::uint64_t>{2, 7})) << "the row comes first";
  EXPECT_EQ(matrix.type, 1U);
  for (std::size_t i = 0; i < 14; ++i) {
    std::uint16_t half = 0;
    std::memcpy(&half, bytes.data() + header->data_offset + matrix.offset + 2 * i, sizeof half);
    EXPECT_EQ(static_cast<float>(std::bit_cast<_Float16>(half)), static_cast<float>(i) * 0.25F);
  }
  EXPECT_NE(bytes.find("\xE2\x96\x81sea"), std::string::npos) << "a word's beginning is marked";
  EXPECT_EQ(bytes.find("##shell"), std::string::npos) << "and its continuation is not";
}

TEST_F(FolderTest, ABrokenFolderIsRefusedAndLeavesNothing) {
  const fs::path out = folder / "out.gguf";
  write("config.json", R"({"model_type":"mamba"})");
  EXPECT_EQ(convert_folder(folder, out).error().code(), ErrorCode::kUnimplemented);
  write("config.json", "{");
  EXPECT_EQ(convert_folder(folder, out).error().code(), ErrorCode::kModelInvalid);
  fs::remove(folder / "config.json");
  EXPECT_NE(convert_folder(folder, out).error().message().find("config.json"), std::string::npos);
  EXPECT_FALSE(fs::exists(out));
  EXPECT_FALSE(fs::exists(out.string() + ".new"));
}

}  // namespace
}  // namespace shoal::models::convert
