// ggml's tensor types as files name them: block length and bytes per block. Source: ggml.c of v0.5.0, type_traits.
#include <algorithm>
#include <array>
#include <cctype>

#include <fmt/format.h>

#include "shoal/gguf/reader.h"

namespace shoal::gguf {
namespace {

struct TypeInfo {
  std::uint32_t type;
  const char* name;
  std::uint32_t block;  // elements
  std::uint32_t block_bytes;
};

constexpr std::array kTypes = {
    TypeInfo{0, "F32", 1, 4},         TypeInfo{1, "F16", 1, 2},         TypeInfo{2, "Q4_0", 32, 18},
    TypeInfo{3, "Q4_1", 32, 20},      TypeInfo{6, "Q5_0", 32, 22},      TypeInfo{7, "Q5_1", 32, 24},
    TypeInfo{8, "Q8_0", 32, 34},      TypeInfo{9, "Q8_1", 32, 36},      TypeInfo{10, "Q2_K", 256, 84},
    TypeInfo{11, "Q3_K", 256, 110},   TypeInfo{12, "Q4_K", 256, 144},   TypeInfo{13, "Q5_K", 256, 176},
    TypeInfo{14, "Q6_K", 256, 210},   TypeInfo{15, "Q8_K", 256, 292},   TypeInfo{16, "IQ2_XXS", 256, 66},
    TypeInfo{17, "IQ2_XS", 256, 74},  TypeInfo{18, "IQ3_XXS", 256, 98}, TypeInfo{19, "IQ1_S", 256, 50},
    TypeInfo{20, "IQ4_NL", 32, 18},   TypeInfo{21, "IQ3_S", 256, 110},  TypeInfo{22, "IQ2_S", 256, 82},
    TypeInfo{23, "IQ4_XS", 256, 136}, TypeInfo{24, "I8", 1, 1},         TypeInfo{25, "I16", 1, 2},
    TypeInfo{26, "I32", 1, 4},        TypeInfo{27, "I64", 1, 8},        TypeInfo{28, "F64", 1, 8},
    TypeInfo{29, "IQ1_M", 256, 56},   TypeInfo{30, "BF16", 1, 2},       TypeInfo{34, "TQ1_0", 256, 54},
    TypeInfo{35, "TQ2_0", 256, 66},   TypeInfo{39, "MXFP4", 32, 17},
};

const TypeInfo* find(std::uint32_t type) {
  for (const TypeInfo& info : kTypes) {
    if (info.type == type) return &info;
  }
  return nullptr;
}

}  // namespace

std::optional<std::uint64_t> tensor_bytes(std::uint32_t type, std::uint64_t elements, std::uint64_t row) {
  const TypeInfo* info = find(type);
  if (info == nullptr || row % info->block != 0) return std::nullopt;
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(elements / info->block, std::uint64_t{info->block_bytes}, &bytes)) return std::nullopt;
  return bytes;
}

std::string type_name(std::uint32_t type) {
  const TypeInfo* info = find(type);
  return info != nullptr ? info->name : fmt::format("type {}", type);
}

std::optional<std::uint32_t> type_by_name(std::string_view name) {
  const auto same = [](char a, char b) {
    return std::toupper(static_cast<unsigned char>(a)) == std::toupper(static_cast<unsigned char>(b));
  };
  for (const TypeInfo& info : kTypes) {
    if (std::ranges::equal(name, std::string_view(info.name), same)) return info.type;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> block_length(std::uint32_t type) {
  const TypeInfo* info = find(type);
  return info != nullptr ? std::optional<std::uint64_t>(info->block) : std::nullopt;
}

double bits_per_weight(std::uint32_t type) {
  const TypeInfo* info = find(type);
  return info != nullptr ? 8.0 * info->block_bytes / info->block : 0;
}

}  // namespace shoal::gguf
