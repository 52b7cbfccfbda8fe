// Where the engine learns which models exist: a list and a look-up by name. Implemented by models/ (through cli/'s
// wiring); tests use a fake. Kept small so that the engine does not know the store.
// Owned by cli/'s App; outlives the Supervisor. Threads: the I/O thread; both calls come with every request, so they
// answer from memory and look at the disk only when something there has changed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/types/model.h"

namespace shoal::engine {

// What the memory prediction needs of a GGUF's metadata; shape_of() in memory_estimate.h reads it from a header.
// 0: not known.
struct ModelShape {
  std::uint64_t kv_bytes_per_token = 0;  // keys and values over all layers, f16
  std::uint64_t vocabulary = 0;          // tokens
  std::uint64_t feed_forward = 0;        // width, <arch>.feed_forward_length
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
