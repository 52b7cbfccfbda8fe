// How threads are started, and how they share their core with those that compute.
#pragma once

#include <cstdint>
#include <functional>
#include <thread>

namespace shoal::base {

// Asks the kernel to let the calling thread run soon after it is woken, for turns of so long (100 us to 100 ms), in
// place of after the turn of whoever computes on its core; its share of the core stays the same. Children have ordinary
// turns. Linux 6.12 and later; before, nothing changes. False: the kernel refuses.
bool ask_for_turns_of(std::int64_t ns);

// A thread that takes no signals, from its first instruction on: those are for the thread that waits for them, and end
// the process in one that does not. So each thread beside the main one is started. `name`: at most 15 characters.
// Throws what std::thread does: std::system_error when there can be no more threads.
[[nodiscard]] std::thread start_thread(const char* name, std::function<void()> body);

}  // namespace shoal::base
