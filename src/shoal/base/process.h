// Runs another program to its end: argument vector, no shell. Its output is collected up to a bound; while it
// runs, `on_tick` is called ten times a second. Blocks. SIGINT reaches the child as it reaches every process of
// a terminal; it gets SIGTERM when this process dies, however that happens. Threads: any, not the I/O thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "shoal/base/result.h"

namespace shoal::base {

struct ProcessOptions {
  std::int64_t timeout_ms = 0;  // then SIGKILL; 0: none
  std::function<void()> on_tick;
};

struct ProcessResult {
  int exit_code = 0;       // 128 + signal when it was killed
  std::string output;      // stdout, at most 4 MiB
  std::string error_tail;  // the last 4 KiB of stderr
};

// argv[0] is looked up in PATH. Errors: kNotFound when there is no such program, kIo, kDeadlineExceeded.
[[nodiscard]] Result<ProcessResult> run_process(const std::vector<std::string>& argv,
                                                const ProcessOptions& options = {});

}  // namespace shoal::base
