// ClassFeatures: a short text as sparse numbers that tell what it is about: its words and pairs of words, and the runs
// of 2 to 5 characters of each word with the spaces around it, hashed into buckets. Which words a text has tells
// classes apart; runs of characters still do when a word has a typo.
//
// What a model was fitted on and what a server reads go both through this class; any change of what it makes of a text
// must change kClassFeaturesVersion.
//
// Reuses its memory: nothing is allocated after construction. Owned by whoever classifies or fits, one for each thread.
// Threads: one at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "shoal/learning/sparse.h"

namespace shoal::learning {

inline constexpr std::uint32_t kClassFeaturesVersion = 1;

inline constexpr std::size_t kClassWordBuckets = std::size_t{1} << 16U;
inline constexpr std::size_t kClassRunBuckets = std::size_t{1} << 17U;
// Columns: those of words, then those of runs of characters.
inline constexpr std::size_t kClassColumns = kClassWordBuckets + kClassRunBuckets;

// How much a column says: ln((1 + N) / (1 + n)) where n of N texts have it (Sparck Jones 1972).
class ColumnWeights {
 public:
  ColumnWeights() = default;
  // Of none: every column weighs 1.
  void count(std::span<const SparseValue> row);
  void finish();
  [[nodiscard]] float operator[](std::uint32_t column) const { return weights_[column]; }
  [[nodiscard]] const std::vector<float>& all() const { return weights_; }
  void assign(std::vector<float> weights) { weights_ = std::move(weights); }

 private:
  std::vector<std::uint32_t> counts_ = std::vector<std::uint32_t>(kClassColumns);
  std::vector<float> weights_ = std::vector<float>(kClassColumns, 1.0F);
  std::size_t texts_ = 0;
};

class ClassFeatures {
 public:
  ClassFeatures();

  // Each column once, with the sign and ln(1 + |sum of signs|). Of a long text the first and the last kHalfCharacters
  // count. Valid until the next call.
  [[nodiscard]] std::span<const SparseValue> read(std::string_view text);
  // The same, weighted; then the words and the runs are each of length 1.
  [[nodiscard]] std::span<const SparseValue> read(std::string_view text, const ColumnWeights& weights);
  // What read() returned, weighted.
  static void weigh(std::span<SparseValue> row, const ColumnWeights& weights);

  static constexpr std::size_t kHalfCharacters = 512;

 private:
  static constexpr std::size_t kMostCharacters = 2 * kHalfCharacters + 1;
  static constexpr std::size_t kSlots = std::size_t{1} << 14U;

  void decode(std::string_view text);
  void add(std::uint32_t column, bool negative);
  void add_words();
  void add_runs();

  std::array<char32_t, kMostCharacters> text_{};  // in lower case
  std::size_t size_ = 0;
  std::vector<std::uint32_t> stamps_;  // by slot: the read() that wrote it
  std::vector<std::uint16_t> places_;  // by slot: in row_
  std::uint32_t stamp_ = 0;
  std::size_t mask_ = 0;  // short texts use few slots, which stay in the cache
  std::vector<SparseValue> row_;
  std::size_t count_ = 0;
  std::array<float, 64> logs_{};
};

}  // namespace shoal::learning
