#include "shoal/models/convert/byte_bpe.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <boost/json.hpp>

namespace shoal::models::convert {
namespace {

namespace json = boost::json;

// A step of a pre-tokenizer in one line; "" for one that is never the same as llama.cpp's.
constexpr std::string_view kBytes = "bytes";
constexpr std::string_view kGpt2Bytes = "gpt-2 words, bytes";
constexpr std::string_view kDigits = "digits";

struct Known {
  std::string_view name;
  bool ignores_merges;
  std::vector<std::string_view> steps;
};

// Source: the expressions of llm_tokenizer_bpe and the flags of llama_vocab::impl::load in llama.cpp's
// src/llama-vocab.cpp; where it adapts one, the original is in a comment beside it.
std::vector<Known> known_pre_tokenizers() {
  constexpr std::string_view kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
  constexpr std::string_view kLlama3 =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  constexpr std::string_view kQwen2 =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  constexpr std::string_view kSeedCoder =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+)";
  return {
      {"gpt-2", false, {kGpt2Bytes}},
      {"gpt-2", false, {kGpt2, kBytes}},
      {"smollm", false, {kDigits, kGpt2Bytes}},
      {"llama-bpe", true, {kLlama3, kBytes}},
      {"smaug-bpe", false, {kLlama3, kBytes}},
      {"qwen2", false, {kQwen2, kBytes}},
      {"seed-coder", false, {kSeedCoder, kBytes}},
      {"deepseek-coder",
       false,
       {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", "[一-龥ࠀ-一가-퟿]+", kDigits, kBytes}},
  };
}

// Some files have the control characters themselves where others have their escapes.
std::string spelled(std::string_view regex) {
  std::string out;
  for (const char c : regex) {
    if (c == '\r' || c == '\n') {
      out += c == '\r' ? "\\r" : "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

bool is(const json::object& step, std::string_view key, const json::value& wanted) {
  const json::value* value = step.if_contains(key);
  return value != nullptr && *value == wanted;
}

std::string describe_step(const json::object& step) {
  if (is(step, "type", "Digits")) return std::string(is(step, "individual_digits", true) ? kDigits : "");
  if (is(step, "type", "ByteLevel")) {
    if (!is(step, "add_prefix_space", false)) return "";
    return std::string(is(step, "use_regex", false) ? kBytes : kGpt2Bytes);
  }
  const json::value* pattern = step.if_contains("pattern");
  const json::value* regex =
      pattern != nullptr && pattern->is_object() ? pattern->get_object().if_contains("Regex") : nullptr;
  if (!is(step, "type", "Split") || regex == nullptr || !regex->is_string()) return "";
  // The same for expressions that leave nothing out.
  const bool isolates = (is(step, "behavior", "Isolated") && !is(step, "invert", true)) ||
                        (is(step, "behavior", "Removed") && is(step, "invert", true));
  return isolates ? spelled(regex->get_string()) : "";
}

std::vector<std::string> describe_steps(const json::value& definition) {
  const json::object* step = definition.if_object();
  if (step == nullptr) return {""};
  if (!is(*step, "type", "Sequence")) return {describe_step(*step)};
  const json::value* steps = step->if_contains("pretokenizers");
  std::vector<std::string> described;
  if (steps == nullptr || !steps->is_array()) return described;
  for (const json::value& one : steps->get_array())
    described.push_back(one.is_object() ? describe_step(one.get_object()) : "");
  return described;
}

// llama.cpp does not normalize. What NFC changes is rare enough that its own converter lets it pass.
bool is_harmless_normalizer(const json::value& normalizer) {
  const json::object* fields = normalizer.if_object();
  if (fields == nullptr) return false;
  if (is(*fields, "type", "NFC")) return true;
  const json::value* steps = fields->if_contains("normalizers");
  return is(*fields, "type", "Sequence") && steps != nullptr && steps->is_array() &&
         std::ranges::all_of(steps->get_array(), is_harmless_normalizer);
}

}  // namespace

Result<std::string> pre_tokenizer_name(const json::value& definition, bool ignores_merges) {
  const std::vector<std::string> steps = describe_steps(definition);
  for (const Known& known : known_pre_tokenizers()) {
    if (known.ignores_merges == ignores_merges && std::ranges::equal(known.steps, steps))
      return std::string(known.name);
  }
  return Error(ErrorCode::kUnimplemented,
               fmt::format("tokenizer.json: llama.cpp has no pre-tokenizer that is known to cut as {}{}",
                           shortened(definition, 300), ignores_merges ? " with ignore_merges" : ""));
}

Result<TokenizerKind> read_byte_bpe(const Fields& tokenizer, const Vocabulary& vocabulary) {
  const Fields model = SHOAL_TRY(tokenizer.object("model"));
  if (const json::value* normalizer = tokenizer.find("normalizer");
      normalizer != nullptr && !is_harmless_normalizer(*normalizer)) {
    return Error(ErrorCode::kUnimplemented, fmt::format("tokenizer.json: the normalizer {} is not converted for a "
                                                        "byte-level BPE",
                                                        shortened(*normalizer, 300)));
  }
  const json::value* definition = tokenizer.find("pre_tokenizer");
  const bool ignores_merges = SHOAL_TRY(model.boolean("ignore_merges", false));
  TokenizerKind kind{.model = "gpt2"};
  kind.pre = SHOAL_TRY(pre_tokenizer_name(definition == nullptr ? json::value() : *definition, ignores_merges));
  for (const auto& [left, right] : SHOAL_TRY(read_merges(model, vocabulary)))
    kind.merges.push_back(fmt::format("{} {}", left, right));
  if (kind.merges.empty()) return model.wrong("merges", "merges");
  return kind;
}

}  // namespace shoal::models::convert
