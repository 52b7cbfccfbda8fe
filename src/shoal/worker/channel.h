// Channel: the worker's end of the socketpair. One thread reads frames and hands them on; the compute thread
// writes, one time for all frames of a step. When the gateway closes its end the worker has no reason to live and exits
// at once. Owned by main. Threads: read_all() has the reader thread; the others may be called from any.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

#include "shoal/ipc/frames.h"

namespace shoal::worker {

class Channel {
 public:
  explicit Channel(int fd) : fd_(fd) {}

  // Calls `handle` for each frame; returns when the gateway is gone or speaks nonsense.
  void read_all(const std::function<void(ipc::Frame)>& handle) const;
  // Adds a frame to what flush() writes.
  void add(std::uint64_t request, const ipc::Body& body);
  // Blocks while the socket is full. A gateway that is gone ends the process.
  void flush();
  // Both.
  void send(std::uint64_t request, const ipc::Body& body);

 private:
  int fd_;
  std::mutex mutex_;  // guards all below, and the order of writes
  std::string frame_;
  std::string unwritten_;
};

}  // namespace shoal::worker
