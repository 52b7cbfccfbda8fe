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
  std::uint64_t kv_values_per_token = 0;  // numbers of keys and values over all layers
  std::uint64_t heads = 0;                // of queries
  std::uint32_t key_length = 0;           // width of a head's keys
  std::uint32_t value_length = 0;
  std::uint64_t layers = 0;
  std::uint64_t vocabulary = 0;    // tokens
  std::uint64_t merges = 0;        // pairs of a byte-pair vocabulary
  std::uint64_t feed_forward = 0;  // width, <arch>.feed_forward_length
  bool gated = false;              // feed-forward with a gate: three of that width live at once, not one
  // What every token of a prompt is multiplied with: all matrices but the table that it is looked up in and the one
  // that gives logits; of experts only those that are used.
  std::uint64_t prompt_parameters = 0;
  std::uint64_t step_bytes = 0;  // of weights that a decode step reads; of experts those of one token
  std::uint64_t weight_bytes = 0;
  std::uint64_t embedding_bytes = 0;  // of the table that an input token is looked up in
  std::uint32_t embedding_type = 0;   // its ggml_type
  bool tied = false;                  // that table is the output matrix too
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
