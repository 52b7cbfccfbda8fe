#include "shoal/models/convert/tokenizer.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <system_error>

#include <fmt/format.h>

#include <boost/json.hpp>

#include "shoal/models/convert/byte_bpe.h"
#include "shoal/models/convert/spm.h"

namespace shoal::models::convert {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::uintmax_t kMaxTemplateBytes = 1024 * 1024;

Error invalid(std::string why) {
  return {ErrorCode::kModelInvalid, std::move(why)};
}

// Some models mark control tokens as not special. Source: does_token_look_special of llama.cpp's conversion/base.py.
bool looks_special(std::string_view token) {
  return token == "<pad>" || token == "<mask>" || (token.starts_with("<|") && token.ends_with("|>")) ||
         (token.starts_with("<\xEF\xBD\x9C") && token.ends_with("\xEF\xBD\x9C>"));
}

Result<void> put_token(const std::string& text, const json::value* id, TokenType type, Vocabulary& into) {
  std::error_code why;
  const auto size = static_cast<std::uint32_t>(into.tokens.size());
  const auto at = id != nullptr && id->is_number() ? id->to_number<std::uint32_t>(why) : size;
  if (why || at >= size) {
    return invalid(fmt::format("tokenizer.json: the id of '{}' is {}; config.json's vocab_size makes it one of 0 to {}",
                               text, id == nullptr ? "missing" : shortened(*id), size - 1));
  }
  if (text.empty()) return {};  // never found in a text: the id is filled like one without a token
  if (!into.tokens[at].empty() && into.tokens[at] != text)
    return invalid(fmt::format("tokenizer.json: the id {} is both '{}' and '{}'", at, into.tokens[at], text));
  if (const auto known = into.ids.emplace(text, at).first; known->second != at)
    return invalid(fmt::format("tokenizer.json: '{}' has the ids {} and {}", text, known->second, at));
  into.tokens[at] = text;
  into.types[at] = type;
  return {};
}

Result<void> put_added_tokens(const Fields& tokenizer, Vocabulary& into) {
  if (tokenizer.lacks("added_tokens")) return {};
  for (const json::value& entry : *SHOAL_TRY(tokenizer.array("added_tokens"))) {
    if (!entry.is_object())
      return invalid(fmt::format("tokenizer.json: wanted objects in 'added_tokens', got {}", shortened(entry)));
    const Fields token("tokenizer.json: 'added_tokens'", entry.get_object());
    const std::string content = SHOAL_TRY(token.text("content"));
    const bool is_control = SHOAL_TRY(token.boolean("special", false)) || looks_special(content);
    SHOAL_TRY(put_token(content, token.find("id"), is_control ? TokenType::kControl : TokenType::kUserDefined, into));
  }
  return {};
}

struct SpecialTokens {
  std::optional<std::uint32_t> bos;
  std::optional<std::uint32_t> eos;
  std::optional<std::uint32_t> unknown;
  std::optional<std::uint32_t> padding;
};

// "<s>", or {"content": "<s>", ...}.
std::optional<std::string> token_text(const Fields& settings, std::string_view key) {
  const json::value* value = settings.find(key);
  if (value != nullptr && value->is_object()) value = value->get_object().if_contains("content");
  if (value == nullptr || !value->is_string()) return std::nullopt;
  return std::string(value->get_string());
}

// tokenizer_config.json names it; where it does not, config.json has its id, or a list of which the first counts.
Result<std::optional<std::uint32_t>> special_token(const Fields& settings, const Fields& config, std::string_view which,
                                                   const Vocabulary& vocabulary) {
  if (const auto text = token_text(settings, fmt::format("{}_token", which))) {
    const auto found = vocabulary.ids.find(*text);
    if (found != vocabulary.ids.end()) return std::optional(found->second);
    if (which == "bos" || which == "eos")
      return settings.wrong("a token that tokenizer.json has", fmt::format("{}_token", which));
  }
  const std::string key = fmt::format("{}_token_id", which);
  const json::value* value = config.find(key);
  if (value != nullptr && value->is_array() && !value->get_array().empty()) value = &value->get_array()[0];
  if (value == nullptr) return std::optional<std::uint32_t>();
  std::error_code why;
  const auto id = value->is_number() ? value->to_number<std::int64_t>(why) : -2;
  if (!why && id == -1) return std::optional<std::uint32_t>();  // how some write "none"
  if (why || id < 0 || id >= static_cast<std::int64_t>(vocabulary.tokens.size()))
    return config.wrong(fmt::format("an id from 0 to {}", vocabulary.tokens.size() - 1), key);
  return std::optional(static_cast<std::uint32_t>(id));
}

// The token that a TemplateProcessing puts at one end of a text; empty: none.
std::string template_token(const json::value& processor, bool at_begin) {
  const json::object* fields = processor.if_object();
  const json::value* type = fields != nullptr ? fields->if_contains("type") : nullptr;
  if (type == nullptr || !type->is_string()) return "";
  if (type->get_string() == "Sequence") {
    const json::value* all = fields->if_contains("processors");
    if (all == nullptr || !all->is_array()) return "";
    for (const json::value& one : all->get_array()) {
      if (std::string token = template_token(one, at_begin); !token.empty()) return token;
    }
    return "";
  }
  const json::value* single = fields->if_contains("single");
  if (type->get_string() != "TemplateProcessing" || single == nullptr || !single->is_array() ||
      single->get_array().empty())
    return "";
  const json::value& end = at_begin ? single->get_array().front() : single->get_array().back();
  const json::object* piece = end.if_object();
  const json::value* token = piece != nullptr ? piece->if_contains("SpecialToken") : nullptr;
  const json::value* id = token != nullptr && token->is_object() ? token->get_object().if_contains("id") : nullptr;
  return id != nullptr && id->is_string() ? std::string(id->get_string()) : "";
}

// Whether every text gets the token: as tokenizer_config.json says, else as the post-processor does.
Result<bool> is_added(const Fields& settings, const Fields& tokenizer, std::string_view which,
                      const std::optional<std::uint32_t>& id, const Vocabulary& vocabulary, bool otherwise) {
  const std::string key = fmt::format("add_{}_token", which);
  bool added = otherwise;
  if (const json::value* post = tokenizer.find("post_processor"); post != nullptr)
    added = id.has_value() && template_token(*post, which == "bos") == vocabulary.tokens[*id];
  added = SHOAL_TRY(settings.boolean(key, added));
  if (added && !id.has_value())
    return settings.wrong("a token, because it is to be added", fmt::format("{}_token", which));
  return added;
}

bool is_template_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 &&
         std::ranges::all_of(name, [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '-'; });
}

// chat_template.jinja goes before tokenizer_config.json, as transformers has it.
Result<void> write_chat_templates(const fs::path& folder, const Fields& settings, gguf::Writer& writer) {
  constexpr std::string_view kKey = "tokenizer.chat_template";
  std::error_code ignored;
  if (const fs::path file = folder / "chat_template.jinja"; fs::exists(file, ignored)) {
    writer.text(kKey, SHOAL_TRY(read_bytes(file, kMaxTemplateBytes)));
    return {};
  }
  const json::value* found = settings.find("chat_template");
  if (found == nullptr) return {};
  if (found->is_string()) {
    writer.text(kKey, found->get_string());
    return {};
  }
  if (!found->is_array()) return settings.wrong("a text or a list of named templates", "chat_template");
  std::vector<std::string> names;
  for (const json::value& entry : found->get_array()) {
    if (!entry.is_object()) return settings.wrong("objects with name and template", "chat_template");
    const Fields one(settings.where() + ": 'chat_template'", entry.get_object());
    const std::string name = SHOAL_TRY(one.text("name"));
    if (!is_template_name(name) || std::ranges::find(names, name) != names.end())
      return one.wrong("a name of its own", "name");
    writer.text(name == "default" ? std::string(kKey) : fmt::format("{}.{}", kKey, name),
                SHOAL_TRY(one.text("template")));
    names.push_back(name);
  }
  std::erase(names, "default");
  if (!names.empty()) writer.texts("tokenizer.chat_templates", names);
  return {};
}

void write_kind(const TokenizerKind& kind, const Vocabulary& vocabulary, gguf::Writer& writer) {
  writer.text("tokenizer.ggml.model", kind.model);
  writer.text("tokenizer.ggml.pre", kind.pre);
  writer.boolean("tokenizer.ggml.add_space_prefix", kind.add_space_prefix);
  writer.texts("tokenizer.ggml.tokens", vocabulary.tokens);
  if (!kind.scores.empty()) writer.f32s("tokenizer.ggml.scores", kind.scores);
  std::vector<std::int32_t> types;
  for (const TokenType type : vocabulary.types) types.push_back(static_cast<std::int32_t>(type));
  writer.i32s("tokenizer.ggml.token_type", types);
  if (!kind.merges.empty()) writer.texts("tokenizer.ggml.merges", kind.merges);
}

Result<void> write_special_tokens(const Fields& settings, const Fields& config, const Fields& tokenizer,
                                  const TokenizerKind& kind, const Vocabulary& vocabulary, gguf::Writer& writer) {
  SpecialTokens special;
  for (const auto& [which, id] :
       {std::pair{"bos", &special.bos}, {"eos", &special.eos}, {"unk", &special.unknown}, {"pad", &special.padding}}) {
    *id = SHOAL_TRY(special_token(settings, config, which, vocabulary));
  }
  // Without it llama.cpp takes a token that happens to have the id 2 or 11.
  if (!special.eos)
    return invalid("neither tokenizer_config.json nor config.json says what ends a text; wanted an eos_token");
  const bool adds_bos = SHOAL_TRY(is_added(settings, tokenizer, "bos", special.bos, vocabulary, kind.adds_bos));
  const bool adds_eos = SHOAL_TRY(is_added(settings, tokenizer, "eos", special.eos, vocabulary, false));
  writer.u32("tokenizer.ggml.bos_token_id",
             special.bos.value_or(*special.eos));  // else llama.cpp takes its own default
  writer.u32("tokenizer.ggml.eos_token_id", *special.eos);
  if (special.unknown) writer.u32("tokenizer.ggml.unknown_token_id", *special.unknown);
  if (special.padding) writer.u32("tokenizer.ggml.padding_token_id", *special.padding);
  writer.boolean("tokenizer.ggml.add_bos_token", adds_bos);
  writer.boolean("tokenizer.ggml.add_eos_token", adds_eos);
  return {};
}

// llama.cpp aborts on two tokens of one text.
Result<void> fill_holes(Vocabulary& vocabulary) {
  for (std::uint32_t id = 0; id < vocabulary.tokens.size(); ++id) {
    std::string& token = vocabulary.tokens[id];
    if (!token.empty()) continue;
    token = fmt::format("[PAD{}]", id);
    vocabulary.types[id] = TokenType::kUnused;
    if (!vocabulary.ids.emplace(token, id).second)
      return invalid(fmt::format("tokenizer.json: the token '{}' has the name of the unused id {}", token, id));
  }
  return {};
}

}  // namespace

Result<Vocabulary> read_vocabulary(const Fields& tokenizer, std::uint32_t size) {
  const Fields model = SHOAL_TRY(tokenizer.object("model"));
  if (SHOAL_TRY(model.text("type", "")) != "BPE") {
    const json::value* type = model.find("type");
    return Error(ErrorCode::kUnimplemented,
                 fmt::format("tokenizer.json: a tokenizer of the type {} is not converted for a Llama, only BPE is",
                             type == nullptr ? "null" : shortened(*type)));
  }
  for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"}) {
    const json::value* value = model.find(key);
    if (value != nullptr && *value != json::value(0.0) && *value != json::value(""))
      return Error(ErrorCode::kUnimplemented,
                   fmt::format("tokenizer.json: '{}' is {}, which is not converted", key, shortened(*value)));
  }
  Vocabulary vocabulary{std::vector<std::string>(size), std::vector(size, TokenType::kNormal), {}};
  for (const auto& [text, id] : *SHOAL_TRY(model.members("vocab")))
    SHOAL_TRY(put_token(std::string(text), &id, TokenType::kNormal, vocabulary));
  SHOAL_TRY(put_added_tokens(tokenizer, vocabulary));
  SHOAL_TRY(fill_holes(vocabulary));
  return vocabulary;
}

Result<Merges> read_merges(const Fields& model, const Vocabulary& vocabulary) {
  Merges merges;
  const json::array& entries = *SHOAL_TRY(model.array("merges"));
  merges.reserve(entries.size());
  for (const json::value& entry : entries) {
    std::string_view left;
    std::string_view right;
    if (entry.is_string()) {
      const std::string_view both = entry.get_string();
      const std::size_t space = both.find(' ');
      left = both.substr(0, space);
      right = space == std::string_view::npos ? "" : both.substr(space + 1);
    } else if (entry.is_array() && entry.get_array().size() == 2 && entry.get_array()[0].is_string() &&
               entry.get_array()[1].is_string()) {
      left = entry.get_array()[0].get_string();
      right = entry.get_array()[1].get_string();
    }
    if (left.empty() || right.empty() || left.contains(' ') || right.contains(' '))
      return invalid(fmt::format("tokenizer.json: wanted two pieces of a token in 'merges', got {}", shortened(entry)));
    merges.emplace_back(left, right);
    for (const std::string& piece : {merges.back().first, merges.back().second, std::string(left).append(right)}) {
      if (!vocabulary.ids.contains(piece))
        return invalid(fmt::format("tokenizer.json: the merge {} needs the token '{}', which is not in the vocabulary",
                                   shortened(entry), piece));
    }
  }
  return merges;
}

Result<void> write_tokenizer(const fs::path& folder, const json::object& config, std::uint32_t vocabulary_size,
                             gguf::Writer& writer) {
  const json::object tokenizer = SHOAL_TRY(read_json(folder / "tokenizer.json"));
  std::error_code ignored;
  const fs::path settings_path = folder / "tokenizer_config.json";
  const json::object settings =
      fs::exists(settings_path, ignored) ? SHOAL_TRY(read_json(settings_path)) : json::object();
  const Fields fields("tokenizer.json", tokenizer);
  const Fields settings_fields("tokenizer_config.json", settings);

  Vocabulary vocabulary = SHOAL_TRY(read_vocabulary(fields, vocabulary_size));
  const Fields model = SHOAL_TRY(fields.object("model"));
  const bool is_spm = SHOAL_TRY(model.boolean("byte_fallback", false));
  const TokenizerKind kind =
      is_spm ? SHOAL_TRY(read_spm(fields, vocabulary)) : SHOAL_TRY(read_byte_bpe(fields, vocabulary));
  write_kind(kind, vocabulary, writer);
  SHOAL_TRY(write_special_tokens(settings_fields, Fields("config.json", config), fields, kind, vocabulary, writer));
  return write_chat_templates(folder, settings_fields, writer);
}

}  // namespace shoal::models::convert
