// The configuration as typed values: what every other part is built from. Defaults are here; names, units, ranges
// and help are in the tables of keys.h and records.h. Place: filled by load.h, mapped onto options structs by cli/.
// Immutable once loaded; a reload makes a new one. Owned by cli/'s App as shared_ptr<const Config>. Threads: any.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shoal/base/result.h"

namespace shoal::config {

struct ServerConfig {
  std::string host = "127.0.0.1";
  std::int64_t port = 8080;
  std::string data_dir;  // load() fills it when it is empty
  std::vector<std::string> allowed_hosts;
  std::vector<std::string> allowed_origins;
  std::string api_keys_file;
  std::string api_keys_env;  // the name of a variable, not its value
  std::int64_t max_body_bytes = 8 * 1024 * 1024;
  std::int64_t max_connections = 1024;
  std::int64_t request_timeout_ms = 600'000;
  std::int64_t drain_timeout_ms = 30'000;
  std::string admin_socket;  // load() fills it when it is empty
};

struct EngineConfig {
  std::string default_model = "smollm2-135m-instruct";
  std::string default_embedding_model;
  std::vector<std::string> preload;
  std::string sandbox = "required";
  std::int64_t memory_budget_mib = 0;
  std::int64_t context_length = 0;
  std::int64_t slots = 4;
  std::int64_t threads = 0;
  std::int64_t ubatch = 512;
  std::string kv_type = "f16";
  bool mmap = false;
  bool exact = false;
  bool prefix_cache = true;
  bool speculation = true;
  std::int64_t prefix_cache_mib = 64;
  std::int64_t max_queue = 64;
  std::int64_t worker_memory_limit_mib = 0;
  std::int64_t idle_unload_ms = 600'000;
  std::int64_t turn_ms = 10'000;
  std::int64_t load_timeout_ms = 120'000;
  std::int64_t heartbeat_ms = 2'000;
  std::int64_t heartbeat_timeout_ms = 10'000;
  std::int64_t progress_timeout_ms = 30'000;
  std::int64_t stop_timeout_ms = 2'000;
  std::string worker_path;
};

struct ModelsConfig {
  std::string catalogue;
  std::vector<std::string> dirs;
  bool found = true;
  std::string optimise = "free";
};

struct EgressConfig {
  bool allowed = true;
};

// Amounts are USD as decimal text that was checked; empty: none.
struct LedgerConfig {
  std::string daily_usd;
  std::string monthly_usd;
  std::string local_usd_per_hour = "0.05";
  std::string baseline;  // "provider/model"
};

struct AuditConfig {
  std::string receipts = "all";
};

struct LogConfig {
  std::string level = "info";
  std::string format = "auto";
};

// One [provider.NAME]: somebody else's models.
struct ProviderConfig {
  std::string name;
  std::string kind = "openai";
  std::string base_url;
  std::vector<std::string> key_env;  // names of variables, not their values
  std::string key_file;
  bool local = false;
  std::vector<std::string> models;
  std::string daily_cap_usd = "1.00";
  std::string durability = "batch";
  std::int64_t max_concurrent = 64;
  bool drain = true;
  std::int64_t connect_timeout_ms = 10'000;
  std::int64_t headers_timeout_ms = 60'000;
  std::int64_t first_token_timeout_ms = 60'000;
  std::int64_t token_timeout_ms = 30'000;
  std::int64_t answer_timeout_ms = 300'000;
  std::string limit_parameter = "auto";
};

// One [route.NAME]: which models answer those who ask for the model NAME, and when.
struct RouteConfig {
  std::string name;
  std::string policy = "slm_first";  // load() makes it slm_only where nobody set it and there is no `remote`
  std::string local;                 // empty: engine.default_model
  std::string local_task;            // a trained task in its place; empty: none
  std::vector<std::string> remote;   // "provider/model", each of a provider that is configured
  double threshold = 0.80;
  double risk = 0;  // 0: `threshold` counts
  double risk_confidence = 0.95;
  std::string router;  // empty: none
  double least_gain = 0.2;
  std::string domains;                     // a trained task; empty: none
  std::vector<std::string> domain_routes;  // "label=route"
  double least_domain = 0.8;
  std::string system_prompt;
  double audit_share = 0;
  std::int64_t audit_seed = 1;
  std::int64_t escalations_per_hour = 0;
  std::int64_t commit_tokens = 16;
  std::int64_t commit_ms = 1'500;
  std::string latency = "interactive";
  std::string cost_cap_usd;  // empty: none
  std::string privacy = "any";
  std::string on_null_confidence = "auto";
  std::string on_local_error = "escalate";
  std::string on_remote_error = "local";
  std::string on_budget = "local";
  std::int64_t max_attempts = 3;
  std::string task;
};

// One [[price]]: what a model costs from a day on. Rates are USD per million tokens as decimal text; empty: none.
struct PriceConfig {
  std::string provider;
  std::string model;  // whole, or its beginning and a '*'
  std::string from;   // "2026-03-01", UTC, included
  std::string input_usd;
  std::string output_usd;
  std::string cache_read_usd;
  std::string cache_write_5m_usd;
  std::string cache_write_1h_usd;
  std::string reasoning_usd;
  std::string request_usd;               // per request
  std::int64_t above_prompt_tokens = 0;  // 0: there is no second tier
  std::string above_input_usd;
  std::string above_cache_read_usd;
  std::string above_cache_write_5m_usd;
  std::string above_cache_write_1h_usd;
  std::string above_output_usd;
  std::string above_reasoning_usd;
  std::int64_t image_tokens = 0;     // 0: images have no rule
  std::int64_t message_tokens = 32;  // as ledger::kMessageTokens
  std::int64_t tool_tokens = 1024;   // as ledger::kToolTokens
  std::string source;
  std::string checked;
};

struct Config {
  ServerConfig server;
  EngineConfig engine;
  ModelsConfig models;
  EgressConfig egress;
  LedgerConfig ledger;
  AuditConfig audit;
  LogConfig log;
  // In the order of the file.
  std::vector<ProviderConfig> providers;
  std::vector<RouteConfig> routes;
  std::vector<PriceConfig> prices;
};

// Whether only this machine can connect to `host`: localhost, 127.0.0.0/8 or ::1.
[[nodiscard]] bool is_loopback(const std::string& host);

// `other_keys`: there are some that the configuration does not name. Errors: kUnsafeBind for an address that others can
// reach, without keys.
[[nodiscard]] Result<void> check_bind(const ServerConfig& server, bool other_keys);

}  // namespace shoal::config
