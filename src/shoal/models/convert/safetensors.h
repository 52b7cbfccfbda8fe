// A bounded reader of safetensors: the header is JSON of a stated length, the tensors follow. Like GGUF it is hostile
// input: the header has a cap, every range is checked against the file, and ranges may not overlap.
// Threads: one caller per object.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"

namespace shoal::models::convert {

enum class DType : std::uint8_t { kF32, kF16, kBf16, kOther };

struct TensorEntry {
  DType dtype = DType::kOther;
  std::vector<std::uint64_t> shape;  // row-major, outermost first
  std::uint64_t begin = 0;           // in the file
  std::uint64_t bytes = 0;

  [[nodiscard]] std::uint64_t elements() const;
};

// The header of a file of `file_bytes`, given its first bytes (8 and the JSON). Errors: kModelInvalid.
[[nodiscard]] Result<std::map<std::string, TensorEntry>> parse_header(std::string_view json_header,
                                                                      std::uint64_t file_bytes);

class Safetensors {
 public:
  // Errors: kIo, kModelInvalid.
  static Result<Safetensors> open(const std::filesystem::path& path);

  [[nodiscard]] const std::map<std::string, TensorEntry>& tensors() const { return tensors_; }
  // Elements first to first + count, as 32-bit floats whatever they are stored as. REQUIRES: the tensor has them.
  // Errors: kIo, kModelInvalid for types that are no floats.
  [[nodiscard]] Result<std::vector<float>> read(const TensorEntry& tensor, std::uint64_t first, std::uint64_t count);

 private:
  std::ifstream in_;
  std::filesystem::path path_;
  std::map<std::string, TensorEntry> tensors_;
};

}  // namespace shoal::models::convert
