#include "shoal/models/convert/llama.h"

#include <array>
#include <cmath>
#include <numbers>
#include <set>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include <boost/json.hpp>

#include "shoal/models/convert/fields.h"

namespace shoal::models::convert {
namespace {

namespace json = boost::json;

constexpr std::uint32_t kMaxLayers = 512;  // llama.cpp's LLAMA_MAX_LAYERS
constexpr std::uint32_t kMaxWidth = 1U << 20;
constexpr std::uint32_t kMaxContext = 1U << 30;

Error refused(std::string_view key, const json::value& value, std::string_view wanted) {
  return {ErrorCode::kUnimplemented,
          fmt::format("config.json: '{}' is {}; only {} is converted", key, shortened(value), wanted)};
}

// Keys that change what the model computes, with the only values that llama.cpp's graph computes.
Result<void> refuse_what_is_not_honoured(const Fields& config) {
  struct Only {
    std::string_view key;
    json::value value;
  };
  for (const auto& [key, only] :
       {Only{"hidden_act", "silu"}, Only{"partial_rotary_factor", 1.0}, Only{"is_causal", true},
        Only{"quantization_config", nullptr}, Only{"num_local_experts", nullptr}, Only{"sliding_window", nullptr}}) {
    const json::value* value = config.find(key);
    const bool one = value != nullptr && only.is_double() && value->is_int64() && value->get_int64() == 1;
    if (value != nullptr && *value != only && !one)
      return refused(key, *value, only.is_null() ? "a model without it" : shortened(only));
  }
  if (config.lacks("architectures")) return {};
  const json::array& names = *SHOAL_TRY(config.array("architectures"));
  if (names.size() != 1 || names[0] != "LlamaForCausalLM")
    return refused("architectures", names, R"(["LlamaForCausalLM"])");
  return {};
}

// Older folders have rope_theta and rope_scaling, newer ones rope_parameters with both.
Result<void> read_rope(const Fields& config, LlamaConfig& read) {
  const bool is_newer = !config.lacks("rope_parameters");
  read.rope_theta = SHOAL_TRY(config.positive_real("rope_theta", 10000));
  if (!is_newer && config.lacks("rope_scaling")) return {};
  const std::string_view key = is_newer ? "rope_parameters" : "rope_scaling";
  const Fields rope = SHOAL_TRY(config.object(key));
  read.rope_theta = SHOAL_TRY(rope.positive_real("rope_theta", read.rope_theta));
  const std::string older_type = SHOAL_TRY(rope.text("type", is_newer ? "default" : ""));
  const std::string type = SHOAL_TRY(rope.text("rope_type", older_type));
  if (const json::value* part = rope.find("partial_rotary_factor"); part != nullptr && *part != json::value(1.0))
    return refused("partial_rotary_factor", *part, "1.0");
  if (type == "default") return {};
  if (type == "linear") {
    if (rope.lacks("factor")) return rope.wrong("a positive number", "factor");
    read.linear_scaling = SHOAL_TRY(rope.positive_real("factor", 0));
    return {};
  }
  if (type != "llama3") return refused(key, *config.find(key), "the rope_type default, linear or llama3");
  for (const char* needed : {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}) {
    if (rope.lacks(needed)) return rope.wrong("a positive number", needed);
  }
  const Llama3Scaling scaling{SHOAL_TRY(rope.positive_real("factor", 0)),
                              SHOAL_TRY(rope.positive_real("low_freq_factor", 0)),
                              SHOAL_TRY(rope.positive_real("high_freq_factor", 0)),
                              SHOAL_TRY(rope.positive_real("original_max_position_embeddings", 0))};
  if (scaling.high_frequency_factor <= scaling.low_frequency_factor)
    return rope.wrong("a number above low_freq_factor", "high_freq_factor");
  read.rope_factors = llama3_rope_factors(scaling, read.rope_theta, read.head_dim);
  return {};
}

struct Expected {
  std::string theirs;  // without "model." and the layer
  std::string ours;
  std::vector<std::uint64_t> shape;
  std::uint32_t heads = 0;
  bool is_optional = false;
};

// The tensors of one layer. Biases are there when attention_bias or mlp_bias is set.
std::vector<Expected> layer_tensors(const LlamaConfig& config) {
  const std::uint64_t hidden = config.hidden;
  const std::uint64_t ffn = config.feed_forward;
  const std::uint64_t queries = std::uint64_t{config.heads} * config.head_dim;
  const std::uint64_t keys = std::uint64_t{config.kv_heads} * config.head_dim;
  std::vector<Expected> all = {{"input_layernorm.weight", "attn_norm.weight", {hidden}},
                               {"post_attention_layernorm.weight", "ffn_norm.weight", {hidden}}};
  struct Projection {
    const char* theirs;
    const char* ours;
    std::uint64_t rows;
    std::uint64_t columns;
    std::uint32_t heads;
  };
  for (const Projection& p :
       {Projection{"self_attn.q_proj", "attn_q", queries, hidden, config.heads},
        Projection{"self_attn.k_proj", "attn_k", keys, hidden, config.kv_heads},
        Projection{"self_attn.v_proj", "attn_v", keys, hidden, 0},
        Projection{"self_attn.o_proj", "attn_output", hidden, queries, 0},
        Projection{"mlp.gate_proj", "ffn_gate", ffn, hidden, 0}, Projection{"mlp.up_proj", "ffn_up", ffn, hidden, 0},
        Projection{"mlp.down_proj", "ffn_down", hidden, ffn, 0}}) {
    all.push_back({fmt::format("{}.weight", p.theirs), fmt::format("{}.weight", p.ours), {p.rows, p.columns}, p.heads});
    all.push_back({fmt::format("{}.bias", p.theirs), fmt::format("{}.bias", p.ours), {p.rows}, p.heads, true});
  }
  return all;
}

std::vector<Expected> all_tensors(const LlamaConfig& config) {
  const std::uint64_t hidden = config.hidden;
  std::vector<Expected> all = {
      {"model.embed_tokens.weight", "token_embd.weight", {config.vocabulary, hidden}},
      {"model.norm.weight", "output_norm.weight", {hidden}},
  };
  if (!config.tied_embeddings) all.push_back({"lm_head.weight", "output.weight", {config.vocabulary, hidden}});
  const std::vector<Expected> of_layer = layer_tensors(config);
  for (std::uint32_t layer = 0; layer < config.layers; ++layer) {
    for (const Expected& one : of_layer) {
      all.push_back(one);
      all.back().theirs = fmt::format("model.layers.{}.{}", layer, one.theirs);
      all.back().ours = fmt::format("blk.{}.{}", layer, one.ours);
    }
  }
  return all;
}

// Written by some, and computed from the configuration by all.
bool is_ignored(const LlamaConfig& config, std::string_view name) {
  return name.ends_with(".rotary_emb.inv_freq") || (config.tied_embeddings && name == "lm_head.weight");
}

}  // namespace

Result<LlamaConfig> read_llama_config(const json::object& config) {
  const Fields fields("config.json", config);
  SHOAL_TRY(refuse_what_is_not_honoured(fields));
  LlamaConfig read;
  read.context_length = SHOAL_TRY(fields.positive("max_position_embeddings", kMaxContext));
  read.hidden = SHOAL_TRY(fields.positive("hidden_size", kMaxWidth));
  read.feed_forward = SHOAL_TRY(fields.positive("intermediate_size", kMaxWidth));
  read.layers = SHOAL_TRY(fields.positive("num_hidden_layers", kMaxLayers));
  read.heads = SHOAL_TRY(fields.positive("num_attention_heads", kMaxWidth));
  read.kv_heads =
      fields.lacks("num_key_value_heads") ? read.heads : SHOAL_TRY(fields.positive("num_key_value_heads", read.heads));
  read.vocabulary = SHOAL_TRY(fields.positive("vocab_size"));
  read.rms_epsilon = SHOAL_TRY(fields.positive_real("rms_norm_eps", 1e-6));
  read.tied_embeddings = SHOAL_TRY(fields.boolean("tie_word_embeddings", false));
  read.states_head_dim = !fields.lacks("head_dim");
  if (read.heads % read.kv_heads != 0)
    return fields.wrong(fmt::format("a divisor of the {} attention heads", read.heads), "num_key_value_heads");
  if (!read.states_head_dim && read.hidden % read.heads != 0)
    return fields.wrong(fmt::format("a divisor of the hidden_size {}", read.hidden), "num_attention_heads");
  read.head_dim = read.states_head_dim ? SHOAL_TRY(fields.positive("head_dim", kMaxWidth)) : read.hidden / read.heads;
  if (read.head_dim % 2 != 0)
    return Error(ErrorCode::kModelInvalid,
                 fmt::format("config.json: a head has {} dimensions; wanted an even number", read.head_dim));
  SHOAL_TRY(read_rope(fields, read));
  return read;
}

void write_llama_metadata(const LlamaConfig& config, const std::string& name, gguf::Writer& writer) {
  writer.text("general.architecture", "llama");
  writer.text("general.name", name);
  writer.u32("general.file_type", 1);  // mostly F16
  writer.u32("general.quantization_version", 2);
  writer.u32("llama.context_length", config.context_length);
  writer.u32("llama.embedding_length", config.hidden);
  writer.u32("llama.block_count", config.layers);
  writer.u32("llama.feed_forward_length", config.feed_forward);
  writer.u32("llama.attention.head_count", config.heads);
  writer.u32("llama.attention.head_count_kv", config.kv_heads);
  if (config.states_head_dim) {
    writer.u32("llama.attention.key_length", config.head_dim);
    writer.u32("llama.attention.value_length", config.head_dim);
  }
  writer.f32("llama.attention.layer_norm_rms_epsilon", static_cast<float>(config.rms_epsilon));
  writer.u32("llama.rope.dimension_count", config.head_dim);
  writer.f32("llama.rope.freq_base", static_cast<float>(config.rope_theta));
  if (config.linear_scaling > 0) {
    writer.text("llama.rope.scaling.type", "linear");
    writer.f32("llama.rope.scaling.factor", static_cast<float>(config.linear_scaling));
  }
  writer.u32("llama.vocab_size", config.vocabulary);
}

Result<std::vector<PlannedTensor>> plan_llama_tensors(const LlamaConfig& config, const WeightMap& tensors) {
  std::vector<PlannedTensor> plan;
  std::set<std::string_view> known;
  const std::vector<Expected> expected = all_tensors(config);
  for (const Expected& one : expected) {
    known.insert(one.theirs);
    const auto found = tensors.find(one.theirs);
    if (found == tensors.end()) {
      if (one.is_optional) continue;
      return Error(ErrorCode::kModelInvalid,
                   fmt::format("the tensor '{}' is missing from the safetensors", one.theirs));
    }
    const std::vector<std::uint64_t>& shape = found->second.entry.shape;
    if (shape != one.shape) {
      return Error(ErrorCode::kModelInvalid,
                   fmt::format("tensor '{}': config.json makes it [{}], but it is [{}]", one.theirs,
                               fmt::join(one.shape, ", "), fmt::join(shape, ", ")));
    }
    if (found->second.entry.dtype == DType::kOther)
      return Error(ErrorCode::kUnimplemented, fmt::format("tensor '{}' is not F32, F16 or BF16", one.theirs));
    plan.push_back({.name = one.ours, .source = &found->second, .heads = one.heads});
  }
  for (const auto& [name, weight] : tensors) {
    if (!known.contains(name) && !is_ignored(config, name))
      return Error(ErrorCode::kUnimplemented, fmt::format("a Llama of this config.json has no tensor '{}'", name));
  }
  if (!config.rope_factors.empty()) plan.push_back({.name = "rope_freqs.weight", .values = config.rope_factors});
  return plan;
}

std::vector<float> llama3_rope_factors(const Llama3Scaling& scaling, double theta, std::uint32_t head_dim) {
  std::vector<float> factors;
  for (std::uint32_t i = 0; i < head_dim; i += 2) {
    const double wavelength = 2 * std::numbers::pi * std::pow(theta, static_cast<double>(i) / head_dim);
    const double turns = scaling.original_context / wavelength;  // in the context that it was trained with
    if (turns > scaling.high_frequency_factor) {
      factors.push_back(1);
    } else if (turns < scaling.low_frequency_factor) {
      factors.push_back(static_cast<float>(scaling.factor));
    } else {
      const double smooth =
          (turns - scaling.low_frequency_factor) / (scaling.high_frequency_factor - scaling.low_frequency_factor);
      factors.push_back(static_cast<float>(1 / ((1 - smooth) / scaling.factor + smooth)));
    }
  }
  return factors;
}

}  // namespace shoal::models::convert
