// What the gateway process itself uses: memory, CPU time, open descriptors, start time; read from /proc/self
// when /metrics is rendered. Use: `add_process_metrics(registry)` once, at start.
// The registry owns everything. Threads: any.
#pragma once

#include "shoal/telemetry/metrics.h"

namespace shoal::telemetry {

// Registers shoal_process_resident_bytes, shoal_process_cpu_seconds_total, shoal_process_open_fds and
// shoal_process_start_time_seconds. What /proc does not tell stays 0.
void add_process_metrics(Registry& registry);

}  // namespace shoal::telemetry
