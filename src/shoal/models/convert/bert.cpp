#include "shoal/models/convert/bert.h"

#include <algorithm>
#include <array>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <boost/json.hpp>

#include "shoal/models/convert/fields.h"

namespace shoal::models::convert {
namespace {

namespace json = boost::json;

// llama.cpp's token types.
constexpr std::int32_t kNormal = 1;
constexpr std::int32_t kControl = 3;
// Its pooling types.
constexpr std::uint32_t kMeanPooling = 1;
constexpr std::uint32_t kClsPooling = 2;

Error invalid(std::string why) {
  return {ErrorCode::kModelInvalid, std::move(why)};
}

// Mean pooling unless the folder says otherwise. Source: sentence-transformers' 1_Pooling/config.json.
Result<std::uint32_t> pooling_type(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "1_Pooling/config.json";
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return kMeanPooling;
  const json::object pooling = SHOAL_TRY(read_json(file));
  const auto is_on = [&pooling](std::string_view key) {
    const json::value* value = pooling.if_contains(key);
    return value != nullptr && value->is_bool() && value->get_bool();
  };
  if (is_on("pooling_mode_mean_tokens")) return kMeanPooling;
  if (is_on("pooling_mode_cls_token")) return kClsPooling;
  return Error(ErrorCode::kUnimplemented, "1_Pooling/config.json: only mean and cls pooling are converted");
}

struct Vocabulary {
  std::vector<std::string> tokens;  // by id, as the tokenizer writes them
  std::vector<std::int32_t> types;
};

Result<Vocabulary> read_vocabulary(const json::object& tokenizer, std::uint32_t size) {
  const json::value* model = tokenizer.if_contains("model");
  const json::object* fields = model != nullptr ? model->if_object() : nullptr;
  const json::value* type = fields != nullptr ? fields->if_contains("type") : nullptr;
  const json::value* vocab = fields != nullptr ? fields->if_contains("vocab") : nullptr;
  if (type == nullptr || !type->is_string() || type->get_string() != "WordPiece" || vocab == nullptr ||
      !vocab->is_object()) {
    return Error(ErrorCode::kUnimplemented, "tokenizer.json: wanted a WordPiece model with a vocabulary");
  }
  Vocabulary result{std::vector<std::string>(size), std::vector<std::int32_t>(size, kNormal)};
  for (const auto& [token, id] : vocab->get_object()) {
    std::error_code why;
    const auto at = id.to_number<std::uint32_t>(why);
    if (why || at >= size || !result.tokens[at].empty())
      return invalid(
          fmt::format("tokenizer.json: the id of '{}' is not one of 0 to {}", std::string_view(token), size - 1));
    result.tokens[at] = std::string(token);
  }
  for (std::uint32_t id = 0; id < size; ++id) {
    if (result.tokens[id].empty()) return invalid(fmt::format("tokenizer.json: no token has the id {}", id));
  }
  if (const json::value* added = tokenizer.if_contains("added_tokens"); added != nullptr && added->is_array()) {
    for (const json::value& entry : added->get_array()) {
      const json::object* token = entry.if_object();
      const json::value* id = token != nullptr ? token->if_contains("id") : nullptr;
      std::error_code why;
      const auto at = id != nullptr && id->is_number() ? id->to_number<std::uint32_t>(why) : size;
      if (!why && at < size) result.types[at] = kControl;
    }
  }
  return result;
}

// llama.cpp marks the beginning of a word where WordPiece marks its continuation.
std::string llama_token(const std::string& token) {
  if (token.starts_with("[") && token.ends_with("]")) return token;
  if (token.starts_with("##")) return token.substr(2);
  return "\xE2\x96\x81" + token;
}

}  // namespace

Result<void> write_bert_metadata(const json::object& config_object, const std::filesystem::path& folder,
                                 gguf::Writer& writer) {
  const Fields config("config.json", config_object);
  const json::object tokenizer = SHOAL_TRY(read_json(folder / "tokenizer.json"));
  writer.text("general.architecture", "bert");
  writer.text("general.name", folder.filename().string());
  writer.u32("general.file_type", 1);  // mostly F16
  writer.u32("general.quantization_version", 2);
  writer.u32("bert.context_length", SHOAL_TRY(config.positive("max_position_embeddings")));
  writer.u32("bert.embedding_length", SHOAL_TRY(config.positive("hidden_size")));
  writer.u32("bert.feed_forward_length", SHOAL_TRY(config.positive("intermediate_size")));
  writer.u32("bert.block_count", SHOAL_TRY(config.positive("num_hidden_layers")));
  writer.u32("bert.attention.head_count", SHOAL_TRY(config.positive("num_attention_heads")));
  if (config.lacks("layer_norm_eps")) return config.wrong("a positive number", "layer_norm_eps");
  writer.f32("bert.attention.layer_norm_epsilon",
             static_cast<float>(SHOAL_TRY(config.positive_real("layer_norm_eps", 0))));
  writer.boolean("bert.attention.causal", false);
  writer.u32("bert.pooling_type", SHOAL_TRY(pooling_type(folder)));

  const std::uint32_t vocabulary_size = SHOAL_TRY(config.positive("vocab_size"));
  const Vocabulary vocabulary = SHOAL_TRY(read_vocabulary(tokenizer, vocabulary_size));
  std::vector<std::string> tokens;
  for (const std::string& token : vocabulary.tokens) tokens.push_back(llama_token(token));
  writer.text("tokenizer.ggml.model", "bert");
  writer.text("tokenizer.ggml.pre", "bert-bge");
  writer.u32("tokenizer.ggml.token_type_count", SHOAL_TRY(config.positive("type_vocab_size")));
  writer.texts("tokenizer.ggml.tokens", tokens);
  writer.i32s("tokenizer.ggml.token_type", vocabulary.types);
  for (const auto& [key, token] : {std::pair{"bos", "[CLS]"},
                                   {"eos", "[SEP]"},
                                   {"unknown", "[UNK]"},
                                   {"seperator", "[SEP]"},
                                   {"padding", "[PAD]"},
                                   {"cls", "[CLS]"},
                                   {"mask", "[MASK]"}}) {
    const auto at = std::ranges::find(vocabulary.tokens, token);
    if (at == vocabulary.tokens.end()) return invalid(fmt::format("tokenizer.json: the token {} is missing", token));
    writer.u32(fmt::format("tokenizer.ggml.{}_token_id", key),
               static_cast<std::uint32_t>(at - vocabulary.tokens.begin()));
  }
  return {};
}

Result<std::string> bert_tensor_name(const std::string& full_name) {
  std::string name = full_name.starts_with("bert.") ? full_name.substr(5) : full_name;
  if (name.starts_with("pooler.") || name.starts_with("cls.") || name == "embeddings.position_ids")
    return std::string();
  const std::size_t dot = name.rfind('.');
  const std::string suffix = dot == std::string::npos ? "" : name.substr(dot);
  std::string stem = name.substr(0, dot);
  constexpr std::array kEmbeddings = {std::pair{"embeddings.word_embeddings", "token_embd"},
                                      std::pair{"embeddings.position_embeddings", "position_embd"},
                                      std::pair{"embeddings.token_type_embeddings", "token_types"},
                                      std::pair{"embeddings.LayerNorm", "token_embd_norm"}};
  for (const auto& [from, to] : kEmbeddings) {
    if (stem == from) return to + suffix;
  }
  constexpr std::string_view kLayer = "encoder.layer.";
  constexpr std::array kBlocks = {std::pair{"attention.self.query", "attn_q"},
                                  std::pair{"attention.self.key", "attn_k"},
                                  std::pair{"attention.self.value", "attn_v"},
                                  std::pair{"attention.output.dense", "attn_output"},
                                  std::pair{"attention.output.LayerNorm", "attn_output_norm"},
                                  std::pair{"intermediate.dense", "ffn_up"},
                                  std::pair{"output.dense", "ffn_down"},
                                  std::pair{"output.LayerNorm", "layer_output_norm"}};
  if (stem.starts_with(kLayer)) {
    const std::string rest = stem.substr(kLayer.size());
    const std::size_t point = rest.find('.');
    for (const auto& [from, to] : kBlocks) {
      if (point != std::string::npos && rest.substr(point + 1) == from)
        return fmt::format("blk.{}.{}{}", rest.substr(0, point), to, suffix);
    }
  }
  return invalid(fmt::format("BERT has no tensor named '{}'", full_name));
}

Result<std::vector<PlannedTensor>> plan_bert_tensors(const WeightMap& tensors) {
  std::vector<PlannedTensor> plan;
  std::set<std::string> planned;
  for (const auto& [name, weight] : tensors) {
    const std::string target = SHOAL_TRY(bert_tensor_name(name));
    if (target.empty()) continue;
    if (!planned.insert(target).second) return invalid(fmt::format("two tensors are '{}'", target));
    // Positions and token types are few and added to everything: they stay exact.
    const bool exact = target == "position_embd.weight" || target == "token_types.weight";
    plan.push_back({.name = target, .source = &weight, .exact = exact});
  }
  std::ranges::sort(plan, {}, &PlannedTensor::name);  // the order of the files that older versions wrote
  return plan;
}

}  // namespace shoal::models::convert
