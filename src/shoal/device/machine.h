// What this process may use of the machine: cores and memory, by its CPU affinity and by the limits of its cgroup
// and every cgroup above it. A container with a quota of two cores has two, whatever the host has.
// Use: `probe_machine()` once, at start; reads a few small files. Threads: any.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace shoal::device {

struct Machine {
  std::uint32_t cores = 1;         // at least 1; a quota of 1.5 counts as 2
  std::uint64_t memory_bytes = 0;  // installed, or the cgroup's limit if that is lower; 0: unknown
};

// Where the kernel tells; tests have folders of their own.
struct MachineFiles {
  std::filesystem::path membership = "/proc/self/cgroup";
  std::filesystem::path cgroups = "/sys/fs/cgroup";
};

// Cgroups of version 2 only: what version 1 limits is not seen.
[[nodiscard]] Machine probe_machine(const MachineFiles& files = {});

// "AMD EPYC 9R14", as the kernel names the first processor; "unknown" when it does not.
[[nodiscard]] std::string processor_name(const std::filesystem::path& cpuinfo = "/proc/cpuinfo");

}  // namespace shoal::device
