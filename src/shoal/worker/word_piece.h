// The tokenizer of BERT models, as its authors wrote it: clean, split, longest match first.
// Place: worker/. Use: one per model, built from the model file's tokens; llama.cpp's own differs on Hangul, on spacing
// vowel signs (Devanagari, Bengali, Tamil), on control characters and on words of more than 100 letters, and every
// such text would get an embedding of its own.
// Threads: const after construction.
// Source: BertNormalizer, BertPreTokenizer and WordPiece of huggingface/tokenizers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace shoal::worker {

struct WordPieceOptions {
  bool lowercase = true;
  bool strip_accents = true;
  std::int32_t unknown = 0;  // for a word that the vocabulary cannot spell
};

class WordPiece {
 public:
  // `tokens` by id, as model files write them: "▁" before those that begin a word, nothing before the others.
  WordPiece(std::span<const std::string> tokens, WordPieceOptions options);

  // Without [CLS] and [SEP], which are never read from the text either. Bytes that are no UTF-8 are left out.
  [[nodiscard]] std::vector<std::int32_t> tokenize(std::string_view text) const;

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  using Ids = std::unordered_map<std::string, std::int32_t, Hash, std::equal_to<>>;

  void append_word(std::string_view word, std::size_t letters, std::vector<std::int32_t>& ids) const;

  WordPieceOptions options_;
  Ids beginnings_;
  Ids continuations_;
  std::size_t longest_ = 0;  // bytes of a token
};

}  // namespace shoal::worker
