#include "shoal/server/metrics.h"

namespace shoal::server {

ServerMetrics::ServerMetrics(telemetry::Registry& registry)
    : requests_(registry.counters("shoal_http_requests_total", "Requests by route and status.", {"route", "status"})),
      seconds_(registry.histograms("shoal_http_request_seconds",
                                   "Time from a request's body to the end of its response.", telemetry::kDurationBounds,
                                   {"route"})),
      first_token_(registry.histograms("shoal_time_to_first_token_seconds",
                                       "Time from a request's body to the first token of its answer.",
                                       telemetry::kFirstTokenBounds, {"model"})),
      tokens_(registry.counters("shoal_tokens_total", "Tokens of finished answers.", {"model", "kind"})),
      broken_(registry.counters("shoal_streams_broken_total", "Streams that ended in an error frame, by code.",
                                {"code"})) {}

void ServerMetrics::request(std::string_view route, int status, double seconds) {
  requests_.with({route, std::to_string(status)}).add();
  seconds_.with({route}).observe(seconds);
}

void ServerMetrics::first_token(const std::string& model, double seconds) {
  first_token_.with({model}).observe(seconds);
}

void ServerMetrics::answered(const std::string& model, const types::Usage& usage) {
  tokens_.with({model, "prompt"}).add(usage.prompt_tokens);
  tokens_.with({model, "cached"}).add(usage.cached_tokens);
  tokens_.with({model, "completion"}).add(usage.completion_tokens);
}

void ServerMetrics::stream_broken(std::string_view code) {
  broken_.with({code}).add();
}

}  // namespace shoal::server
