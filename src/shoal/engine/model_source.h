// Where the engine learns which models exist: a list and a look-up by name, from memory. Implemented by
// models/ (through cli/'s wiring); tests use a fake. Kept small so that the engine does not know the store.
// Owned by cli/'s App; outlives the Supervisor. Threads: the I/O thread; neither call may block.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/types/model.h"

namespace shoal::engine {

// What the memory prediction needs of a GGUF's metadata; 0: not known, the prediction then uses the file alone.
struct ModelShape {
  std::uint32_t layers = 0;        // <arch>.block_count
  std::uint32_t kv_heads = 0;      // <arch>.attention.head_count_kv
  std::uint32_t key_length = 0;    // <arch>.attention.key_length, or embedding_length / head_count
  std::uint32_t value_length = 0;  // <arch>.attention.value_length, or the same
  std::uint32_t vocabulary = 0;    // elements of tokenizer.ggml.tokens
  std::uint32_t feed_forward = 0;  // <arch>.feed_forward_length
};

struct LocalModel {
  types::ModelInfo info;
  ModelShape shape;
};

class ModelSource {
 public:
  virtual ~ModelSource() = default;
  [[nodiscard]] virtual std::vector<types::ModelInfo> list() const = 0;
  // Errors: kModelNotFound, with the nearest name as its suggestion.
  [[nodiscard]] virtual Result<LocalModel> resolve(const std::string& name) const = 0;
};

}  // namespace shoal::engine
