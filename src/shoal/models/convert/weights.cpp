#include "shoal/models/convert/weights.h"

#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include <boost/json.hpp>

#include "shoal/models/convert/fields.h"

namespace shoal::models::convert {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::string_view kSingle = "model.safetensors";
constexpr std::string_view kIndex = "model.safetensors.index.json";
// Each shard stays open; the largest models in use have fewer than 200.
constexpr std::size_t kMaxShards = 256;

bool stays_inside(std::string_view name) {
  return name.ends_with(".safetensors") && !name.contains('/') && !name.contains("..") && !name.contains('\0');
}

}  // namespace

Result<Weights> Weights::open(const fs::path& folder) {
  Weights weights;
  std::error_code ignored;
  // The order in which transformers looks for them.
  if (!fs::exists(folder / kSingle, ignored) && fs::exists(folder / kIndex, ignored)) {
    SHOAL_TRY(weights.open_index(folder));
    return weights;
  }
  weights.shards_.push_back(SHOAL_TRY(Safetensors::open(folder / kSingle)));
  for (const auto& [name, entry] : weights.shards_[0].tensors()) weights.tensors_[name] = {0, entry};
  return weights;
}

Result<void> Weights::open_index(const fs::path& folder) {
  const json::object index = SHOAL_TRY(read_json(folder / kIndex));
  const Fields fields{std::string(kIndex), index};
  std::map<std::string, std::size_t, std::less<>> opened;
  for (const auto& [name, file] : *SHOAL_TRY(fields.members("weight_map"))) {
    const std::string_view shard = file.is_string() ? std::string_view(file.get_string()) : std::string_view();
    if (!stays_inside(shard)) {
      return Error(ErrorCode::kModelInvalid,
                   fmt::format("{}: wanted the name of a safetensors file of this folder for the tensor '{}', got {}",
                               kIndex, std::string_view(name), shortened(file)));
    }
    auto at = opened.find(shard);
    if (at == opened.end()) {
      if (shards_.size() == kMaxShards)
        return Error(ErrorCode::kModelInvalid, fmt::format("{}: more than {} shards", kIndex, kMaxShards));
      at = opened.emplace(shard, shards_.size()).first;
      shards_.push_back(SHOAL_TRY(Safetensors::open(folder / shard)));
    }
    const auto& held = shards_[at->second].tensors();
    const auto entry = held.find(std::string(name));
    if (entry == held.end()) {
      return Error(ErrorCode::kModelInvalid, fmt::format("{}: the tensor '{}' is not in {}, where the index has it",
                                                         kIndex, std::string_view(name), shard));
    }
    tensors_[std::string(name)] = {at->second, entry->second};
  }
  return {};
}

Result<std::vector<float>> Weights::read(const Weight& weight, std::uint64_t first, std::uint64_t count) {
  return shards_[weight.shard].read(weight.entry, first, count);
}

}  // namespace shoal::models::convert
