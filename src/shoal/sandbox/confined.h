// Runs a program that nobody trusts to its end, for graders of code: it reads the system's programs and libraries and
// nothing else, writes no file, reaches no network, starts no other process, and has limits on time, memory and
// output. Landlock says which files, a filter lists the system calls that an interpreter needs (all others fail with
// EPERM), rlimits and a deadline do the rest. Both locks are made before the fork, for the child of a process with
// threads may not allocate. Owned by nobody; functions. Threads: any; blocks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"

namespace shoal::sandbox {

struct ConfinedLimits {
  std::int64_t wall_ms = 10'000;
  std::uint64_t cpu_s = 5;
  std::uint64_t memory_mib = 512;  // of addresses
  std::size_t output_bytes = std::size_t{64} << 10;
};

struct ConfinedOutcome {
  int exit_code = 0;  // 128 + signal when it was killed
  bool late = false;  // it was killed, for it did not end in time
  std::string output;
  std::string error_tail;  // the last 4 KiB of stderr
};

// `input` is its standard input. argv[0] is an absolute path; where it is not below /usr, /bin or /lib, the folder
// above the one that it lies in may be read too.
// Errors: kSandboxUnavailable naming the lock, kNotFound for the program, kIo.
[[nodiscard]] Result<ConfinedOutcome> run_confined(const std::vector<std::string>& argv, std::string_view input,
                                                   const ConfinedLimits& limits);

}  // namespace shoal::sandbox
