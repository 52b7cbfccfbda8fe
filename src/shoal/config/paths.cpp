#include "shoal/config/paths.h"

#include <filesystem>

namespace shoal::config {
namespace {

namespace fs = std::filesystem;

// The XDG specification: a relative path in one of these variables is to be ignored.
std::string base_dir(const Environment& environment, std::string_view name, std::string_view below_home) {
  const std::string_view set = variable(environment, name);
  if (set.starts_with('/')) return std::string(set);
  const std::string_view home = variable(environment, "HOME");
  return home.starts_with('/') ? (fs::path(home) / below_home).string() : std::string();
}

std::string resolve(const std::string& folder, const std::string& path) {
  if (path.empty() || path.starts_with('/') || folder.empty()) return path;
  return (fs::path(folder) / path).lexically_normal().string();
}

}  // namespace

std::string_view variable(const Environment& environment, std::string_view name) {
  for (const auto& [key, value] : environment) {
    if (key == name) return value;
  }
  return {};
}

std::string default_config_file(const Environment& environment) {
  const std::string dir = base_dir(environment, "XDG_CONFIG_HOME", ".config");
  return dir.empty() ? dir : dir + "/shoal/config.toml";
}

std::string default_data_dir(const Environment& environment) {
  const std::string dir = base_dir(environment, "XDG_DATA_HOME", ".local/share");
  return dir.empty() ? "shoal-data" : dir + "/shoal";
}

std::string default_admin_socket(const Environment& environment, const std::string& data_dir) {
  const std::string_view runtime = variable(environment, "XDG_RUNTIME_DIR");
  return (runtime.starts_with('/') ? std::string(runtime) + "/shoal" : data_dir) + "/admin.sock";
}

void resolve_paths(const Form& form, const std::string& folder, Value& value) {
  if (form.type == Type::kPath) {
    auto& path = std::get<std::string>(value);
    path = resolve(folder, path);
  } else if (form.type == Type::kPathList) {
    for (std::string& path : std::get<std::vector<std::string>>(value)) path = resolve(folder, path);
  }
}

}  // namespace shoal::config
