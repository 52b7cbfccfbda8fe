// Tokens per second over the last ten seconds in which there were any: the number that `shoal ps` shows, which
// should say how fast a model is and not how long ago it was asked. Owned by value. Threads: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>

namespace shoal::engine {

class RateMeter {
 public:
  void add(std::int64_t now_ns, std::uint64_t count) {
    const std::int64_t second = now_ns / kSecondNs;
    if (seconds_.empty() || seconds_.back().second != second) seconds_.push_back({second, 0});
    seconds_.back().count += count;
    // One more than are shown: the newest second is not over yet and is left out.
    if (seconds_.size() > kSeconds + 1) seconds_.pop_front();
  }

  [[nodiscard]] double per_second(std::int64_t now_ns) const {
    if (seconds_.empty()) return 0;
    std::uint64_t total = 0;
    std::size_t counted = 0;
    for (const Second& entry : seconds_) {
      if (entry.second == now_ns / kSecondNs && seconds_.size() > 1) continue;
      total += entry.count;
      ++counted;
    }
    return static_cast<double>(total) / static_cast<double>(counted);
  }

 private:
  static constexpr std::int64_t kSecondNs = 1'000'000'000;
  static constexpr std::size_t kSeconds = 10;
  struct Second {
    std::int64_t second;
    std::uint64_t count;
  };
  std::deque<Second> seconds_;
};

}  // namespace shoal::engine
