// A Llama folder becomes what llama.cpp computes and tokenizes alike; what would not is refused by its name.
#include "shoal/models/convert/llama.h"

#include <bit>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>

#include "shoal/gguf/reader.h"
#include "shoal/models/convert/byte_bpe.h"
#include "shoal/models/convert/convert.h"
#include "shoal/models/convert/plan.h"
#include "shoal/models/convert/spm.h"
#include "shoal/models/convert/tokenizer.h"

namespace shoal::models::convert {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

// Two heads of 4 dimensions over one of keys, one layer, five tokens.
json::object tiny_config() {
  return json::parse(R"({"model_type":"llama","architectures":["LlamaForCausalLM"],"hidden_act":"silu","hidden_size":8,
      "intermediate_size":3,"num_hidden_layers":1,"num_attention_heads":2,"num_key_value_heads":1,
      "max_position_embeddings":16,"rms_norm_eps":1e-05,"rope_theta":500000,"vocab_size":5,
      "tie_word_embeddings":true,"bos_token_id":3,"eos_token_id":[3,0]})")
      .as_object();
}

std::vector<std::pair<std::string, std::vector<std::uint64_t>>> tiny_tensors() {
  const std::string layer = "model.layers.0.";
  return {{"model.embed_tokens.weight", {5, 8}},       {"model.norm.weight", {8}},
          {layer + "input_layernorm.weight", {8}},     {layer + "post_attention_layernorm.weight", {8}},
          {layer + "self_attn.q_proj.weight", {8, 8}}, {layer + "self_attn.k_proj.weight", {4, 8}},
          {layer + "self_attn.v_proj.weight", {4, 8}}, {layer + "self_attn.o_proj.weight", {8, 8}},
          {layer + "mlp.gate_proj.weight", {3, 8}},    {layer + "mlp.up_proj.weight", {3, 8}},
          {layer + "mlp.down_proj.weight", {8, 3}}};
}

WeightMap tiny_weights() {
  WeightMap weights;
  for (const auto& [name, shape] : tiny_tensors()) weights[name].entry = {DType::kF32, shape, 0, 0};
  return weights;
}

std::string fault(const auto& result) {
  return result.ok() ? "" : result.error().message();
}

TEST(InterleaveRows, PutsTheTwoThatRotateTogetherSideBySide) {
  // A head of 4 dimensions has its first halves 0, 1 and its second halves 2, 3.
  EXPECT_EQ(interleave_rows("0123", 4, 1), "0213");
  EXPECT_EQ(interleave_rows("01234567", 8, 2), "02134657");
  EXPECT_EQ(interleave_rows("aAbBcCdD", 4, 1), "aAcCbBdD") << "a row stays whole";
}

TEST(LlamaTensors, AreNamedAndReorderedAsLlamaCppHasThem) {
  const auto config = read_llama_config(tiny_config());
  ASSERT_TRUE(config.ok()) << config.error().message();
  WeightMap weights = tiny_weights();
  weights["model.layers.0.self_attn.k_proj.bias"].entry = {DType::kF32, {4}, 0, 0};
  const auto plan = plan_llama_tensors(*config, weights);
  ASSERT_TRUE(plan.ok()) << plan.error().message();
  std::map<std::string, std::uint32_t> heads;
  for (const PlannedTensor& tensor : *plan) heads[tensor.name] = tensor.heads;
  EXPECT_EQ(heads, (std::map<std::string, std::uint32_t>{{"token_embd.weight", 0},
                                                         {"output_norm.weight", 0},
                                                         {"blk.0.attn_norm.weight", 0},
                                                         {"blk.0.ffn_norm.weight", 0},
                                                         {"blk.0.attn_q.weight", 2},
                                                         {"blk.0.attn_k.weight", 1},
                                                         {"blk.0.attn_k.bias", 1},
                                                         {"blk.0.attn_v.weight", 0},
                                                         {"blk.0.attn_output.weight", 0},
                                                         {"blk.0.ffn_gate.weight", 0},
                                                         {"blk.0.ffn_up.weight", 0},
                                                         {"blk.0.ffn_down.weight", 0}}))
      << "and tied embeddings have no output.weight";
}

TEST(LlamaTensors, MustBeThoseOfTheConfiguration) {
  json::object object = tiny_config();
  const auto tied = read_llama_config(object);
  object["tie_word_embeddings"] = false;
  const auto untied = read_llama_config(object);
  ASSERT_TRUE(tied.ok() && untied.ok());

  EXPECT_NE(fault(plan_llama_tensors(*untied, tiny_weights())).find("'lm_head.weight' is missing"), std::string::npos);
  WeightMap weights = tiny_weights();
  weights["lm_head.weight"].entry = {DType::kF32, {5, 8}, 0, 0};
  EXPECT_TRUE(plan_llama_tensors(*untied, weights).ok());
  EXPECT_TRUE(plan_llama_tensors(*tied, weights).ok()) << "a copy of what is tied is left out";
  weights["model.layers.0.self_attn.q_norm.weight"].entry = {DType::kF32, {4}, 0, 0};
  EXPECT_NE(fault(plan_llama_tensors(*tied, weights)).find("no tensor 'model.layers.0.self_attn.q_norm.weight'"),
            std::string::npos);
  weights = tiny_weights();
  weights["model.layers.0.self_attn.k_proj.weight"].entry.shape = {8, 8};
  EXPECT_NE(fault(plan_llama_tensors(*tied, weights)).find("makes it [4, 8], but it is [8, 8]"), std::string::npos);
  weights = tiny_weights();
  weights["model.norm.weight"].entry.dtype = DType::kOther;
  EXPECT_NE(fault(plan_llama_tensors(*tied, weights)).find("'model.norm.weight' is not F32"), std::string::npos);
}

TEST(LlamaConfig, RefusesByNameWhatIsNotHonoured) {
  struct Case {
    const char* change;
    const char* says;
    ErrorCode code = ErrorCode::kUnimplemented;
  };
  constexpr ErrorCode kInvalid = ErrorCode::kModelInvalid;
  for (const Case& c :
       {Case{R"({"hidden_act":"gelu"})", R"('hidden_act' is "gelu")"},
        Case{R"({"quantization_config":{"bits":4}})", "'quantization_config'"},
        Case{R"({"partial_rotary_factor":0.5})", "'partial_rotary_factor' is 5E-1"},
        Case{R"({"architectures":["LlamaForSequenceClassification"]})", "LlamaForSequenceClassification"},
        Case{R"({"rope_scaling":{"rope_type":"yarn","factor":4}})", "yarn"},
        Case{R"({"rope_parameters":{"rope_type":"dynamic","factor":4}})", "dynamic"},
        Case{R"({"rope_scaling":{"type":"linear"}})", "'factor'", kInvalid},
        Case{R"({"rope_scaling":[]})", "wanted an object at 'rope_scaling', got []", kInvalid},
        Case{R"({"hidden_size":null})", "'hidden_size', got null", kInvalid},
        Case{R"({"hidden_size":-8})", "'hidden_size', got -8", kInvalid},
        Case{R"({"num_hidden_layers":100000})", "'num_hidden_layers'", kInvalid},
        Case{R"({"vocab_size":4000000000})", "'vocab_size'", kInvalid},
        Case{R"({"num_attention_heads":3})", "'num_attention_heads'", kInvalid},
        Case{R"({"num_attention_heads":4,"num_key_value_heads":3})", "'num_key_value_heads'", kInvalid},
        Case{R"({"head_dim":3})", "even number", kInvalid}, Case{R"({"rope_theta":"x"})", "'rope_theta'", kInvalid},
        Case{R"({"tie_word_embeddings":1})", "'tie_word_embeddings'", kInvalid}}) {
    json::object config = tiny_config();
    const json::value change = json::parse(c.change);
    for (const auto& [key, value] : change.as_object()) config[key] = value;
    const auto read = read_llama_config(config);
    ASSERT_FALSE(read.ok()) << c.change;
    EXPECT_EQ(read.error().code(), c.code) << c.change;
    EXPECT_TRUE(read.error().message().contains(c.says)) << c.change << " said " << read.error().message();
  }
}

TEST(LlamaConfig, ReadsBothSpellingsOfRopeScaling) {
  json::object config = tiny_config();
  config["rope_scaling"] = {{"type", "linear"}, {"factor", 4}};
  EXPECT_EQ(read_llama_config(config)->linear_scaling, 4);
  config.erase("rope_scaling");
  config["rope_parameters"] = {{"rope_theta", 20000.0}};
  EXPECT_EQ(read_llama_config(config)->rope_theta, 20000);
  EXPECT_EQ(read_llama_config(config)->linear_scaling, 0);
}

TEST(Llama3RopeFactors, DivideOnlyTheLowFrequencies) {
  // Head of 8, theta 10000: wavelengths 2 pi * (1, 10, 100, 1000), so that a context of 200 pi holds 100, 10, 1 and 0.1
  // of them: beyond 4 stays, below 0.5 is divided, and 1 lies a seventh of the way, 1/(6/7/8 + 1/7) = 4.
  const auto factors = llama3_rope_factors({8, 0.5, 4, 200 * 3.14159265358979}, 10000, 8);
  ASSERT_EQ(factors.size(), 4U);
  EXPECT_EQ(factors[0], 1);
  EXPECT_EQ(factors[1], 1);
  EXPECT_NEAR(factors[2], 4, 1e-5);
  EXPECT_EQ(factors[3], 8);
}

json::value split(std::string_view regex) {
  return {{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Isolated"}, {"invert", false}};
}

json::value bytes(bool use_regex, bool add_prefix_space = false) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", add_prefix_space}, {"use_regex", use_regex}};
}

json::value sequence(json::array steps) {
  return {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
}

TEST(PreTokenizer, IsRecognisedByItsWholeDefinition) {
  const json::value digits = {{"type", "Digits"}, {"individual_digits", true}};
  const std::string llama3 =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  std::string qwen2 = llama3;
  qwen2.replace(qwen2.find("{1,3}"), 5, "");
  std::string raw = llama3;  // the control characters themselves
  for (std::size_t at = raw.find("\\r\\n"); at != std::string::npos; at = raw.find("\\r\\n"))
    raw.replace(at, 4, "\r\n");

  EXPECT_EQ(*pre_tokenizer_name(bytes(true), false), "gpt-2");
  EXPECT_EQ(*pre_tokenizer_name(sequence({digits, bytes(true)}), false), "smollm");
  EXPECT_EQ(*pre_tokenizer_name(sequence({split(llama3), bytes(false)}), true), "llama-bpe");
  EXPECT_EQ(*pre_tokenizer_name(sequence({split(raw), bytes(false)}), true), "llama-bpe");
  EXPECT_EQ(*pre_tokenizer_name(sequence({split(llama3), bytes(false)}), false), "smaug-bpe");
  EXPECT_EQ(*pre_tokenizer_name(sequence({split(qwen2), bytes(false)}), false), "qwen2");

  for (const json::value& other :
       {json::value(), json::value("x"), json::value(json::object()), bytes(false), bytes(true, true), sequence({}),
        sequence({bytes(true), digits}), sequence({split(llama3), bytes(true)}),
        sequence({split(llama3 + "|x"), bytes(false)}), sequence({{{"type", "Digits"}}, bytes(true)})}) {
    const auto name = pre_tokenizer_name(other, false);
    ASSERT_FALSE(name.ok()) << other;
    EXPECT_EQ(name.error().code(), ErrorCode::kUnimplemented);
  }
  EXPECT_FALSE(pre_tokenizer_name(bytes(true), true).ok()) << "llama.cpp's gpt-2 does not ignore merges";
  const auto shown = pre_tokenizer_name(split(std::string(100'000, 'x')), false);
  EXPECT_TRUE(shown.error().message().contains("Split") && shown.error().message().size() < 500);
}

TEST(MergeScores, PutTheBestMergeFirst) {
  Vocabulary vocabulary;
  for (const char* token : {"a", "b", "c", "ab", "bc", "abc"}) {
    vocabulary.ids[token] = static_cast<std::uint32_t>(vocabulary.tokens.size());
    vocabulary.tokens.emplace_back(token);
  }
  const auto scores = merge_scores({{"b", "c"}, {"a", "bc"}, {"a", "b"}, {"ab", "c"}}, vocabulary);
  EXPECT_EQ(scores[4], 0);
  EXPECT_EQ(scores[5], -1) << "of the two ways to make abc the better one counts";
  EXPECT_EQ(scores[3], -2);
  EXPECT_LT(scores[0], -1e6F);
}

TEST(Merges, MayBeTextsOrPairsOfKnownTokens) {
  Vocabulary vocabulary;
  for (const char* token : {"a", "b", "ab"}) vocabulary.ids[token] = 0;
  const auto read = [&](std::string_view text) {
    const json::value model = json::parse(text);
    return read_merges(Fields("tokenizer.json: 'model'", model.as_object()), vocabulary);
  };
  const Merges wanted = {{"a", "b"}};
  EXPECT_EQ(*read(R"({"merges":["a b"]})"), wanted);
  EXPECT_EQ(*read(R"({"merges":[["a","b"]]})"), wanted);
  for (const char* broken :
       {R"({})", R"({"merges":{}})", R"({"merges":["ab"]})", R"({"merges":["a b c"]})", R"({"merges":[" b"]})",
        R"({"merges":[["a"]]})", R"({"merges":[["a",1]]})", R"({"merges":[7]})"}) {
    EXPECT_FALSE(read(broken).ok()) << broken;
  }
  EXPECT_NE(fault(read(R"({"merges":["b a"]})")).find("needs the token 'ba'"), std::string::npos);
}

class LlamaFolderTest : public testing::Test {
 protected:
  LlamaFolderTest() : folder(fs::temp_directory_path() / fmt::format("shoal-llama-{}", getpid())) {
    fs::create_directories(folder);
    config = tiny_config();
    tokenizer = json::parse(R"({"added_tokens":[{"id":3,"content":"<|end|>","special":true},
        {"id":2,"content":"<tool>","special":false}],"normalizer":null,
        "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},
        "model":{"type":"BPE","vocab":{"a":0,"aa":1},"merges":["a a"]}})")
                    .as_object();
    settings = json::parse(R"({"eos_token":{"content":"<|end|>"},
        "chat_template":[{"name":"default","template":"D"},{"name":"tool_use","template":"T"}]})")
                   .as_object();
  }
  ~LlamaFolderTest() override { fs::remove_all(folder); }

  void write(const std::string& name, const std::string& bytes_of_file) const {
    std::ofstream(folder / name, std::ios::binary) << bytes_of_file;
  }
  // Every element of a tensor is its number in it, as BF16; all tensors but the first in a second shard.
  void write_folder() const {
    write("config.json", json::serialize(config));
    write("tokenizer.json", json::serialize(tokenizer));
    write("tokenizer_config.json", json::serialize(settings));
    json::object headers[2];
    std::string data[2];
    json::object where;
    for (const auto& [name, shape] : tiny_tensors()) {
      const std::size_t shard = where.empty() ? 0 : 1;
      const std::size_t begin = data[shard].size();
      std::uint64_t elements = 1;
      for (const std::uint64_t dim : shape) elements *= dim;
      for (std::uint64_t i = 0; i < elements; ++i) {
        const std::uint32_t bits = std::bit_cast<std::uint32_t>(scale * static_cast<float>(i)) >> 16;
        data[shard].append(reinterpret_cast<const char*>(&bits), 2);
      }
      headers[shard][name] = {
          {"dtype", "BF16"}, {"shape", json::value_from(shape)}, {"data_offsets", {begin, data[shard].size()}}};
      where[name] = fmt::format("part-{}.safetensors", shard);
    }
    for (const std::size_t shard : {0U, 1U}) {
      const std::string header = json::serialize(headers[shard]);
      const std::uint64_t size = header.size();
      write(fmt::format("part-{}.safetensors", shard),
            std::string(reinterpret_cast<const char*>(&size), sizeof size) + header + data[shard]);
    }
    for (const auto& [key, value] : more_in_index) where[key] = value;
    write("model.safetensors.index.json", json::serialize(json::object{{"weight_map", where}}));
  }
  std::string refusal() const {
    write_folder();
    const fs::path out = folder / "out.gguf";
    const auto report = convert_folder(folder, out);
    EXPECT_FALSE(fs::exists(out) || fs::exists(out.string() + ".new"));
    return fault(report);
  }

  const fs::path folder;
  json::object config;
  json::object tokenizer;
  json::object settings;
  json::object more_in_index;
  float scale = 1;
};

TEST_F(LlamaFolderTest, IsWrittenWithRowsInterleavedAndItsTokenizer) {
  write_folder();
  const auto report = convert_folder(folder / "", folder / "out.gguf");
  ASSERT_TRUE(report.ok()) << report.error().message();
  EXPECT_EQ(report->tensors, tiny_tensors().size());
  std::ifstream in(folder / "out.gguf", std::ios::binary);
  const std::string bytes_of_file((std::istreambuf_iterator<char>(in)), {});
  gguf::MemorySource source(bytes_of_file);
  const auto header = gguf::read_header(source);
  ASSERT_TRUE(header.ok()) << header.error().message();
  EXPECT_EQ(header->text("general.name"), folder.filename().string());
  EXPECT_EQ(header->arch_number("context_length"), 16U);
  EXPECT_EQ(header->arch_number("attention.head_count_kv"), 1U);
  EXPECT_EQ(header->arch_number("rope.dimension_count"), 4U);
  EXPECT_EQ(header->arch_number("attention.key_length"), std::nullopt);
  EXPECT_EQ(std::get<double>(header->metadata.at("llama.rope.freq_base")), 500000);
  EXPECT_EQ(header->text("tokenizer.ggml.pre"), "gpt-2");
  EXPECT_EQ(header->number("tokenizer.ggml.eos_token_id"), 3U);
  EXPECT_EQ(header->number("tokenizer.ggml.bos_token_id"), 3U);
  EXPECT_EQ(std::get<bool>(header->metadata.at("tokenizer.ggml.add_bos_token")), false);
  EXPECT_EQ(header->text("tokenizer.chat_template"), "D");
  EXPECT_EQ(header->text("tokenizer.chat_template.tool_use"), "T");
  EXPECT_EQ(std::get<gguf::Array>(header->metadata.at("tokenizer.ggml.token_type")).numbers,
            (std::vector<double>{1, 1, 4, 3, 5}));
  EXPECT_NE(bytes_of_file.find("[PAD4]"), std::string::npos) << "an embedding without a token";

  for (const gguf::Tensor& tensor : header->tensors) {
    if (tensor.name != "blk.0.attn_k.weight") continue;
    EXPECT_EQ(tensor.dims, (std::vector<std::uint64_t>{8, 4}));
    for (const auto& [row, from] : {std::pair{0, 0}, {1, 2}, {2, 1}, {3, 3}}) {
      std::uint16_t half = 0;
      std::memcpy(&half,
                  bytes_of_file.data() + header->data_offset + tensor.offset + static_cast<std::size_t>(16 * row), 2);
      EXPECT_EQ(static_cast<float>(std::bit_cast<_Float16>(half)), static_cast<float>(8 * from)) << row;
    }
  }
}

TEST_F(LlamaFolderTest, TheTemplateFileGoesBeforeTheSettings) {
  write_folder();
  write("chat_template.jinja", "J");
  ASSERT_TRUE(convert_folder(folder, folder / "out.gguf").ok());
  std::ifstream in(folder / "out.gguf", std::ios::binary);
  const std::string bytes_of_file((std::istreambuf_iterator<char>(in)), {});
  gguf::MemorySource source(bytes_of_file);
  EXPECT_EQ(gguf::read_header(source)->text("tokenizer.chat_template"), "J");
}

TEST_F(LlamaFolderTest, BrokenOnesAreRefusedAndLeaveNothing) {
  struct Case {
    std::function<void()> change;
    const char* says;
  };
  const auto model = [&]() -> json::object& { return tokenizer["model"].as_object(); };
  for (const Case& c :
       {Case{[&] { more_in_index["x"] = "../part-0.safetensors"; }, "../part-0.safetensors"},
        Case{[&] { more_in_index["x"] = "/etc/part.safetensors"; }, "/etc/part.safetensors"},
        Case{[&] { more_in_index["x"] = 7; }, "got 7"},
        Case{[&] { more_in_index["x"] = "part-0.safetensors"; }, "'x' is not in part-0.safetensors"},
        Case{[&] { more_in_index["x"] = "part-9.safetensors"; }, "part-9.safetensors"},
        Case{[&] { scale = 1e6F; }, "which F16 cannot"},
        Case{[&] { model()["vocab"].as_object()[std::string(100'000, 'x')] = 9; }, "xxx..."},
        Case{[&] { model()["type"] = "Unigram"; }, "Unigram"},
        Case{[&] { model()["dropout"] = 0.5; }, "'dropout'"},
        Case{[&] { model()["byte_fallback"] = true; }, "U+2581"},
        Case{[&] { model()["vocab"].as_object()["b"] = 5; }, "'b' is 5"},
        Case{[&] { model()["vocab"].as_object()["b"] = -1; }, "'b' is -1"},
        Case{[&] { model()["vocab"].as_object()["b"] = 1; }, "id 1 is both"},
        Case{[&] { model()["vocab"].as_object()["[PAD4]"] = 3; }, "id 3 is both"},
        Case{[&] { model()["vocab"] = 7; }, "'vocab', got 7"},
        Case{[&] { tokenizer["added_tokens"].as_array()[0].as_object()["id"] = 99; }, "is 99"},
        Case{[&] { tokenizer["added_tokens"].as_array()[0].as_object()["content"] = "aa"; }, "the ids 1 and 3"},
        Case{[&] { tokenizer["added_tokens"] = json::array{1}; }, "wanted objects in 'added_tokens'"},
        Case{[&] { tokenizer["normalizer"] = {{"type", "NFKC"}}; }, "NFKC"},
        Case{[&] { tokenizer.erase("pre_tokenizer"); }, "pre-tokenizer"},
        Case{[&] { settings["eos_token"] = "nowhere"; }, "'eos_token'"},
        Case{[&] { settings.erase("eos_token"), config.erase("eos_token_id"); }, "eos_token"},
        Case{[&] { settings.erase("eos_token"), config["eos_token_id"] = 5; }, "'eos_token_id', got 5"},
        Case{[&] { settings["add_bos_token"] = "yes"; }, "'add_bos_token'"},
        Case{[&] { settings["chat_template"] = 7; }, "'chat_template', got 7"}}) {
    const json::object before[] = {config, tokenizer, settings, more_in_index};
    c.change();
    const std::string said = refusal();
    EXPECT_NE(said.find(c.says), std::string::npos) << c.says << ", but: " << said;
    config = before[0], tokenizer = before[1], settings = before[2], more_in_index = before[3];
    scale = 1;
  }
}

// A SentencePiece-like tokenizer: 256 bytes, the unknown token, three pieces and an added one.
Vocabulary spm_vocabulary(json::object& tokenizer) {
  json::object vocab;
  for (int byte = 0; byte < 256; ++byte) vocab[fmt::format("<0x{:02X}>", byte)] = byte;
  for (const auto& [token, id] : {std::pair{"<unk>", 256}, {"\u2581", 257}, {"a", 258}, {"\u2581a", 259}})
    vocab[token] = id;
  tokenizer = {
      {"model",
       {{"type", "BPE"}, {"byte_fallback", true}, {"unk_token", "<unk>"}, {"vocab", vocab}, {"merges", {"\u2581 a"}}}},
      {"added_tokens",
       {{{"id", 256}, {"content", "<unk>"}, {"special", true}},
        {{"id", 260}, {"content", "\u2581\u2581"}, {"special", false}}}}};
  return *read_vocabulary(Fields("tokenizer.json", tokenizer), 261);
}

TEST(Spm, SpacesAreMarkedByTheNormalizerOrThePreTokenizer) {
  const json::value replace = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\u2581"}};
  const json::value prepend = {{"type", "Prepend"}, {"prepend", "\u2581"}};
  const auto metaspace = [](const char* scheme, bool splits) {
    return json::value{{"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", scheme}, {"split", splits}};
  };
  json::object tokenizer;
  Vocabulary vocabulary = spm_vocabulary(tokenizer);
  const auto read = [&](const json::value& normalizer, const json::value& pre_tokenizer) {
    tokenizer["normalizer"] = normalizer;
    tokenizer["pre_tokenizer"] = pre_tokenizer;
    return read_spm(Fields("tokenizer.json", tokenizer), vocabulary);
  };
  const json::value legacy = {{"type", "Sequence"}, {"normalizers", {prepend, replace}}};
  EXPECT_TRUE(read(legacy, nullptr)->add_space_prefix);
  EXPECT_FALSE(read(replace, nullptr)->add_space_prefix);
  EXPECT_TRUE(read(nullptr, metaspace("first", false))->add_space_prefix);
  EXPECT_FALSE(read(nullptr, metaspace("never", true))->add_space_prefix);
  EXPECT_EQ(vocabulary.types[0], TokenType::kByte);
  EXPECT_EQ(vocabulary.types[256], TokenType::kUnknown);
  EXPECT_EQ(vocabulary.tokens[260], "  ") << "added tokens are found before spaces are marked";

  EXPECT_FALSE(read(nullptr, nullptr).ok()) << "nothing marks spaces";
  EXPECT_FALSE(read(prepend, nullptr).ok());
  EXPECT_FALSE(read({{"type", "NFKC"}}, metaspace("first", false)).ok());
  EXPECT_FALSE(read(nullptr, metaspace("sometimes", false)).ok());
  vocabulary.tokens[258] = "a\u2581";
  EXPECT_NE(fault(read(nullptr, metaspace("first", true))).find("'a\u2581' goes across"), std::string::npos);
  vocabulary.ids.erase("<0x0A>");
  EXPECT_NE(fault(read(legacy, nullptr)).find("no token <0x0A>"), std::string::npos);
}

}  // namespace
}  // namespace shoal::models::convert
