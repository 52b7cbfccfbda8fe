// The configuration as typed values: what every other part is built from. Defaults are here; names, units, ranges
// and help are in the one table of keys.h. Place: filled by load.h, mapped onto options structs by cli/.
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

struct LogConfig {
  std::string level = "info";
  std::string format = "auto";
};

struct Config {
  ServerConfig server;
  EngineConfig engine;
  ModelsConfig models;
  LogConfig log;
};

// Whether only this machine can connect to `host`: localhost, 127.0.0.0/8 or ::1.
[[nodiscard]] bool is_loopback(const std::string& host);

// Errors: kUnsafeBind for an address that others can reach, without keys.
[[nodiscard]] Result<void> check_bind(const ServerConfig& server);

}  // namespace shoal::config
