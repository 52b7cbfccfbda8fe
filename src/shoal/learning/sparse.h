// SparseRows: rows of a large matrix that is nearly all zero, one after the other. What hashed texts become before a
// model is fitted to them. Owned by value. Threads: any, once it is filled.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace shoal::learning {

struct SparseValue {
  std::uint32_t column = 0;
  float value = 0;
};

class SparseRows {
 public:
  void append(std::span<const SparseValue> row) {
    values_.insert(values_.end(), row.begin(), row.end());
    ends_.push_back(values_.size());
  }
  [[nodiscard]] std::size_t size() const { return ends_.size(); }
  [[nodiscard]] std::span<const SparseValue> operator[](std::size_t row) const {
    const std::size_t begin = row == 0 ? 0 : ends_[row - 1];
    return std::span(values_).subspan(begin, ends_[row] - begin);
  }

 private:
  std::vector<SparseValue> values_;
  std::vector<std::size_t> ends_;
};

}  // namespace shoal::learning
