// Converts a Hugging Face folder (config.json, tokenizer.json, safetensors) to a GGUF that llama.cpp loads: the BERT
// architecture with a WordPiece tokenizer, which is what small embedders are, and the Llama architecture with a BPE
// one. Others are refused by name, and so is what llama.cpp would compute otherwise. Matrices become F16; vectors,
// positions and token types stay F32, as llama.cpp's own converter does. Blocks. Threads: any.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "shoal/base/result.h"

namespace shoal::models::convert {

struct ConvertReport {
  std::string architecture;
  std::uint64_t tensors = 0;
  std::uint64_t parameters = 0;
};

// Writes `out` under a temporary name beside it, syncs and renames. Errors: kIo; kModelInvalid when a file is missing
// or says something that does not fit; kUnimplemented for an architecture or tokenizer that is not converted.
[[nodiscard]] Result<ConvertReport> convert_folder(const std::filesystem::path& folder,
                                                   const std::filesystem::path& out);

}  // namespace shoal::models::convert
