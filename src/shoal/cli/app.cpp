#include "shoal/cli/app.h"

#include <functional>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "shoal/evaluation/normalise.h"
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

std::shared_ptr<const config::Config> amended(const config::Config& config, const Amendment& change) {
  auto out = std::make_shared<config::Config>(config);
  change(*out);
  return out;
}

bool restore(LedgerParts& ledger, ledger::Book& book, base::Log& log) {
  std::optional<Error> failed = ledger.error();
  if (!failed) {
    auto done = ledger.run([&](base::Yield yield) { return ledger.restore(book, std::move(yield)); });
    if (!done.ok()) failed = std::move(done).error();
  }
  if (!failed) return true;
  log.error("the journal or the store cannot be used, so nothing will be sent to providers that need a journal",
            {{"reason", failed->message()}});
  return false;
}

// In the order in which it was written down.
void replay(gateway::Drift& drift, const std::string& route, std::span<const store::JudgedAnswer> answers) {
  std::map<std::uint64_t, std::function<void()>> told;
  for (const store::JudgedAnswer& one : answers) {
    told[one.sequence] = [&drift, &route, &one] { drift.judged(one.request, route, one.judged, one.confidence); };
    for (const store::LabelRow& row : one.labels)
      told[row.sequence] = [&drift, &row] { drift.labelled(row.label.request, row.label.kind, row.label.right); };
  }
  for (const auto& [sequence, tell] : told) tell();
}

gateway::CapsOfKeys caps_of(std::span<const store::Key> keys) {
  gateway::CapsOfKeys caps;
  for (const store::Key& key : keys) caps[key.principal] = {key.day_cap, key.month_cap, key.name};
  return caps;
}

// What a route does that whoever wrote it may not have meant. Its model may come later, so none of it is an error.
void warn_of_routes(const config::Config& config, const engine::Engine& engine, base::Log& log) {
  for (const config::RouteConfig& route : config.routes) {
    if (!route.local.empty()) {
      if (const auto local = engine.resolve(route.local); !local.ok()) {
        log.warn("a route names a local model that is not here",
                 {{"route", route.name}, {"model", route.local}, {"meant", local.error().suggestion()}});
      }
    }
    if (engine.resolve(route.name).ok()) {
      log.warn("a route has the name of a local model: whoever asks for that gets the route", {{"route", route.name}});
    }
  }
}

}  // namespace

Result<std::unique_ptr<App>> App::make(config::Loaded loaded, config::LoadRequest request, ModelSourceOptions models) {
  const config::Config& config = *loaded.config;
  std::unique_ptr<engine::ModelSource> source = SHOAL_TRY(make_model_source(config, models));
  engine::SupervisorOptions options = SHOAL_TRY(supervisor_options(config.engine));
  auto app = std::make_unique<App>(loaded, std::move(request), std::move(source), std::move(options));
  SHOAL_TRY(app->outside.apply(*app->config));
  if (auto known = app->outside.restore_drift(); !known.ok()) {
    app->parts.log.error("what earlier audits found cannot be read: thresholds stand as if nothing had",
                         {{"reason", known.error().message()}});
  }
  warn_of_routes(*app->config, app->parts.engine, app->parts.log);
  app->server.set_tasks(app->outside.outside.config->tasks);
  SHOAL_TRY(
      app->outside.ledger.run([&](const base::Yield& yield) { return app->apply_keys(app->config->server, yield); }));
  return app;
}

OutsideParts::OutsideParts(EngineParts& parts, const config::Config& config)
    : clock(parts.clock),
      log(parts.log),
      client(parts.io, parts.clock, {}),
      ledger(parts.io, parts.clock, config.server.data_dir, &parts.log),
      restored(restore(ledger, book, parts.log)),
      budgets(book, {}),
      gate(restored ? ledger.journal() : nullptr, parts.clock, config.egress.allowed),
      outside{gate, book, budgets, restored ? ledger.journal() : nullptr, std::make_shared<gateway::OutsideConfig>()},
      expiry(parts.io.get_executor(), outside, parts.clock, parts.log),
      drift(parts.log),
      audits(parts.io.get_executor(), outside, parts.clock, parts.log,
             {.name = "normalised", .agrees = [](std::string_view a, std::string_view b) {
                return evaluation::normalised(a) == evaluation::normalised(b);
              }}) {
  outside.audits = &audits;
  outside.drift = &drift;
}

Result<void> OutsideParts::restore_drift() {
  store::Feeder* const feeder = ledger.feeder();
  if (feeder == nullptr) return {};
  drift.set_replaying(true);
  const auto restore = [&](const base::Yield& yield) -> Result<void> {
    for (const routing::Route& route : outside.config->routes) {
      if (route.risk <= 0) continue;
      const std::vector<store::JudgedAnswer> answers = SHOAL_TRY(feeder->query(
          [name = route.name](store::Store& store) { return store.judged({.route = name}); }, base::Deadline{}, yield));
      replay(drift, route.name, answers);
    }
    return {};
  };
  auto done = ledger.run(restore);
  drift.set_replaying(false);
  return done;
}

Result<void> OutsideParts::apply(const config::Config& config) {
  RoutingFiles files = load_routing_files(config, shipped, log);
  auto next = SHOAL_TRY(outside_config(config, client, clock, &log, std::move(files)));
  gateway::Caps caps = SHOAL_TRY(budget_caps(config));
  next->providers.take_over(outside.config->providers);
  outside.config = std::move(next);
  for (const routing::Route& route : outside.config->routes) {
    if (route.risk <= 0) continue;
    if (route.local_task != nullptr) {
      const auto& one = route.local_task->certificate;
      if (one) drift.promise(route.name, route.risk, *one);
      continue;
    }
    for (const routing::Certificate& one : *outside.config->certificates) drift.promise(route.name, route.risk, one);
  }
  budgets.set_caps(std::move(caps));
  gate.allow(config.egress.allowed);
  return {};
}

App::App(config::Loaded from, config::LoadRequest again, std::unique_ptr<engine::ModelSource> source,
         engine::SupervisorOptions options)
    : request(std::move(again)),
      config(std::move(from.config)),
      parts(make_log(config->log), std::move(source), std::move(options)),
      outside(parts, *config),
      speedometer(speed_file(config->server.data_dir), parts.log),
      pipeline(parts.engine, &outside.outside, parts.clock, parts.log, pipeline_options(*config)),
      server(pipeline, parts.engine, parts.registry, parts.clock, parts.log, server_options(*config), {},
             server::AdminHooks{.reload = [this](const base::Yield& yield) { return reload(yield); },
                                .machine_speed =
                                    [this](bool idle) {
                                      const auto speed = speedometer.get(idle);
                                      return speed ? engine::Demand{speed->bytes_per_second, speed->flops_per_second}
                                                   : engine::Demand{};
                                    },
                                .ledger = ledger_hooks()}),
      http(
          parts.io, http_options(config->server, parts.log),
          [this](const net::HttpRequest& asked, net::ResponseWriter& writer, base::Yield yield) {
            server.handle(asked, writer, std::move(yield));
          },
          [this](const net::HttpRequest& asked, net::ResponseWriter& writer, base::Yield yield) {
            server.handle(asked, writer, std::move(yield));
          }) {
  telemetry::add_process_metrics(parts.registry);
  add_outside_metrics(parts.registry, outside.outside, outside.ledger.feeder());
}

server::LedgerHooks App::ledger_hooks() {
  return {
      .feeder = outside.ledger.feeder(),
      .create_key = [this](store::NewKey wanted,
                           const base::Yield& yield) { return create_key(std::move(wanted), yield); },
      .revoke_key = [this](std::string name, const base::Yield& yield) { return revoke_key(std::move(name), yield); },
      .reprice =
          [this](const base::Yield& yield) {
            const auto now = outside.outside.config;
            return outside.ledger.reprice({now, &now->prices}, &outside.outside.book, yield);
          },
      .drift = [this](const std::string& route) { return outside.drift.json(route); },
      .write_label = [this](const audit::Label& label, const base::Yield& yield) { return write_label(label, yield); },
      .local_per_hour = [this] { return outside.outside.config->local_per_hour; }};
}

Result<void> App::write_label(const audit::Label& label, const base::Yield& yield) {
  constexpr std::int64_t kWriteMs = 10'000;
  audit::Journal* const journal = outside.ledger.journal();
  if (journal == nullptr) return Error(ErrorCode::kIo, "this server has no journal: its log says at the start why");
  std::string line;
  audit::print(label, line);
  const std::uint64_t sequence =
      SHOAL_TRY(journal->append(static_cast<std::uint8_t>(audit::RecordType::kLabel), line, audit::Urgency::kPrompt));
  return journal->synced(sequence, base::Deadline::after_ms(parts.clock, kWriteMs), yield);
}

Result<void> App::apply_keys(const config::ServerConfig& from, const base::Yield& yield) {
  server::KeySet keys = SHOAL_TRY(load_keys(from));
  const std::vector<store::Key> stored = SHOAL_TRY(outside.ledger.keys(yield));
  if (const store::KeyHasher* const hasher = outside.ledger.hasher()) {
    keys.add(*hasher, stored);
  } else if (!stored.empty()) {
    // FENCE: who was given a key must not find the door open because the secret is gone.
    return *outside.ledger.error();
  }
  server.set_keys(std::move(keys));
  outside.budgets.set_key_caps(caps_of(stored));
  return {};
}

Result<server::CreatedKey> App::create_key(store::NewKey wanted, const base::Yield& yield) {
  if (outside.ledger.error()) return *outside.ledger.error();
  server::CreatedKey made = SHOAL_TRY(outside.ledger.create_key(std::move(wanted), yield));
  SHOAL_TRY(apply_keys(config->server, yield));
  return made;
}

Result<store::Key> App::revoke_key(std::string name, const base::Yield& yield) {
  if (outside.ledger.error()) return *outside.ledger.error();
  store::Key gone = SHOAL_TRY(outside.ledger.revoke_key(std::move(name), yield));
  SHOAL_TRY(apply_keys(config->server, yield));
  return gone;
}

Result<void> App::amend(Amendment change) {
  auto next = amended(*config, change);
  SHOAL_TRY(outside.apply(*next));
  config = std::move(next);
  amendment = std::move(change);
  return {};
}

Result<void> App::reload(const base::Yield& yield) {
  const auto apply = [&]() -> Result<void> {
    config::Loaded loaded = SHOAL_TRY(config::reload(*config, request));
    if (amendment) loaded.config = amended(*loaded.config, amendment);
    const config::ServerConfig& next = loaded.config->server;
    SHOAL_TRY(config::check_bind(next, has_stored_keys(next.data_dir)));
    if (auto readable = load_keys(next); !readable.ok()) return std::move(readable).error();
    SHOAL_TRY(outside.apply(*loaded.config));
    SHOAL_TRY(apply_keys(next, yield));
    // Nothing below can fail: all or nothing.
    for (const config::Overridden& value : loaded.overridden) {
      parts.log.warn("a value of the file has no effect",
                     {{"key", value.key}, {"place", value.place}, {"set_by", value.by}});
    }
    config = std::move(loaded.config);
    parts.log.set_level(log_level(config->log));
    warn_of_routes(*config, parts.engine, parts.log);
    server.set_tasks(outside.outside.config->tasks);
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
