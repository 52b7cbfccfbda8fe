// The tokenizer of a Llama folder: tokenizer.json, tokenizer_config.json and the chat template. Two kinds are
// converted: byte-level BPE (byte_bpe.h) and the BPE that fast tokenizers make of SentencePiece models (spm.h).
// Inside models/convert only. Threads: any.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <boost/json/fwd.hpp>

#include "shoal/base/result.h"
#include "shoal/gguf/writer.h"
#include "shoal/models/convert/fields.h"

namespace shoal::models::convert {

// llama.cpp's token types.
enum class TokenType : std::int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

// The tokens by id, without holes: ids that no token has are filled as llama.cpp's converter does, "[PAD7]".
struct Vocabulary {
  std::vector<std::string> tokens;
  std::vector<TokenType> types;
  std::unordered_map<std::string, std::uint32_t> ids;
};

using Merges = std::vector<std::pair<std::string, std::string>>;  // best first

// What depends on the kind of tokenizer. Only one of merges and scores is filled.
struct TokenizerKind {
  std::string model = {};  // tokenizer.ggml.model
  std::string pre = {};    // tokenizer.ggml.pre
  bool add_space_prefix = false;
  bool adds_bos = false;  // when nothing says whether
  std::vector<std::string> merges = {};
  std::vector<float> scores = {};
};

// Vocabulary and merges of a tokenizer.json. Errors: kModelInvalid; kUnimplemented for another model than BPE.
[[nodiscard]] Result<Vocabulary> read_vocabulary(const Fields& tokenizer, std::uint32_t size);
[[nodiscard]] Result<Merges> read_merges(const Fields& model, const Vocabulary& vocabulary);

// Everything under tokenizer.*. Errors: kModelInvalid; kUnimplemented for what llama.cpp would tokenize otherwise.
[[nodiscard]] Result<void> write_tokenizer(const std::filesystem::path& folder, const boost::json::object& config,
                                           std::uint32_t vocabulary_size, gguf::Writer& writer);

}  // namespace shoal::models::convert
