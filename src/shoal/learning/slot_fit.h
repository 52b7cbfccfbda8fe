// Trains a SlotModel: the penalised likelihood of the examples' tags, by L-BFGS. The penalty is chosen by three-fold
// cross-validation, where texts that differ in case and marks only are on one side; what the report says is measured
// there too. The model that is kept is then fitted to all examples.
// The result does not depend on how many threads there are. Owned by nobody; functions. Threads: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/learning/slot_model.h"
#include "shoal/statistics/ranking.h"

namespace shoal::learning {

struct SlotExample {
  std::string text;
  std::vector<std::string> asked;
  std::vector<SlotSpan> spans;  // sorted; their probabilities are not used
};
struct SlotData {
  std::vector<std::string> slots;
  std::vector<SlotExample> examples;
};

struct SlotFitSettings {
  std::uint64_t seed = 1;
  std::size_t threads = 1;
  std::size_t steps = 80;
};

inline constexpr std::size_t kSlotFolds = 3;
inline constexpr std::size_t kFewestSlotExamples = 30;
// The penalties that are tried.
[[nodiscard]] std::span<const double> slot_penalties();

// A span is right when its slot and both ends are; a text, when all its spans are and no other is there.
struct SlotCounts {
  std::size_t right = 0;
  std::size_t found = 0;
  std::size_t wanted = 0;

  [[nodiscard]] double f1() const;  // of nothing: 1
};
struct SlotQuality {
  SlotCounts spans;
  std::vector<SlotCounts> by_slot;
  std::size_t texts = 0;
  std::size_t right = 0;                   // texts
  std::vector<statistics::Scored> scored;  // by text: SlotAnswer::right, and whether it was
  std::vector<SlotCounts> by_text;
};
// REQUIRES: the slots of the examples are those of the model.
[[nodiscard]] SlotQuality measure_slots(const SlotModel& model, std::span<const SlotExample> examples);
[[nodiscard]] bool same_spans(std::span<const SlotSpan> a, std::span<const SlotSpan> b);

struct SlotFitReport {
  double penalty = 0;
  std::vector<double> f1;  // by slot_penalties()
  SlotQuality held_out;    // with the chosen one
};

// Fills slots and weights of `model`. Errors: kInvalidData: too few examples, or none with a span.
[[nodiscard]] Result<SlotFitReport> fit_slots(const SlotData& data, const SlotFitSettings& settings, SlotModel& model);

}  // namespace shoal::learning
