// What a conversion writes: one entry per tensor of the GGUF, and the bytes of each. Inside models/convert only.
// Threads: any.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/models/convert/weights.h"

namespace shoal::models::convert {

struct PlannedTensor {
  std::string name;                // in the GGUF
  const Weight* source = nullptr;  // of the Weights that the plan was made from; null: `values` are the tensor
  std::vector<float> values = {};
  std::uint32_t heads = 0;  // not 0: the rows are reordered by interleave_rows
  bool exact = false;       // stays F32 although it is a matrix
  [[nodiscard]] bool is_f32() const { return exact || shape().size() < 2; }
  [[nodiscard]] std::vector<std::uint64_t> shape() const;  // row-major, outermost first
};

// From Hugging Face's order of the rows of a query or key projection (a head's first halves, then its second halves)
// to llama.cpp's (the two that rotate together are neighbours). `matrix` has `heads` * an even number of rows.
// Source: LlamaModel.permute of llama.cpp's conversion/llama.py.
[[nodiscard]] std::string interleave_rows(std::string_view matrix, std::uint64_t rows, std::uint32_t heads);

// As the GGUF holds it: F32, or F16 rounded to nearest even. Errors: as Weights::read; kModelInvalid for a value that
// F16 cannot hold.
[[nodiscard]] Result<std::string> tensor_data(const PlannedTensor& planned, Weights& weights);

}  // namespace shoal::models::convert
