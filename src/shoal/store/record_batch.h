// RecordBatch: copies of records, one behind the other without gaps, in one piece of memory that is used again.
// Inside store/. Owned by whoever fills it. Threads: one at a time.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/audit/record.h"

namespace shoal::store {

class RecordBatch {
 public:
  [[nodiscard]] bool empty() const { return heads_.empty(); }
  [[nodiscard]] std::size_t bytes() const { return payloads_.size() + heads_.size() * sizeof(Head); }
  // Of one that is not empty.
  [[nodiscard]] std::uint64_t first() const { return first_; }
  [[nodiscard]] std::uint64_t last() const { return first_ + heads_.size() - 1; }

  // REQUIRES: it follows the last.
  void add(const audit::Record& record) {
    if (empty()) first_ = record.sequence;
    assert(record.sequence == first_ + heads_.size());
    payloads_.append(record.payload);
    heads_.push_back({.end = payloads_.size(), .type = record.type});
  }

  // Into its memory: good until it changes.
  void view(std::vector<audit::Record>& records) const {
    records.clear();
    std::size_t begin = 0;
    for (const Head& head : heads_) {
      const std::string_view payload = std::string_view(payloads_).substr(begin, head.end - begin);
      records.push_back({.sequence = first_ + records.size(), .type = head.type, .payload = payload});
      begin = head.end;
    }
  }

  void clear() {
    heads_.clear();
    payloads_.clear();
    if (payloads_.capacity() > kKeptBytes) payloads_.shrink_to_fit();
    if (heads_.capacity() * sizeof(Head) > kKeptBytes) heads_.shrink_to_fit();
  }

 private:
  static constexpr std::size_t kKeptBytes = std::size_t{64} << 10;
  struct Head {
    std::size_t end = 0;  // of its payload
    std::uint8_t type = 0;
  };

  std::uint64_t first_ = 0;
  std::vector<Head> heads_;
  std::string payloads_;
};

}  // namespace shoal::store
