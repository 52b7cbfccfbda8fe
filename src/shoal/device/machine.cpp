#include "shoal/device/machine.h"

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include <sched.h>
#include <sys/sysinfo.h>

namespace shoal::device {
namespace {

namespace fs = std::filesystem;

// The folders of our cgroup and of those above it; a parent's limit binds too.
std::vector<fs::path> cgroup_folders(const MachineFiles& files) {
  std::vector<fs::path> folders;
  std::ifstream membership(files.membership);
  for (std::string line; std::getline(membership, line);) {
    if (!line.starts_with("0::/")) continue;
    fs::path group = fs::path(line.substr(4)).lexically_normal();
    while (!group.empty()) {
      folders.push_back(files.cgroups / group);
      group = group.parent_path();
    }
    folders.push_back(files.cgroups);
  }
  return folders;
}

// "max" when there is no limit. Source: Linux, Documentation/admin-guide/cgroup-v2.rst, "memory.max".
std::uint64_t memory_limit(const fs::path& folder) {
  std::ifstream file(folder / "memory.max");
  std::uint64_t bytes = 0;
  return file >> bytes ? bytes : UINT64_MAX;
}

// "$QUOTA $PERIOD", in microseconds; the quota may be "max". Source: same document, "cpu.max".
std::uint64_t core_limit(const fs::path& folder) {
  std::ifstream file(folder / "cpu.max");
  std::uint64_t quota_us = 0;
  std::uint64_t period_us = 0;
  if (!(file >> quota_us >> period_us) || period_us == 0) return UINT64_MAX;
  return std::max<std::uint64_t>(quota_us / period_us + (quota_us % period_us != 0 ? 1 : 0), 1);
}

std::uint64_t affinity_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<std::uint64_t>(std::max(CPU_COUNT(&set), 1));
}

std::uint64_t installed_memory() {
  struct sysinfo info{};
  return ::sysinfo(&info) == 0 ? std::uint64_t{info.totalram} * info.mem_unit : 0;
}

}  // namespace

Machine probe_machine(const MachineFiles& files) {
  std::uint64_t cores = affinity_cores();
  std::uint64_t memory = installed_memory();
  for (const fs::path& folder : cgroup_folders(files)) {
    cores = std::min(cores, core_limit(folder));
    memory = std::min(memory, memory_limit(folder));
  }
  return {static_cast<std::uint32_t>(cores), memory};
}

std::string processor_name(const fs::path& cpuinfo) {
  std::ifstream in(cpuinfo);
  for (std::string line; std::getline(in, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

}  // namespace shoal::device
