// What the HTTP side counts. Labels are routes, statuses and models that answered: never a client's own text.
// Owned by Server; the families live in the registry. Threads: any.
#pragma once

#include <string>
#include <string_view>

#include "shoal/telemetry/metrics.h"
#include "shoal/types/completion.h"

namespace shoal::server {

class ServerMetrics {
 public:
  explicit ServerMetrics(telemetry::Registry& registry);

  void request(std::string_view route, int status, double seconds);
  void first_token(const std::string& model, double seconds);
  void answered(const std::string& model, const types::Usage& usage);
  void stream_broken(std::string_view code);

 private:
  telemetry::Family<telemetry::Counter>& requests_;
  telemetry::Family<telemetry::Histogram>& seconds_;
  telemetry::Family<telemetry::Histogram>& first_token_;
  telemetry::Family<telemetry::Counter>& tokens_;
  telemetry::Family<telemetry::Counter>& broken_;
};

}  // namespace shoal::server
