// Fuzzes the reader of safetensors headers. Input: 4 bytes, the file's size beyond the header, then the JSON. Beyond
// "no crash", a header that is accepted describes tensors that can be read blindly: inside the file, behind the header,
// apart from each other, and as long as their shape says.
// SHOAL_PLANTED_BUG forgets that data may not end before it begins (models/convert/safetensors.cpp): no seed does.
#include "shoal/models/convert/safetensors.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

namespace {

namespace convert = shoal::models::convert;

void require(bool condition) {
  if (!condition) std::abort();
}

void check_tensor(const convert::TensorEntry& tensor, std::uint64_t data_begin, std::uint64_t file_bytes) {
  require(tensor.begin >= data_begin && tensor.begin <= file_bytes && tensor.bytes <= file_bytes - tensor.begin);
  require(tensor.shape.size() <= 8);
  if (tensor.dtype == convert::DType::kOther) return;
  const std::uint64_t width = tensor.dtype == convert::DType::kF32 ? 4 : 2;
  require(tensor.elements() <= tensor.bytes && tensor.elements() * width == tensor.bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::uint32_t tail = 0;
  if (size < sizeof tail) return 0;
  std::memcpy(&tail, data, sizeof tail);
  const std::string_view text(reinterpret_cast<const char*>(data) + sizeof tail, size - sizeof tail);
  const std::uint64_t data_begin = 8 + text.size();
  const std::uint64_t file_bytes = data_begin + tail;

  require(!convert::parse_header(text, data_begin - 1).ok());  // a file that ends within its header
  const auto tensors = convert::parse_header(text, file_bytes);
  if (!tensors.ok()) {
    require(tensors.error().code() == shoal::ErrorCode::kModelInvalid && !tensors.error().message().empty());
    return 0;
  }
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  for (const auto& [name, tensor] : *tensors) {
    require(name != "__metadata__");
    check_tensor(tensor, data_begin, file_bytes);
    ranges.emplace_back(tensor.begin, tensor.begin + tensor.bytes);
  }
  std::ranges::sort(ranges);
  for (std::size_t i = 1; i < ranges.size(); ++i) require(ranges[i - 1].second <= ranges[i].first);
  return 0;
}
