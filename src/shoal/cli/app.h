// Everything that a running `shoal serve` is made of. The order of the members is the order of starting; they go
// in reverse. wire_*.cpp make the options of each part from the configuration.
// Owned by serve, or by a command that runs a model without a server. Threads: the main thread, which is the only
// I/O thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "shoal/base/clock.h"
#include "shoal/base/log.h"
#include "shoal/base/result.h"
#include "shoal/cli/ledger_parts.h"
#include "shoal/cli/speedometer.h"
#include "shoal/config/load.h"
#include "shoal/engine/model_source.h"
#include "shoal/engine/supervisor.h"
#include "shoal/gateway/audits.h"
#include "shoal/gateway/drift.h"
#include "shoal/gateway/expiry.h"
#include "shoal/gateway/outside.h"
#include "shoal/gateway/pipeline.h"
#include "shoal/net/http_client.h"
#include "shoal/net/http_server.h"
#include "shoal/routing/calibration.h"
#include "shoal/routing/certificate.h"
#include "shoal/routing/tasks.h"
#include "shoal/server/key_set.h"
#include "shoal/server/server.h"
#include "shoal/telemetry/metrics.h"

namespace shoal::cli {

// wire_log.cpp
[[nodiscard]] base::Log make_log(const config::LogConfig& config);
[[nodiscard]] base::LogLevel log_level(const config::LogConfig& config);

// wire_engine.cpp
// Cores and memory that the configuration leaves open are those of this machine or its cgroup. Errors: as
// find_worker().
[[nodiscard]] Result<engine::SupervisorOptions> supervisor_options(const config::EngineConfig& config);
// Bytes that workers may use when the configuration leaves it open: three quarters of what there is.
[[nodiscard]] std::uint64_t automatic_memory_budget();
// Errors: kIo when the program is not there; the message names the places.
[[nodiscard]] Result<std::string> find_worker(const config::EngineConfig& config);

// wire_models.cpp
struct ModelSourceOptions {
  bool none = false;  // --no-models
};
// Errors: kIo when the store cannot be read.
[[nodiscard]] Result<std::unique_ptr<engine::ModelSource>> make_model_source(const config::Config& config,
                                                                             ModelSourceOptions options);

// wire_http.cpp
// Keys come from the file or the variable that the configuration names. Errors: kInvalidConfig, kIo.
[[nodiscard]] Result<server::KeySet> load_keys(const config::ServerConfig& config);
[[nodiscard]] net::HttpServerOptions http_options(const config::ServerConfig& config, base::Log& log);

// wire_outside.cpp
struct RoutingFiles {
  std::shared_ptr<const std::vector<routing::Table>> calibrations;
  std::shared_ptr<const std::vector<routing::Certificate>> certificates;
  std::shared_ptr<const routing::Tasks> tasks;
};
// Errors: kInvalidConfig for a URL, a key, a price that is none.
[[nodiscard]] Result<std::shared_ptr<const gateway::OutsideConfig>> outside_config(const config::Config& config,
                                                                                   net::HttpClient& client,
                                                                                   const base::Clock& clock,
                                                                                   base::Log* log, RoutingFiles files);
// Those that come with Shoal, and those of the configuration over them. Errors: kInvalidConfig.
[[nodiscard]] Result<ledger::PriceTable> price_table(const config::Config& config);
// Errors: kInvalidConfig.
[[nodiscard]] Result<gateway::Caps> budget_caps(const config::Config& config);

// outside_metrics.cpp
// Both must outlive each rendering.
// `feeder` may be null.
void add_outside_metrics(telemetry::Registry& registry, const gateway::Outside& outside, const store::Feeder* feeder);

// wire_routing.cpp
// `shipped`, the tables in DATA_DIR/calibration, the certificates in DATA_DIR/certificates and load_tasks(); what is
// damaged is told to the log and not among them.
[[nodiscard]] RoutingFiles load_routing_files(const config::Config& config, std::vector<routing::Table> shipped,
                                              base::Log& log);

// wire_tasks.cpp
// What `shoal tune probe` wrote to DATA_DIR/tasks; what is damaged is told to the log and not among them.
[[nodiscard]] std::shared_ptr<const routing::Tasks> load_tasks(const config::Config& config, base::Log& log);

// What runs models: enough for a command without a server.
struct EngineParts {
  EngineParts(base::Log engine_log, std::unique_ptr<engine::ModelSource> source, engine::SupervisorOptions options);

  base::Log log;
  base::SystemClock clock;
  telemetry::Registry registry;
  boost::asio::io_context io{1};
  std::unique_ptr<engine::ModelSource> models;
  engine::Supervisor engine;
};

// What asks providers: the journal, the money and the connections. Without a journal, or where what was spent before
// cannot be read, which the log tells, nothing that needs a journal leaves.
struct OutsideParts {
  OutsideParts(EngineParts& parts, const config::Config& config);

  // Takes over what the configuration says; all or nothing. Errors: kInvalidConfig.
  Result<void> apply(const config::Config& config);
  // Puts thresholds where the alarms of earlier runs moved them. REQUIRES: apply(); nobody runs the io_context.
  Result<void> restore_drift();

  const base::Clock& clock;
  base::Log& log;
  std::vector<routing::Table> shipped;  // tables beside those of the data folder: of the demo
  net::HttpClient client;
  LedgerParts ledger;
  ledger::Book book;
  const bool restored;  // the book knows what was spent before this start
  gateway::BudgetChains budgets;
  egress::Gate gate;
  gateway::Outside outside;
  gateway::Expiry expiry;
  gateway::Drift drift;
  gateway::Audits audits;
};

// Changes a configuration that was read.
using Amendment = std::function<void(config::Config&)>;

struct App {
  // Errors: what make_model_source(), supervisor_options() and load_keys() say.
  [[nodiscard]] static Result<std::unique_ptr<App>> make(config::Loaded loaded, config::LoadRequest request,
                                                         ModelSourceOptions models);

  App(config::Loaded from, config::LoadRequest again, std::unique_ptr<engine::ModelSource> source,
      engine::SupervisorOptions options);

  // Reads the configuration again; all or nothing. Errors: kInvalidConfig.
  Result<void> reload(const base::Yield& yield);
  // Lets in who has a key, of the configuration or of the store. Errors: those of load_keys(), kIo when the keys of the
  // store cannot be read.
  Result<void> apply_keys(const config::ServerConfig& config, const base::Yield& yield);

  // Runs with what `change` makes of the configuration, now and after each reload. Of providers, routes and prices
  // only. Errors: kInvalidConfig.
  Result<void> amend(Amendment change);

  [[nodiscard]] server::LedgerHooks ledger_hooks();
  // Of the store; what changes them holds from here on.
  Result<server::CreatedKey> create_key(store::NewKey wanted, const base::Yield& yield);
  Result<store::Key> revoke_key(std::string name, const base::Yield& yield);
  // What somebody says of an answer; on disk when it returns.
  Result<void> write_label(const audit::Label& label, const base::Yield& yield);

  const config::LoadRequest request;
  Amendment amendment;
  std::shared_ptr<const config::Config> config;
  EngineParts parts;
  OutsideParts outside;
  Speedometer speedometer;
  gateway::Pipeline pipeline;
  server::Server server;
  net::HttpServer http;
};

}  // namespace shoal::cli
