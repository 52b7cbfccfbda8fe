// What the engine counts: shoal_engine_*, by model. One set of references per model, looked up once, so that
// counting a token costs an atomic add. Owned by a ModelHost; the Registry outlives it. Threads: any.
#pragma once

#include <string>

#include "shoal/base/error.h"
#include "shoal/telemetry/metrics.h"

namespace shoal::engine {

class EngineMetrics {
 public:
  EngineMetrics(telemetry::Registry& registry, const std::string& model);

  // One request ended: well, or with this error.
  void request_ended(const Error* error);

  telemetry::Counter& prompt_tokens;
  telemetry::Counter& completion_tokens;
  telemetry::Counter& scored_labels;
  telemetry::Counter& cached_tokens;           // of prompts: taken over from a kept or running prefix
  telemetry::Counter& computed_prompt_tokens;  // of prompts: really computed
  telemetry::Counter& prefix_evictions;        // kept prefixes that lost their KV cells
  telemetry::Counter& restarts;
  telemetry::Counter& failures;     // workers lost: crashed, hung, broke the protocol, did not load
  telemetry::Counter& resubmitted;  // requests that moved to the restarted worker unseen
  telemetry::Counter& evictions;
  telemetry::Gauge& running;
  telemetry::Gauge& queued;
  telemetry::Gauge& predicted_bytes;
  telemetry::Gauge& kv_cells;
  telemetry::Gauge& kept_cells;
  telemetry::Gauge& cold_bytes;
  telemetry::Gauge& threads;
  telemetry::Histogram& core_wait_seconds;
  telemetry::Histogram& load_seconds;
  telemetry::Histogram& first_token_seconds;
  telemetry::Histogram& request_seconds;

 private:
  telemetry::Family<telemetry::Counter>& requests_;
  std::string model_;
};

}  // namespace shoal::engine
