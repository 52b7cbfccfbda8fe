#include "shoal/gguf/rewrite_plan.h"

#include <algorithm>
#include <array>
#include <map>
#include <string_view>

#include <fmt/format.h>

namespace shoal::gguf {
namespace {

constexpr std::uint32_t kF32 = 0;
constexpr std::uint32_t kF16 = 1;
constexpr std::uint32_t kQ8 = 8;
constexpr std::uint32_t kBF16 = 30;

struct Target {
  std::uint32_t type;
  std::uint32_t file_type;  // llama_ftype
};
// Types with kernels for rows of any model and no need of an importance matrix, which nobody has here.
constexpr std::array kTargets = {Target{8, 7},   Target{14, 18}, Target{13, 16}, Target{6, 8},
                                 Target{12, 14}, Target{20, 25}, Target{2, 2}};

// Matrices that are small or do more harm than they save. Source: tensor_allows_quantization() of llama-quant.cpp,
// llama.cpp v0.5.0.
constexpr std::array<std::string_view, 20> kKeptNames = {"_norm.weight",   "ffn_gate_inp",  "ffn_gate_tid2eid",
                                                         "altup",          "laurel",        "per_layer_model_proj",
                                                         "position_embd",  "token_types",   "ssm_conv1d",
                                                         "shortconv.conv", "indexer.",      "time_mix_",
                                                         "attn_rel_b",     "pos_embd",      "sam.",
                                                         ".rel_pos",       ".patch_embd",   ".patch_merger",
                                                         "a.rvq.codebook", "mm.a.code_embd"};

bool is_float(std::uint32_t type) {
  return type == kF32 || type == kF16 || type == kBF16;
}

std::uint64_t elements_of(const Tensor& tensor) {
  std::uint64_t elements = 1;
  for (const std::uint64_t dim : tensor.dims) elements *= dim;  // checked for overflow when it was read
  return elements;
}

// A matrix of weights. One of 32-bit floats in a file of another type was left so by whoever made the file.
bool is_weights(const Tensor& tensor, std::uint32_t main) {
  const auto dims = std::ranges::count_if(tensor.dims, [](std::uint64_t dim) { return dim > 1; });
  if (dims < 2 || !tensor.name.ends_with("weight")) return false;
  if (tensor.type == kF32 && main != kF32) return false;
  if (!is_float(tensor.type) && tensor.type >= 24 && tensor.type <= 28) return false;  // integers, F64
  return std::ranges::none_of(kKeptNames, [&](std::string_view kept) { return tensor.name.contains(kept); });
}

// The matrix of the last step, to which a loss of bits does the most harm: the embedding too when there is no other.
bool is_output(const Header& header, const Tensor& tensor) {
  if (tensor.name == "output.weight") return true;
  return tensor.name == "token_embd.weight" &&
         std::ranges::find(header.tensors, "output.weight", &Tensor::name) == header.tensors.end();
}

std::uint32_t planned_type(const Header& header, const Tensor& tensor, std::uint32_t main, std::uint32_t target) {
  if (!is_weights(tensor, main)) return tensor.type;
  if (!is_output(header, tensor) || bits_per_weight(target) >= bits_per_weight(kQ8)) return target;
  return bits_per_weight(tensor.type) < bits_per_weight(kQ8) ? tensor.type : kQ8;
}

}  // namespace

std::span<const std::uint32_t> rewrite_types() {
  static constexpr auto kTypes = [] {
    std::array<std::uint32_t, kTargets.size()> types{};
    std::ranges::transform(kTargets, types.begin(), &Target::type);
    return types;
  }();
  return kTypes;
}

std::uint32_t file_type_number(std::uint32_t type) {
  return std::ranges::find(kTargets, type, &Target::type)->file_type;
}

std::uint32_t main_type(const Header& header) {
  std::map<std::uint32_t, std::uint64_t> elements;
  for (const Tensor& tensor : header.tensors) {
    if (!is_output(header, tensor) && tensor.dims.size() > 1) elements[tensor.type] += elements_of(tensor);
  }
  const auto most = std::ranges::max_element(elements, {}, [](const auto& entry) { return entry.second; });
  return most == elements.end() ? kF32 : most->first;
}

Result<RewritePlan> plan_rewrite(const Header& header, std::uint32_t type) {
  const auto refuse = [](std::string why) { return Error(ErrorCode::kUnsupportedParameter, std::move(why)); };
  if (header.number("split.count").value_or(1) > 1) return refuse("the model is one file of several");
  const std::uint32_t main = main_type(header);
  RewritePlan plan;
  for (const Tensor& tensor : header.tensors) {
    const std::uint32_t to = planned_type(header, tensor, main, type);
    const auto bytes = tensor_bytes(to, elements_of(tensor), tensor.dims[0]);
    if (!bytes) {
      return refuse(fmt::format("rows of {} in {} are no multiple of the {} weights of a {} block", tensor.dims[0],
                                tensor.name, *block_length(to), type_name(to)));
    }
    plan.types.push_back(to);
    plan.bytes.push_back(*bytes);
    plan.changed += to != tensor.type ? 1 : 0;
    plan.weight_bytes += *bytes;
  }
  if (plan.changed == 0) return refuse("the model has this type already");
  return plan;
}

}  // namespace shoal::gguf
