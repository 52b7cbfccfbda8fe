#include "shoal/engine/engine_metrics.h"

namespace shoal::engine {

EngineMetrics::EngineMetrics(telemetry::Registry& registry, const std::string& model)
    : prompt_tokens(
          registry.counters("shoal_engine_tokens_total", "Tokens, of prompts and of answers.", {"model", "kind"})
              .with({model, "prompt"})),
      completion_tokens(
          registry.counters("shoal_engine_tokens_total", "Tokens, of prompts and of answers.", {"model", "kind"})
              .with({model, "completion"})),
      scored_labels(
          registry.counters("shoal_engine_scored_labels_total", "Labels whose probability was asked for.", {"model"})
              .with({model})),
      cached_tokens(
          registry.counters("shoal_engine_tokens_total", "Tokens, of prompts and of answers.", {"model", "kind"})
              .with({model, "cached"})),
      computed_prompt_tokens(registry
                                 .counters("shoal_engine_prefilled_tokens_total",
                                           "Prompt tokens that the worker computed; the others were shared.", {"model"})
                                 .with({model})),
      prefix_evictions(
          registry
              .counters("shoal_engine_prefix_evictions_total",
                        "Kept prompt prefixes, and pieces of long ones, that lost their place in the context.",
                        {"model"})
              .with({model})),
      restarts(registry.counters("shoal_engine_worker_restarts_total", "Workers started again after a loss.", {"model"})
                   .with({model})),
      failures(
          registry
              .counters("shoal_engine_worker_failures_total", "Workers that crashed, hung or did not load.", {"model"})
              .with({model})),
      resubmitted(registry
                      .counters("shoal_engine_resubmitted_total",
                                "Requests without a token yet that were given to the restarted worker.", {"model"})
                      .with({model})),
      evictions(registry
                    .counters("shoal_engine_evictions_total",
                              "Models unloaded to make room: idle ones, and busy ones whose turn was over.", {"model"})
                    .with({model})),
      running(registry.gauges("shoal_engine_running_requests", "Requests in the slots of the worker.", {"model"})
                  .with({model})),
      queued(
          registry.gauges("shoal_engine_queued_requests", "Requests that wait for a slot.", {"model"}).with({model})),
      predicted_bytes(
          registry.gauges("shoal_engine_predicted_bytes", "Memory reserved for the worker, predicted.", {"model"})
              .with({model})),
      kv_cells(registry.gauges("shoal_engine_kv_tokens", "Tokens of context that are reserved or kept.", {"model"})
                   .with({model})),
      kept_cells(registry
                     .gauges("shoal_engine_kv_kept_tokens",
                             "Tokens of context with prefixes that no request holds: free when they are needed.",
                             {"model"})
                     .with({model})),
      cold_bytes(
          registry.gauges("shoal_engine_prefix_cold_bytes", "Memory with prefixes outside the context.", {"model"})
              .with({model})),
      threads(
          registry.gauges("shoal_engine_threads", "Threads that the worker may compute on.", {"model"}).with({model})),
      core_wait_seconds(registry
                            .histograms("shoal_engine_core_wait_seconds",
                                        "Waits of a worker with work until it had a core.",
                                        telemetry::kFirstTokenBounds, {"model"})
                            .with({model})),
      load_seconds(registry
                       .histograms("shoal_engine_load_seconds", "Spawn of a worker to READY.",
                                   telemetry::kDurationBounds, {"model"})
                       .with({model})),
      first_token_seconds(registry
                              .histograms("shoal_engine_time_to_first_token_seconds", "Admission to first token.",
                                          telemetry::kFirstTokenBounds, {"model"})
                              .with({model})),
      request_seconds(registry
                          .histograms("shoal_engine_request_seconds", "Admission to the end of the request.",
                                      telemetry::kDurationBounds, {"model"})
                          .with({model})),
      requests_(
          registry.counters("shoal_engine_requests_total", "Requests that ended, by outcome.", {"model", "outcome"})),
      model_(model) {}

void EngineMetrics::request_ended(const Error* error) {
  requests_.with({model_, error != nullptr ? std::string(error->info().slug) : "ok"}).add();
}

}  // namespace shoal::engine
