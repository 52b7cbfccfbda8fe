// How fast this machine is at what models need: bytes read from memory, and 32-bit multiply-adds, by all cores that
// this process may use. What `shoal ps` measures workers against. Measured for a quarter of a second with at most an
// eighth of the memory, so it is done once for a machine and kept in a file.
// Use: read_speed(), and where that is empty measure_speed(), write_speed(). Threads: any.
#pragma once

#include <filesystem>
#include <optional>

#include "shoal/base/result.h"
#include "shoal/device/machine.h"

namespace shoal::device {

struct Speed {
  double bytes_per_second = 0;
  // A multiplication and an addition are two. Kernels for quantised weights multiply 8-bit integers, of which an
  // instruction holds four times as many: they may pass this.
  double flops_per_second = 0;
};

// As STREAM does (McCalpin 1995): buffers larger than the caches, the best of several passes. Blocks; starts a thread
// for each core. Errors: kInsufficientMemory when no such buffer is to be had.
[[nodiscard]] Result<Speed> measure_speed(const Machine& machine);

// What was kept for this processor, its cores and memory; nothing when there is none or it is of another machine.
[[nodiscard]] std::optional<Speed> read_speed(const std::filesystem::path& file, const Machine& machine);
// The faster of `speed` and what was kept: a limit, and whatever else ran while it was measured only lowers it.
[[nodiscard]] Speed faster_than_kept(const std::filesystem::path& file, const Machine& machine, const Speed& speed);
// Errors: kIo.
[[nodiscard]] Result<void> write_speed(const std::filesystem::path& file, const Machine& machine, const Speed& speed);

}  // namespace shoal::device
