// FairQueue: requests that wait for cells, in the order in which they are admitted. First those whose deadline is
// near, the nearest first; then by start-time fair queueing over the principals (Goyal, Vin, Cheng 1996), where a
// request costs its tokens: who sends a hundred requests waits behind the one of somebody else. Within a principal it
// is first come, first served. Nobody is overtaken for ever: the first in order is admitted first, however large.
// Owned by the Scheduler. Threads: the compute thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "shoal/worker/sequence.h"

namespace shoal::worker {

class FairQueue {
 public:
  // A deadline that is this near comes before fairness.
  static constexpr std::int64_t kNearNs = 10'000'000'000;

  void push(std::unique_ptr<Sequence> sequence);
  // The next in order; null when empty.
  [[nodiscard]] Sequence* front(std::int64_t now_ns);
  // Takes out what front() gave, to be admitted.
  [[nodiscard]] std::unique_ptr<Sequence> pop(const Sequence& front);
  // Takes out one that is not wanted any more; null when there is none of that number.
  std::unique_ptr<Sequence> remove(std::uint64_t request);
  // One whose deadline has passed; null when there is none.
  std::unique_ptr<Sequence> take_late(std::int64_t now_ns);

  [[nodiscard]] std::size_t size() const { return waiting_.size(); }
  [[nodiscard]] bool empty() const { return waiting_.empty(); }
  [[nodiscard]] Sequence* find(std::uint64_t request);

 private:
  using Place = std::vector<std::unique_ptr<Sequence>>::iterator;
  std::unique_ptr<Sequence> take(Place place);

  std::vector<std::unique_ptr<Sequence>> waiting_;  // in order of arrival
  std::map<std::uint64_t, double> finish_;          // virtual time at which each principal's last request ends
  double now_ = 0;                                  // virtual: the start of the last that was admitted
};

}  // namespace shoal::worker
