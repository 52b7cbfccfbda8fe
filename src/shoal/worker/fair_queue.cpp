#include "shoal/worker/fair_queue.h"

#include <algorithm>
#include <utility>

namespace shoal::worker {

void FairQueue::push(std::unique_ptr<Sequence> sequence) {
  double& finish = finish_[sequence->principal];
  sequence->fair_tag = std::max(now_, finish);
  finish = sequence->fair_tag + sequence->prompt_tokens + sequence->max_tokens;
  waiting_.push_back(std::move(sequence));
}

Sequence* FairQueue::front(std::int64_t now_ns) {
  Sequence* nearest = nullptr;
  Sequence* fairest = nullptr;
  for (const auto& s : waiting_) {
    const bool near = !s->deadline.never() && s->deadline.at_ns < now_ns + kNearNs;
    if (near && (nearest == nullptr || s->deadline.at_ns < nearest->deadline.at_ns)) nearest = s.get();
    if (fairest == nullptr || s->fair_tag < fairest->fair_tag) fairest = s.get();
  }
  return nearest != nullptr ? nearest : fairest;
}

std::unique_ptr<Sequence> FairQueue::pop(const Sequence& front) {
  // One that came first for its deadline alone takes no one's turn: time goes on with the next in fair order.
  const auto next = std::ranges::min_element(waiting_, {}, [](const auto& s) { return s->fair_tag; });
  now_ = std::max(now_, (*next)->fair_tag);
  return remove(front.request);
}

std::unique_ptr<Sequence> FairQueue::remove(std::uint64_t request) {
  return take(std::ranges::find(waiting_, request, [](const auto& s) { return s->request; }));
}

std::unique_ptr<Sequence> FairQueue::take_late(std::int64_t now_ns) {
  return take(std::ranges::find_if(waiting_, [now_ns](const auto& s) { return s->deadline.at_ns <= now_ns; }));
}

Sequence* FairQueue::find(std::uint64_t request) {
  const auto found = std::ranges::find(waiting_, request, [](const auto& s) { return s->request; });
  return found == waiting_.end() ? nullptr : found->get();
}

std::unique_ptr<Sequence> FairQueue::take(Place place) {
  if (place == waiting_.end()) return nullptr;
  std::unique_ptr<Sequence> taken = std::move(*place);
  waiting_.erase(place);
  // Who has nothing left to wait for starts anew; without anybody waiting, so does time.
  std::erase_if(finish_, [this](const auto& entry) { return entry.second <= now_; });
  if (waiting_.empty()) {
    finish_.clear();
    now_ = 0;
  }
  return taken;
}

}  // namespace shoal::worker
