#include "shoal/cli/app.h"

#include <filesystem>
#include <utility>

#include "shoal/telemetry/process_metrics.h"

namespace shoal::cli {
namespace {

gateway::PipelineOptions pipeline_options(const config::Config& config) {
  gateway::PipelineOptions options;
  options.default_model = config.engine.default_model;
  options.request_timeout_ms = config.server.request_timeout_ms;
  return options;
}

server::ServerOptions server_options(const config::Config& config) {
  return {.default_model = config.engine.default_model,
          .default_embedding_model = config.engine.default_embedding_model,
          .request_timeout_ms = config.server.request_timeout_ms,
          .allowed_origins = config.server.allowed_origins};
}

std::unique_ptr<audit::Journal> open_journal(audit::Disk& disk, EngineParts& parts, const config::Config& config) {
  audit::JournalOptions options;
  options.segments.folder = std::filesystem::path(config.server.data_dir) / "journal";
  auto opened = audit::Journal::open(parts.io.get_executor(), parts.clock, disk, std::move(options));
  if (opened.ok()) return std::move(opened).value();
  parts.log.error("the journal cannot be opened, so nothing will be sent to providers that need one",
                  {{"reason", opened.error().message()}});
  return nullptr;
}

}  // namespace

Result<std::unique_ptr<App>> App::make(config::Loaded loaded, config::LoadRequest request, ModelSourceOptions models) {
  const config::Config& config = *loaded.config;
  std::unique_ptr<engine::ModelSource> source = SHOAL_TRY(make_model_source(config, models));
  engine::SupervisorOptions options = SHOAL_TRY(supervisor_options(config.engine));
  server::KeySet keys = SHOAL_TRY(load_keys(config.server));
  auto app = std::make_unique<App>(loaded, std::move(request), std::move(source), std::move(options), std::move(keys));
  SHOAL_TRY(app->outside.apply(*app->config));
  return app;
}

OutsideParts::OutsideParts(EngineParts& parts, const config::Config& config)
    : clock(parts.clock),
      client(parts.io, parts.clock, {}),
      journal(open_journal(disk, parts, config)),
      budgets(book, {}),
      gate(journal.get(), parts.clock, config.egress.allowed),
      outside{gate, book, budgets, journal.get(), std::make_shared<gateway::OutsideConfig>()} {}

Result<void> OutsideParts::apply(const config::Config& config) {
  auto next = SHOAL_TRY(outside_config(config, client, clock));
  gateway::Caps caps = SHOAL_TRY(budget_caps(config));
  outside.config = std::move(next);
  budgets.set_caps(std::move(caps));
  gate.allow(config.egress.allowed);
  return {};
}

App::App(config::Loaded from, config::LoadRequest again, std::unique_ptr<engine::ModelSource> source,
         engine::SupervisorOptions options, server::KeySet keys)
    : request(std::move(again)),
      config(std::move(from.config)),
      parts(make_log(config->log), std::move(source), std::move(options)),
      outside(parts, *config),
      speedometer(speed_file(config->server.data_dir), parts.log),
      pipeline(parts.engine, &outside.outside, parts.clock, parts.log, pipeline_options(*config)),
      server(pipeline, parts.engine, parts.registry, parts.clock, parts.log, server_options(*config), std::move(keys),
             server::AdminHooks{.reload = [this](base::Yield) { return reload(); },
                                .machine_speed =
                                    [this](bool idle) {
                                      const auto speed = speedometer.get(idle);
                                      return speed ? engine::Demand{speed->bytes_per_second, speed->flops_per_second}
                                                   : engine::Demand{};
                                    }}),
      http(
          parts.io, http_options(config->server, parts.log),
          [this](const net::HttpRequest& asked, net::ResponseWriter& writer, base::Yield yield) {
            server.handle(asked, writer, std::move(yield));
          },
          [this](const net::HttpRequest& asked, net::ResponseWriter& writer, base::Yield yield) {
            server.handle(asked, writer, std::move(yield));
          }) {
  telemetry::add_process_metrics(parts.registry);
}

Result<void> App::reload() {
  const auto apply = [this]() -> Result<void> {
    config::Loaded loaded = SHOAL_TRY(config::reload(*config, request));
    server::KeySet keys = SHOAL_TRY(load_keys(loaded.config->server));
    SHOAL_TRY(config::check_bind(loaded.config->server));
    SHOAL_TRY(outside.apply(*loaded.config));
    // Nothing below can fail: all or nothing.
    for (const config::Overridden& value : loaded.overridden) {
      parts.log.warn("a value of the file has no effect",
                     {{"key", value.key}, {"place", value.place}, {"set_by", value.by}});
    }
    config = std::move(loaded.config);
    server.set_keys(std::move(keys));
    parts.log.set_level(log_level(config->log));
    parts.engine.forgive_failures();
    return {};
  };
  const Result<void> done = apply();
  if (done.ok()) {
    parts.log.info("configuration reloaded");
  } else {
    parts.log.error("configuration not reloaded; the old one stays", {{"reason", done.error().message()}});
  }
  return done;
}

}  // namespace shoal::cli
