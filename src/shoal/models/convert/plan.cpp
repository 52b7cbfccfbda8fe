#include "shoal/models/convert/plan.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>
#include <span>

#include <fmt/format.h>

namespace shoal::models::convert {
namespace {

// Elements that are read at a time: a vocabulary's matrix has billions of bytes.
constexpr std::uint64_t kChunk = 1 << 20;

// From here on a value rounds to infinity: halfway between F16's largest, 65504, and what would come next.
constexpr float kBeyondF16 = 65520;

Result<void> append_f16(std::string& out, std::span<const float> values, const std::string& name) {
  std::size_t at = out.size();
  out.resize(at + values.size() * sizeof(_Float16));
  for (const float value : values) {
    if (!(std::abs(value) < kBeyondF16))  // nor is it a number
      return Error(ErrorCode::kModelInvalid, fmt::format("tensor '{}' holds {}, which F16 cannot", name, value));
    const auto half = static_cast<_Float16>(value);
    std::memcpy(out.data() + at, &half, sizeof half);
    at += sizeof half;
  }
  return {};
}

}  // namespace

std::vector<std::uint64_t> PlannedTensor::shape() const {
  return source != nullptr ? source->entry.shape : std::vector<std::uint64_t>{values.size()};
}

std::string interleave_rows(std::string_view matrix, std::uint64_t rows, std::uint32_t heads) {
  assert(rows % (2 * std::uint64_t{heads}) == 0 && matrix.size() % rows == 0);
  const std::uint64_t row_bytes = matrix.size() / rows;
  const std::uint64_t half = rows / heads / 2;
  std::string out;
  out.reserve(matrix.size());
  for (std::uint64_t head = 0; head < heads; ++head) {
    for (std::uint64_t i = 0; i < half; ++i) {
      for (std::uint64_t side = 0; side < 2; ++side)
        out += matrix.substr((head * 2 * half + side * half + i) * row_bytes, row_bytes);
    }
  }
  return out;
}

Result<std::string> tensor_data(const PlannedTensor& planned, Weights& weights) {
  const std::uint64_t total = planned.source != nullptr ? planned.source->entry.elements() : planned.values.size();
  std::string out;
  out.reserve(total * (planned.is_f32() ? 4 : 2));
  for (std::uint64_t first = 0; first < total; first += kChunk) {
    const std::uint64_t count = std::min(kChunk, total - first);
    const std::vector<float> values =
        planned.source != nullptr ? SHOAL_TRY(weights.read(*planned.source, first, count)) : planned.values;
    if (planned.is_f32()) {
      out.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    } else {
      SHOAL_TRY(append_f16(out, values, planned.name));
    }
  }
  return planned.heads == 0 ? out : interleave_rows(out, planned.shape()[0], planned.heads);
}

}  // namespace shoal::models::convert
