#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "shoal/cli/app.h"

namespace shoal::cli {
namespace {

constexpr std::uintmax_t kMaxKeyFileBytes = std::uintmax_t{1024} * 1024;

// Whether another server answers on that Unix socket.
bool is_answered(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return false;
  std::memcpy(address.sun_path, path.data(), path.size());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const bool connected = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::close(fd);
  return connected;
}

Result<std::string> read_key_file(const std::string& path) {
  std::error_code error;
  const bool regular = std::filesystem::is_regular_file(path, error);
  if (error)
    return Error(ErrorCode::kInvalidConfig, fmt::format("server.api_keys_file: {}: {}", path, error.message()));
  if (!regular || std::filesystem::file_size(path, error) > kMaxKeyFileBytes) {
    return Error(ErrorCode::kInvalidConfig,
                 fmt::format("server.api_keys_file: {} is not a file of at most 1 MiB", path));
  }
  std::ifstream file(path, std::ios::binary);
  if (!file)
    return Error(ErrorCode::kInvalidConfig, base::errno_error("server.api_keys_file: " + path, errno).message());
  return std::string(std::istreambuf_iterator<char>(file), {});
}

}  // namespace

Result<server::KeySet> load_keys(const config::ServerConfig& config) {
  if (!config.api_keys_file.empty()) {
    return server::KeySet::parse(SHOAL_TRY(read_key_file(config.api_keys_file)), config.api_keys_file);
  }
  if (config.api_keys_env.empty()) return server::KeySet();
  const char* keys = std::getenv(config.api_keys_env.c_str());
  if (keys == nullptr) {
    return Error(ErrorCode::kInvalidConfig,
                 fmt::format("server.api_keys_env names the variable {}, which is not set", config.api_keys_env));
  }
  return server::KeySet::parse(keys, config.api_keys_env);
}

net::HttpServerOptions http_options(const config::ServerConfig& config, base::Log& log) {
  net::HttpServerOptions options;
  options.listeners.push_back(
      {.kind = net::ListenerKind::kPublic, .host = config.host, .port = static_cast<std::uint16_t>(config.port)});
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(config.admin_socket).parent_path(), error);
  // Two servers of one user may run side by side; `shoal ps` then talks to the first.
  if (is_answered(config.admin_socket)) {
    log.warn("no admin socket: another server answers on it", {{"path", config.admin_socket}});
  } else {
    options.listeners.push_back({.kind = net::ListenerKind::kAdmin, .unix_path = config.admin_socket});
  }
  options.max_body_bytes = static_cast<std::size_t>(config.max_body_bytes);
  options.max_connections = static_cast<std::size_t>(config.max_connections);
  options.allowed_hosts = config.allowed_hosts;
  options.allowed_origins = config.allowed_origins;
  return options;
}

}  // namespace shoal::cli
