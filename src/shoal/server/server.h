// Server: the routes of the HTTP API. Finds the route, checks method, key and content type, runs the handler
// (routes.cpp), counts and logs. Errors always are JSON, unknown paths too.
//
// Use: pass handle() to net::HttpServer as its public and its admin handler. Owned by cli/'s App, which
// outlives every request. Threads: the I/O thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "shoal/base/async.h"
#include "shoal/base/clock.h"
#include "shoal/base/log.h"
#include "shoal/engine/engine.h"
#include "shoal/gateway/pipeline.h"
#include "shoal/learning/class_model.h"
#include "shoal/net/http.h"
#include "shoal/routing/tasks.h"
#include "shoal/server/exchange.h"
#include "shoal/server/key_set.h"
#include "shoal/server/ledger_answers.h"
#include "shoal/server/ledger_json.h"
#include "shoal/server/metrics.h"
#include "shoal/store/feeder.h"
#include "shoal/telemetry/metrics.h"
#include "shoal/types/chat.h"
#include "shoal/types/score.h"
#include "shoal/wire/openai/print.h"

namespace shoal::server {

struct ServerOptions {
  std::string default_model;            // as the pipeline has it: /readyz reports on it
  std::string default_embedding_model;  // for embedding requests that name none; empty: the first that embeds
  std::int64_t request_timeout_ms = 600'000;
  std::vector<std::string> allowed_origins;  // of other pages that may read the answers: they get CORS headers
};

// What the routes of receipts, costs and keys ask.
struct LedgerHooks {
  store::Feeder* feeder = nullptr;  // null: there is no store
  // The key holds, or holds no more, when it returns. Errors: those of Store; kIo without a store.
  std::function<Result<CreatedKey>(store::NewKey wanted, base::Yield)> create_key;
  std::function<Result<store::Key>(std::string name, base::Yield)> revoke_key;
  // Computes all costs again by the prices of now. Errors: those of Feeder.
  std::function<Result<store::RepriceProgress>(base::Yield)> reprice;
  // JSON: where the thresholds of a route stand. Empty: no server runs.
  std::function<std::string(const std::string& route)> drift;
  // Durable when it returns. Errors: kJournalFailed, kOverloaded, kDeadlineExceeded; kIo without a journal.
  std::function<Result<void>(const audit::Label& label, base::Yield)> write_label;
  // What an hour of computing here is taken to cost.
  std::function<ledger::Pico()> local_per_hour;
};

// What the admin socket can do to the process; empty: answered as unimplemented.
struct AdminHooks {
  // Reads the configuration again, all or nothing. Errors: kInvalidConfig.
  std::function<Result<void>(base::Yield)> reload;
  // What the machine can do at most; zeroes while that is not known. `idle`: no request runs, it may be measured now.
  std::function<engine::Demand(bool idle)> machine_speed;
  LedgerHooks ledger;
};

class Server {
 public:
  Server(gateway::Pipeline& pipeline, engine::Engine& engine, telemetry::Registry& registry, const base::Clock& clock,
         base::Log& log, ServerOptions options, KeySet keys, AdminHooks hooks = {});

  // Answers one request of either listener. The admin listener (a Unix socket that only its owner can open)
  // has the public routes too, without keys.
  void handle(const net::HttpRequest& request, net::ResponseWriter& writer, base::Yield yield);

  // After a reload; requests that run keep what they have.
  void set_keys(KeySet keys) { keys_ = std::move(keys); }
  // The same of tasks.
  void set_tasks(std::shared_ptr<const routing::Tasks> tasks) { tasks_ = std::move(tasks); }
  // Whether who asks over the network must have one.
  [[nodiscard]] bool needs_key() const { return !keys_.open(); }

 private:
  struct Route;
  [[nodiscard]] static std::span<const Route> routes();

  // True: it was a preflight, and is answered.
  bool cross_origin(Exchange& exchange) const;
  void dispatch(Exchange& exchange);
  [[nodiscard]] const Route* find(Exchange& exchange, std::string& allow, bool& path_known) const;
  [[nodiscard]] Result<void> check_key(Exchange& exchange) const;

  void chat(Exchange& exchange);
  void complete(Exchange& exchange);
  void embed(Exchange& exchange);
  void score(Exchange& exchange);
  void classify(Exchange& exchange);
  void tokenize(Exchange& exchange);
  void detokenize(Exchange& exchange);
  void test_route(Exchange& exchange);
  void list_models(Exchange& exchange);
  void show_model(Exchange& exchange);
  void health(Exchange& exchange);
  void ready(Exchange& exchange);
  void show_metrics(Exchange& exchange);
  void openapi(Exchange& exchange);
  void page(Exchange& exchange);
  void page_script(Exchange& exchange);
  void page_style(Exchange& exchange);
  void list_receipts(Exchange& exchange);
  void show_receipt(Exchange& exchange);
  void show_costs(Exchange& exchange);
  void show_risk(Exchange& exchange);
  void feedback(Exchange& exchange);
  void reprice(Exchange& exchange);
  void list_keys(Exchange& exchange);
  void create_key(Exchange& exchange);
  void revoke_key(Exchange& exchange);
  void list_workers(Exchange& exchange);
  void load_model(Exchange& exchange);
  void reload(Exchange& exchange);

  void answer(Exchange& exchange, wire::openai::AnswerKind kind, gateway::AnswerRequest request,
              std::vector<std::string> echo);
  // Errors: kIo without a store.
  [[nodiscard]] Result<LedgerAsk> ledger_ask(const Exchange& exchange) const;
  Result<void> embed_into(Exchange& exchange, const types::EmbeddingRequest& request);
  Result<void> score_into(Exchange& exchange);
  Result<void> classify_into(Exchange& exchange);
  Result<void> classify_task_into(Exchange& exchange, const types::ClassifyRequest& request);
  Result<void> find_slots_into(Exchange& exchange, const types::ClassifyRequest& request, const routing::Task& task);
  Result<void> feedback_into(Exchange& exchange);
  Result<void> test_route_into(Exchange& exchange);
  Result<void> tokenize_into(Exchange& exchange);
  Result<void> detokenize_into(Exchange& exchange);
  // One that the request names, or the default. Errors: kModelNotFound.
  [[nodiscard]] Result<types::ModelInfo> model_or_default(const std::string& name) const;
  // The server's own limit, or the client's when that is sooner. Errors: kInvalidRequest.
  [[nodiscard]] Result<base::Deadline> deadline(const Exchange& exchange) const;
  [[nodiscard]] Result<types::ModelInfo> embedding_model(const types::EmbeddingRequest& request) const;
  [[nodiscard]] std::vector<wire::openai::ModelEntry> model_entries() const;
  [[nodiscard]] std::string why_not_ready() const;

  gateway::Pipeline& pipeline_;
  engine::Engine& engine_;
  telemetry::Registry& registry_;
  const base::Clock& clock_;
  base::Log& log_;
  const ServerOptions options_;
  KeySet keys_;
  std::shared_ptr<const routing::Tasks> tasks_ = std::make_shared<const routing::Tasks>();
  learning::ClassScorer scorer_;
  const AdminHooks hooks_;
  ServerMetrics metrics_;
};

// The OpenAPI 3.1 document of the public routes, made from the tables that the parser reads.
[[nodiscard]] std::string openapi_document();

}  // namespace shoal::server
