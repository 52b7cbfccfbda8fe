// SlotModel: which parts of a text fill which slots ("at 7 pm" is a time), how probable each of them is, and how
// probable it is that the whole reading is right. A linear-chain conditional random field over tokens: a token begins
// a slot, continues the one before it, or has none.
// Source: Lafferty, McCallum and Pereira 2001, "Conditional random fields".
//
// Use: `SlotAnswer answer = find_slots(model, text, asked)`. Made by slot_fit.h, kept in a file by slot_file.h.
// A model is owned by whoever loaded it, and shared. Threads: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/learning/slot_features.h"

namespace shoal::learning {

// Tags: 0 has no slot; 2 s + 1 begins slot s, 2 s + 2 continues it.
[[nodiscard]] constexpr std::size_t slot_tags(std::size_t slots) {
  return 2 * slots + 1;
}
// Whether a token with the tag `to` may follow one with `from`; the first token follows one with tag 0.
[[nodiscard]] constexpr bool may_follow(std::size_t from, std::size_t to) {
  return to == 0 || to % 2 == 1 || from == to || from + 1 == to;
}

struct SlotModel {
  static constexpr std::uint32_t kNone = UINT32_MAX;

  std::string name;
  std::vector<std::string> slots;
  std::string data_sha256;
  std::string date;
  std::string report;  // JSON: what was measured when it was trained, and what was chosen from what

  std::vector<std::uint32_t> buckets;  // those with weights, ascending
  std::vector<float> weights;          // [buckets][tags]
  std::vector<float> steps;            // [tags][tags], from and to
  std::vector<std::uint32_t> places;   // [kSlotBuckets]: the row of weights, or kNone

  void place_buckets();
  [[nodiscard]] std::size_t tags() const { return slot_tags(slots.size()); }
};

struct SlotSpan {
  std::size_t slot = 0;
  std::size_t begin = 0;  // bytes of the text
  std::size_t end = 0;
  double probability = 0;  // that this is a span of this slot, with both ends where they are

  bool operator==(const SlotSpan&) const = default;
};
struct SlotAnswer {
  std::vector<SlotSpan> spans;  // in the order of the text; none covers a part of another
  double right = 1;             // the probability of this reading among all
};

[[nodiscard]] SlotAnswer find_slots(const SlotModel& model, std::string_view text,
                                    std::span<const std::string> asked = {});

// The sums over all readings of a text, by Baum's forward and backward recursions, each row scaled to sum to 1.
struct SlotLattice {
  std::size_t tokens = 0;
  std::size_t tags = 0;
  std::vector<double> scores;    // [tokens][tags], of the features
  std::vector<double> emitted;   // exp(scores - the token's largest)
  std::vector<double> forward;   // [tokens][tags]
  std::vector<double> backward;  // [tokens][tags]
  double log_sum = 0;

  // `steps`: exp of the model's, 0 where a tag may not follow. REQUIRES: scores has tokens x tags values.
  void fill(std::span<const double> steps);
  // The probability of `tag` at token `i`.
  [[nodiscard]] double marginal(std::size_t i, std::size_t tag) const;
};
[[nodiscard]] std::vector<double> exponentials_of_steps(std::span<const double> steps, std::size_t tags);

}  // namespace shoal::learning
