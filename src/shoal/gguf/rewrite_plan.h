// What becomes of each tensor when a model's weights are rewritten in another type: the matrices that are multiplied
// change, norms, vectors and small tables stay. The gateway asks to predict sizes and to say why a type does not
// apply; worker/llama carries the same plan out. Pure. Threads: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/gguf/reader.h"

namespace shoal::gguf {

struct RewritePlan {
  std::vector<std::uint32_t> types;  // of header.tensors, in their order
  std::vector<std::uint64_t> bytes;
  std::size_t changed = 0;
  std::uint64_t weight_bytes = 0;
};

// The types that weights may be rewritten in, most bits first.
[[nodiscard]] std::span<const std::uint32_t> rewrite_types();

// Errors: kUnsupportedParameter, with the reason in words: rows that are no multiple of the type's block, a model that
// has this type already, one file of several.
[[nodiscard]] Result<RewritePlan> plan_rewrite(const Header& header, std::uint32_t type);

// The type of most weights.
[[nodiscard]] std::uint32_t main_type(const Header& header);

// `general.file_type` of a file whose weights have that type: llama_ftype of llama.h. REQUIRES: one of rewrite_types().
[[nodiscard]] std::uint32_t file_type_number(std::uint32_t type);

}  // namespace shoal::gguf
