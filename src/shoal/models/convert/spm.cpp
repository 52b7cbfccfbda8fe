#include "shoal/models/convert/spm.h"

#include <optional>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include <boost/json.hpp>

namespace shoal::models::convert {
namespace {

namespace json = boost::json;

constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581
constexpr float kNeverMade = -1e9F;

Error refused(std::string_view what, const json::value& value) {
  return {ErrorCode::kUnimplemented, fmt::format("tokenizer.json: the {} {} is not converted for a SentencePiece-like "
                                                 "BPE; only marking spaces with U+2581 is",
                                                 what, shortened(value, 300))};
}

struct Spaces {
  bool marked = false;
  bool prefixed = false;  // a text gets one before its first word
  bool cut = false;       // nothing is merged across one
};

Result<void> read_normalizer(const json::value& normalizer, Spaces& spaces) {
  if (!normalizer.is_object()) return refused("normalizer", normalizer);
  const json::object& fields = normalizer.get_object();
  const json::value* type = fields.if_contains("type");
  if (type == nullptr) return refused("normalizer", normalizer);
  if (*type == "Sequence") {
    const json::value* steps = fields.if_contains("normalizers");
    if (steps == nullptr || !steps->is_array()) return refused("normalizer", normalizer);
    for (const json::value& step : steps->get_array()) {
      if (step.is_object() && step.get_object().contains("normalizers")) return refused("normalizer", normalizer);
      SHOAL_TRY(read_normalizer(step, spaces));
    }
    return {};
  }
  const json::value space(kSpace);
  const json::value* prepended = fields.if_contains("prepend");
  if (*type == "Prepend" && prepended != nullptr && *prepended == space) {
    spaces.prefixed = true;
    return {};
  }
  const json::value* pattern = fields.if_contains("pattern");
  const json::value* content = fields.if_contains("content");
  if (*type == "Replace" && pattern != nullptr && *pattern == json::value({{"String", " "}}) && content != nullptr &&
      *content == space) {
    spaces.marked = true;
    return {};
  }
  return refused("normalizer", normalizer);
}

// Source: pre_tokenizers/metaspace.rs of the tokenizers library.
Result<void> read_metaspace(const json::value& definition, Spaces& spaces) {
  const json::object* fields = definition.if_object();
  const json::value* type = fields != nullptr ? fields->if_contains("type") : nullptr;
  const json::value* replacement = fields != nullptr ? fields->if_contains("replacement") : nullptr;
  if (type == nullptr || *type != "Metaspace" || replacement == nullptr || *replacement != json::value(kSpace))
    return refused("pre-tokenizer", definition);
  const Fields metaspace("tokenizer.json: 'pre_tokenizer'", *fields);
  const bool older = SHOAL_TRY(metaspace.boolean("add_prefix_space", true));
  const std::string scheme = SHOAL_TRY(metaspace.text("prepend_scheme", older ? "always" : "never"));
  if (scheme != "always" && scheme != "first" && scheme != "never") return refused("pre-tokenizer", definition);
  spaces.marked = true;
  spaces.prefixed = spaces.prefixed || scheme != "never";
  spaces.cut = SHOAL_TRY(metaspace.boolean("split", true));
  return {};
}

// llama.cpp does not cut at spaces; it makes no difference when no token goes on after one.
Result<void> check_cuts(const Vocabulary& vocabulary) {
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const std::string& token = vocabulary.tokens[id];
    if (vocabulary.types[id] == TokenType::kNormal && token.find(kSpace, 1) != std::string::npos)
      return Error(ErrorCode::kUnimplemented,
                   fmt::format("tokenizer.json: the pre-tokenizer cuts at spaces, but the token '{}' goes across one, "
                               "and llama.cpp would use it",
                               token));
  }
  return {};
}

Result<void> mark_bytes(Vocabulary& vocabulary) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string token = fmt::format("<0x{:02X}>", byte);
    const auto found = vocabulary.ids.find(token);
    if (found == vocabulary.ids.end())
      return Error(ErrorCode::kModelInvalid,
                   fmt::format("tokenizer.json: 'byte_fallback' is set, but there is no token {}", token));
    vocabulary.types[found->second] = TokenType::kByte;
  }
  return {};
}

// llama.cpp looks for added tokens before it marks spaces.
Result<void> unmark_added(Vocabulary& vocabulary) {
  for (std::uint32_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (vocabulary.types[id] != TokenType::kUserDefined) continue;
    std::string text = vocabulary.tokens[id];
    for (std::size_t at = text.find(kSpace); at != std::string::npos; at = text.find(kSpace, at))
      text.replace(at, kSpace.size(), " ");
    if (text == vocabulary.tokens[id]) continue;
    if (!vocabulary.ids.emplace(text, id).second)
      return Error(ErrorCode::kModelInvalid, fmt::format("tokenizer.json: two tokens are both '{}'", text));
    vocabulary.ids.erase(vocabulary.tokens[id]);
    vocabulary.tokens[id] = text;
  }
  return {};
}

}  // namespace

std::vector<float> merge_scores(const Merges& merges, const Vocabulary& vocabulary) {
  std::vector<float> scores(vocabulary.tokens.size(), kNeverMade);
  for (std::size_t rank = merges.size(); rank-- > 0;) {
    const auto made = vocabulary.ids.find(merges[rank].first + merges[rank].second);
    if (made != vocabulary.ids.end()) scores[made->second] = 0.0F - static_cast<float>(rank);
  }
  return scores;
}

Result<TokenizerKind> read_spm(const Fields& tokenizer, Vocabulary& vocabulary) {
  const Fields model = SHOAL_TRY(tokenizer.object("model"));
  if (SHOAL_TRY(model.boolean("ignore_merges", false)))
    return Error(ErrorCode::kUnimplemented, "tokenizer.json: 'ignore_merges' with 'byte_fallback' is not converted");
  Spaces spaces;
  if (const json::value* normalizer = tokenizer.find("normalizer"); normalizer != nullptr)
    SHOAL_TRY(read_normalizer(*normalizer, spaces));
  if (const json::value* definition = tokenizer.find("pre_tokenizer"); definition != nullptr)
    SHOAL_TRY(read_metaspace(*definition, spaces));
  if (!spaces.marked)
    return Error(ErrorCode::kUnimplemented,
                 "tokenizer.json: neither the normalizer nor the pre-tokenizer marks spaces with U+2581");
  if (spaces.cut) SHOAL_TRY(check_cuts(vocabulary));
  TokenizerKind kind{.model = "llama", .pre = "default", .add_space_prefix = spaces.prefixed, .adds_bos = true};
  kind.scores = merge_scores(SHOAL_TRY(read_merges(model, vocabulary)), vocabulary);
  SHOAL_TRY(mark_bytes(vocabulary));
  if (const auto unknown = vocabulary.ids.find(SHOAL_TRY(model.text("unk_token", ""))); unknown != vocabulary.ids.end())
    vocabulary.types[unknown->second] = TokenType::kUnknown;
  SHOAL_TRY(unmark_added(vocabulary));
  return kind;
}

}  // namespace shoal::models::convert
