// The tensors of a model folder: model.safetensors, or the shards that model.safetensors.index.json names. Names of
// shards are hostile input: they stay inside the folder. Inside models/convert only. Threads: one caller per object.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/models/convert/safetensors.h"

namespace shoal::models::convert {

struct Weight {
  std::size_t shard = 0;
  TensorEntry entry;
};
using WeightMap = std::map<std::string, Weight>;

class Weights {
 public:
  // Errors: kIo; kModelInvalid, also for an index that names a shard outside of the folder or a tensor that its shard
  // lacks.
  static Result<Weights> open(const std::filesystem::path& folder);

  [[nodiscard]] const WeightMap& tensors() const { return tensors_; }
  // As Safetensors::read.
  [[nodiscard]] Result<std::vector<float>> read(const Weight& weight, std::uint64_t first, std::uint64_t count);

 private:
  Result<void> open_index(const std::filesystem::path& folder);

  std::vector<Safetensors> shards_;
  WeightMap tensors_;
};

}  // namespace shoal::models::convert
