// How keys and values are stored in a worker's KV cache: f16, or blocks of 32 values with a scale. Both ends of ipc/
// and the memory prediction use this file. Threads: any, as plain data.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace shoal::types {

enum class KvType : std::uint8_t { kF16, kQ8, kQ4 };
inline constexpr KvType kLastKvType = KvType::kQ4;

struct KvFormat {
  std::string_view name;      // in the configuration, on the worker's command line and in `shoal ps`
  std::uint32_t block;        // values that share a scale; a head's width must be a multiple of it
  std::uint32_t block_bytes;  // source: ggml-common.h, block_q8_0 and block_q4_0
};
inline constexpr std::array<KvFormat, 3> kKvFormats = {{{"f16", 1, 2}, {"q8_0", 32, 34}, {"q4_0", 32, 18}}};

[[nodiscard]] constexpr const KvFormat& format_of(KvType type) {
  return kKvFormats[static_cast<std::size_t>(type)];
}

[[nodiscard]] constexpr std::optional<KvType> kv_type_named(std::string_view name) {
  for (std::size_t i = 0; i < kKvFormats.size(); ++i) {
    if (kKvFormats[i].name == name) return static_cast<KvType>(i);
  }
  return std::nullopt;
}

}  // namespace shoal::types
