#include "shoal/provider/retry_budget.h"

namespace shoal::provider {
namespace {

constexpr std::int64_t kRequestsPerRetry = 5;  // 20 %
constexpr std::int64_t kFloorPerSecond = 1;

}  // namespace

RetryBudget::Slot& RetryBudget::now() {
  const std::int64_t second = clock_.monotonic_ns() / 1'000'000'000;
  Slot& slot = slots_[static_cast<std::size_t>(second) % kSeconds];
  if (slot.second != second) slot = {second, 0, 0};
  return slot;
}

void RetryBudget::request() {
  ++now().requests;
}

bool RetryBudget::withdraw() {
  Slot& current = now();
  std::int64_t requests = 0;
  std::int64_t retries = 0;
  for (const Slot& slot : slots_) {
    if (slot.second <= current.second - static_cast<std::int64_t>(kSeconds)) continue;
    requests += slot.requests;
    retries += slot.retries;
  }
  if (retries >= requests / kRequestsPerRetry + kFloorPerSecond * static_cast<std::int64_t>(kSeconds)) {
    ++refused_;
    return false;
  }
  ++current.retries;
  ++made_;
  return true;
}

}  // namespace shoal::provider
