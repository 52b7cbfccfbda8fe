// Interval: two ends of an estimate. Owned by value; threads: any.
#pragma once

namespace shoal::statistics {

struct Interval {
  double low = 0;
  double high = 0;

  [[nodiscard]] constexpr bool has(double value) const { return low <= value && value <= high; }
  bool operator==(const Interval&) const = default;
};

}  // namespace shoal::statistics
