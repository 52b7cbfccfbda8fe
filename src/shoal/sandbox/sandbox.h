// The locks of a worker: it dies with its parent, has limits, may open no file and no network (landlock),
// and may make only the system calls that computing needs (seccomp; anything else kills it). Which calls
// those are was traced on eight model files and then enforced.
//
// Use, in this order: die_with_parent, limit_resources, close_for_load, probe, parse the model, start the
// threads, close_for_work, probe. Landlock binds the calling thread and its later children only, so it is
// closed before any thread starts. Threads: the one that will start all others.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "shoal/base/result.h"

namespace shoal::sandbox {

// What this kernel offers.
struct Support {
  int landlock_abi = 0;  // 0: none
  bool seccomp = false;
  std::string missing;  // why a worker could not be locked up; empty: everything is there
};
[[nodiscard]] Support support();

// SIGKILL when the parent dies; the parent is the *thread* that spawned this process.
// Errors: kSandboxUnavailable when the parent is already another one.
[[nodiscard]] Result<void> die_with_parent(std::int32_t parent_pid);

// No core dumps (they hold prompts), few descriptors; data_mib = 0: no limit on memory.
// Errors: kSandboxUnavailable.
[[nodiscard]] Result<void> limit_resources(std::uint64_t data_mib);

enum class Phase : std::uint8_t { kLoad, kWork };

// Landlock, which must then refuse to open `/`, and the first filter: reading from descriptors that are open,
// memory, new threads, the socket; writing to `output_fd` too, for a worker that makes a file. Returns the landlock
// ABI. Errors: kSandboxUnavailable, naming the lock.
[[nodiscard]] Result<int> close_for_load(int socket_fd, std::optional<int> output_fd = {});

// The second filter, over every thread: no new threads, no descriptors but the socket and stderr.
// Errors: kSandboxUnavailable.
[[nodiscard]] Result<void> close_for_work(int socket_fd);

// Shows from inside that the filter of that phase holds: it answers a forbidden call that no program makes with an
// error number of its own instead of killing.
// Errors: kSandboxUnavailable, naming the lock that did not hold.
[[nodiscard]] Result<void> probe(Phase phase);

// One attack that a captured worker would try, made in a child process that is locked up like a worker.
struct Attack {
  std::string name;
  bool refused = false;
  std::string how;  // "killed by SIGSYS", "Permission denied", or what it achieved
};
// Runs every attack; takes tens of milliseconds. REQUIRES: one thread (it forks).
[[nodiscard]] std::vector<Attack> self_test();

}  // namespace shoal::sandbox
