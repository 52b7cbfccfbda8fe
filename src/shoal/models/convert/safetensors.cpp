#include "shoal/models/convert/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstring>
#include <system_error>

#include <fmt/format.h>

#include <boost/json.hpp>

namespace shoal::models::convert {
namespace {

namespace json = boost::json;

// The format's own limit.
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;

Error invalid(std::string why) {
  return {ErrorCode::kModelInvalid, "safetensors: " + std::move(why)};
}

std::uint64_t bytes_of(DType type) {
  return type == DType::kF32 ? 4 : 2;
}

Result<TensorEntry> parse_tensor(const std::string& name, const json::value& value, std::uint64_t data_begin,
                                 std::uint64_t data_bytes) {
  const json::object* object = value.if_object();
  const json::value* dtype = object != nullptr ? object->if_contains("dtype") : nullptr;
  const json::value* shape = object != nullptr ? object->if_contains("shape") : nullptr;
  const json::value* offsets = object != nullptr ? object->if_contains("data_offsets") : nullptr;
  if (dtype == nullptr || shape == nullptr || offsets == nullptr || !dtype->is_string() || !shape->is_array() ||
      !offsets->is_array() || offsets->get_array().size() != 2 || shape->get_array().size() > 8) {
    return invalid(fmt::format("tensor '{}': wanted dtype, shape and two data_offsets", name));
  }
  TensorEntry tensor;
  const std::string_view type = dtype->get_string();
  tensor.dtype = type == "F32"    ? DType::kF32
                 : type == "F16"  ? DType::kF16
                 : type == "BF16" ? DType::kBf16
                                  : DType::kOther;
  std::array<std::uint64_t, 2> range{};
  for (std::size_t i = 0; i < 2; ++i) {
    std::error_code why;
    range[i] = offsets->get_array()[i].to_number<std::uint64_t>(why);
    if (why || range[i] > data_bytes)
      return invalid(fmt::format("tensor '{}': its data is not within the {} bytes of the file", name, data_bytes));
  }
#ifndef SHOAL_PLANTED_BUG
  if (range[1] < range[0]) return invalid(fmt::format("tensor '{}': its data ends before it begins", name));
#endif
  tensor.begin = data_begin + range[0];
  tensor.bytes = range[1] - range[0];
  std::uint64_t elements = 1;
  for (const json::value& dim : shape->get_array()) {
    std::error_code why;
    const auto length = dim.to_number<std::uint64_t>(why);
    if (why || __builtin_mul_overflow(elements, length, &elements))
      return invalid(fmt::format("tensor '{}': its shape is out of range", name));
    tensor.shape.push_back(length);
  }
  if (tensor.dtype != DType::kOther && (elements > data_bytes || elements * bytes_of(tensor.dtype) != tensor.bytes)) {
    return invalid(fmt::format("tensor '{}': {} elements of {} are not {} bytes", name, elements, type, tensor.bytes));
  }
  return tensor;
}

}  // namespace

std::uint64_t TensorEntry::elements() const {
  std::uint64_t product = 1;
  for (const std::uint64_t dim : shape) product *= dim;  // checked for overflow when it was read
  return product;
}

Result<std::map<std::string, TensorEntry>> parse_header(std::string_view json_header, std::uint64_t file_bytes) {
  const std::uint64_t data_begin = 8 + json_header.size();
  if (data_begin > file_bytes) return invalid("the header is longer than the file");
  std::error_code fault;
  const json::value root = json::parse(json_header, fault);
  if (fault || !root.is_object()) return invalid("the header is not a JSON object");
  std::map<std::string, TensorEntry> tensors;
  for (const auto& [name, value] : root.get_object()) {
    if (name == "__metadata__") continue;
    tensors[std::string(name)] = SHOAL_TRY(parse_tensor(std::string(name), value, data_begin, file_bytes - data_begin));
  }
  std::vector<const TensorEntry*> by_begin;
  for (const auto& [name, tensor] : tensors) by_begin.push_back(&tensor);
  std::ranges::sort(by_begin, {}, &TensorEntry::begin);
  for (std::size_t i = 1; i < by_begin.size(); ++i) {
    if (by_begin[i - 1]->begin + by_begin[i - 1]->bytes > by_begin[i]->begin) return invalid("two tensors overlap");
  }
  return tensors;
}

Result<Safetensors> Safetensors::open(const std::filesystem::path& path) {
  Safetensors file;
  file.path_ = path;
  file.in_.open(path, std::ios::binary);
  std::error_code why;
  const std::uint64_t file_bytes = std::filesystem::file_size(path, why);
  if (why || !file.in_) return Error(ErrorCode::kIo, fmt::format("cannot open {}", path.string()));
  std::uint64_t header_bytes = 0;
  file.in_.read(reinterpret_cast<char*>(&header_bytes), sizeof header_bytes);
  if (!file.in_ || header_bytes > kMaxHeaderBytes || header_bytes > file_bytes - 8) {
    return invalid(
        fmt::format("{} announces a header of {} bytes in a file of {}", path.string(), header_bytes, file_bytes));
  }
  std::string header(header_bytes, '\0');
  file.in_.read(header.data(), static_cast<std::streamsize>(header.size()));
  if (!file.in_) return invalid(fmt::format("{} ends within its header", path.string()));
  auto tensors = parse_header(header, file_bytes);
  if (!tensors.ok())
    return Error(tensors.error().code(), fmt::format("{}: {}", path.filename().string(), tensors.error().message()));
  file.tensors_ = std::move(tensors).value();
  return file;
}

Result<std::vector<float>> Safetensors::read(const TensorEntry& tensor, std::uint64_t first, std::uint64_t count) {
  if (tensor.dtype == DType::kOther) return invalid("a weight is stored as something other than F32, F16 or BF16");
  assert(first + count <= tensor.elements());
  const std::uint64_t width = bytes_of(tensor.dtype);
  std::string raw(count * width, '\0');
  in_.clear();
  in_.seekg(static_cast<std::streamoff>(tensor.begin + first * width));
  in_.read(raw.data(), static_cast<std::streamsize>(raw.size()));
  if (!in_) return Error(ErrorCode::kIo, fmt::format("cannot read {}", path_.string()));
  std::vector<float> values(count);
  if (tensor.dtype == DType::kF32) {
    std::memcpy(values.data(), raw.data(), raw.size());
    return values;
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, raw.data() + 2 * i, sizeof bits);
    values[i] = tensor.dtype == DType::kF16 ? static_cast<float>(std::bit_cast<_Float16>(bits))
                                            : std::bit_cast<float>(std::uint32_t{bits} << 16);
  }
  return values;
}

}  // namespace shoal::models::convert
