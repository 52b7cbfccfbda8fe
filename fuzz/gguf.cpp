// Fuzzes the reader of model files. Beyond "no crash", a header that is accepted describes tensors that llama.cpp can
// map blindly: of a known type, aligned, inside the file and apart from each other; and everything that is derived
// from it can be asked for.
// SHOAL_PLANTED_BUG lets a tensor have no dimensions (gguf/reader.cpp): the fuzzer must find it; no seed has one.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <utility>
#include <vector>

#include "shoal/gguf/reader.h"

namespace {

namespace gguf = shoal::gguf;

void require(bool condition) {
  if (!condition) std::abort();
}

void check_tensors(const gguf::Header& header) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  for (const gguf::Tensor& tensor : header.tensors) {
    require(!tensor.dims.empty() && tensor.dims.size() <= 4);
    require(std::ranges::find(tensor.dims, 0U) == tensor.dims.end());
    require(tensor.offset % header.alignment == 0);
    require(header.data_offset <= header.file_bytes && tensor.offset <= header.file_bytes - header.data_offset);
    require(tensor.bytes <= header.file_bytes - header.data_offset - tensor.offset);
    ranges.emplace_back(tensor.offset, tensor.offset + tensor.bytes);
  }
  std::ranges::sort(ranges);
  for (std::size_t i = 1; i < ranges.size(); ++i) require(ranges[i - 1].second <= ranges[i].first);
  require(header.weight_bytes() <= header.file_bytes);
  require(header.parameters() >= header.tensors.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  gguf::MemorySource source(std::string_view(reinterpret_cast<const char*>(data), size));
  const auto header = gguf::read_header(source);
  if (!header.ok()) {
    require(header.error().code() == shoal::ErrorCode::kModelInvalid && !header.error().message().empty());
    return 0;
  }
  require(header->file_bytes == size && !header->architecture().empty());
  check_tensors(*header);
  require(header->vocabulary() <= size);
  require(header->kv_bytes_per_token(2) <= header->kv_bytes_per_token(4));
  return 0;
}
