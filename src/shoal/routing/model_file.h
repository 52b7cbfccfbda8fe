// What the files of learned models have in common: GGUF, with one JSON text for all that people may want to read and
// tensors for the rest. Internal to routing/. Threads: any; files block on the disk.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "shoal/base/result.h"
#include "shoal/gguf/reader.h"
#include "shoal/learning/trees.h"
#include "shoal/routing/gain_model.h"
#include "shoal/routing/json_file.h"

namespace shoal::routing {

inline constexpr std::uint32_t kF32 = 0;  // as ggml numbers the types
inline constexpr std::uint32_t kI8 = 24;
inline constexpr std::uint32_t kI32 = 26;

[[nodiscard]] inline Error bad_model(std::string message) {
  return {ErrorCode::kInvalidConfig, std::move(message)};
}

template <class Numbers>
std::string list(const Numbers& numbers) {
  std::string out;
  for (const auto number : numbers) {
    if (!out.empty()) out += ", ";
    out += json_number(static_cast<double>(number));
  }
  return "[" + out + "]";
}

// What goes into a tensor, column by column of the structures.
struct Block {
  std::string name;
  std::vector<std::uint64_t> dims;
  std::uint32_t type = kF32;
  std::vector<char> bytes;
};

template <class Number, class From, class Of>
Block block(std::string name, std::uint32_t type, const From& from, Of of) {
  Block out{std::move(name), {from.size()}, type, std::vector<char>(from.size() * sizeof(Number))};
  std::size_t at = 0;
  for (const auto& one : from) {
    const Number number = of(one);
    std::memcpy(out.bytes.data() + at, &number, sizeof(Number));
    at += sizeof(Number);
  }
  return out;
}

void add_tree_blocks(const learning::Trees& trees, std::vector<Block>& out);

[[nodiscard]] std::string print_origin(const GainOrigin& origin);
[[nodiscard]] GainOrigin read_origin(JsonReader from);
[[nodiscard]] std::string print_curve(std::span<const GainPoint> curve);
[[nodiscard]] std::vector<GainPoint> read_curve(JsonReader& from);
[[nodiscard]] std::vector<float> read_floats(JsonReader& from, std::string_view name);
[[nodiscard]] bool all_finite(std::span<const float> numbers);

// The file is there whole or not at all; its folder is made. Returns its SHA-256. Errors: kIo.
[[nodiscard]] Result<std::string> save_model(const std::filesystem::path& path, std::string_view architecture,
                                             std::string_view key, const std::string& head,
                                             std::span<const Block> blocks);
// Errors: kIo; kInvalidConfig for one that is too large.
[[nodiscard]] Result<std::vector<char>> read_model(const std::filesystem::path& path);
[[nodiscard]] std::string sha256_of(std::span<const char> bytes);

// The tensors of a file that is all in memory.
class Tensors {
 public:
  Tensors(const gguf::Header& header, std::span<const char> bytes) : header_(header), bytes_(bytes) {}

  [[nodiscard]] bool has(std::string_view name) const { return find(name) != nullptr; }

  template <class Number>
  [[nodiscard]] Result<std::vector<Number>> read(std::string_view name, std::uint32_t type) const {
    const gguf::Tensor* const tensor = find(name);
    if (tensor == nullptr) return bad_model(fmt::format("the tensor {} is missing", name));
    const std::uint64_t begin = header_.data_offset + tensor->offset;
    if (tensor->type != type || tensor->dims.size() != 1 || tensor->bytes % sizeof(Number) != 0 ||
        begin > bytes_.size() || tensor->bytes > bytes_.size() - begin)
      return bad_model(fmt::format("the tensor {} has another type or size", name));
    std::vector<Number> out(tensor->bytes / sizeof(Number));
    std::memcpy(out.data(), bytes_.data() + begin, tensor->bytes);
    return out;
  }

 private:
  [[nodiscard]] const gguf::Tensor* find(std::string_view name) const {
    const auto found = std::ranges::find(header_.tensors, name, &gguf::Tensor::name);
    return found == header_.tensors.end() ? nullptr : &*found;
  }

  const gguf::Header& header_;
  std::span<const char> bytes_;
};

// Nothing where there are no trees. Errors: kInvalidConfig.
[[nodiscard]] Result<void> read_trees(const Tensors& tensors, std::size_t features, learning::Trees& out);

}  // namespace shoal::routing
