// Lease: the worker's side of engine/core_lease.h. How many threads the next step may compute on, and what the gateway
// is told when that became less. A worker that was never sent a lease, as in tests that drive it by hand, computes on
// all the threads that it was started with.
// Use: take() what comes, settle() before each step. Owned by the Scheduler. Threads: the compute thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "shoal/ipc/frames.h"

namespace shoal::worker {

class Lease {
 public:
  explicit Lease(std::uint32_t all_threads) : all_(all_threads), granted_(all_threads) {}

  void take(const ipc::Lease& lease) {
    number_ = lease.number;
    granted_ = std::min(lease.threads, all_);
    told_ = std::max(told_, granted_);
  }

  // What is not needed is given back at once, and is not there for the next step. Returns the frame to send.
  std::optional<ipc::LeaseHeld> settle(bool has_work) {
    threads_ = has_work ? granted_ : 0;
    if (number_ == 0) return std::nullopt;
    granted_ = threads_;
    if (threads_ >= told_) return std::nullopt;
    told_ = threads_;
    return ipc::LeaseHeld{threads_, number_};
  }

  // Of the next step; 0: none may be computed.
  [[nodiscard]] std::uint32_t threads() const { return threads_; }
  // Whether a step may be computed when there is work.
  [[nodiscard]] bool granted() const { return granted_ > 0; }

 private:
  std::uint32_t all_;
  std::uint32_t granted_;     // by the last lease, until it is given back
  std::uint64_t number_ = 0;  // of the last lease
  std::uint32_t threads_ = 0;
  std::uint32_t told_ = 0;  // what the gateway believes, once it has read all that was sent
};

}  // namespace shoal::worker
