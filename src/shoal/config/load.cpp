#include "shoal/config/load.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include "shoal/base/suggest.h"
#include "shoal/base/text.h"
#include "shoal/config/paths.h"

namespace shoal::config {
namespace {

namespace fs = std::filesystem;

// A configuration is a page or two; more is a wrong file.
constexpr std::uintmax_t kMaxFileBytes = std::uintmax_t{1} << 20U;

constexpr std::array kOther = {
    KnownVariable{"SHOAL_CONFIG", "the configuration file, as --config"},
    KnownVariable{"SHOAL_CACHE", "folder of sources and builds that clones of the repository share"},
    KnownVariable{"SHOAL_TEST_*", "read by the tests"},
};

bool is_other(std::string_view name) {
  return std::ranges::any_of(kOther, [&](const KnownVariable& known) {
    if (known.name.ends_with('*')) return name.starts_with(known.name.substr(0, known.name.size() - 1));
    return known.name == name;
  });
}

Fault plain_fault(std::string place, std::string message, std::string suggestion = {}) {
  Fault found;
  found.place = std::move(place);
  found.message = std::move(message);
  found.suggestion = std::move(suggestion);
  return found;
}

class Loader {
 public:
  explicit Loader(const LoadRequest& request) : request_(request) { origins_.resize(keys().size()); }

  LoadOutcome run() {
    file();
    variables();
    flags();
    whole();
    if (!faults_.empty()) return {.loaded = std::nullopt, .faults = std::move(faults_)};
    fill_paths();
    for (Overridden& value : overridden_) value.by = origin_of(value.key).place;
    return {.loaded = Loaded{.config = std::make_shared<const Config>(std::move(config_)),
                             .file = std::move(file_),
                             .origins = std::move(origins_),
                             .overridden = std::move(overridden_)},
            .faults = {}};
  }

 private:
  void file() {
    std::string path = request_.path.value_or(std::string(variable(request_.environment, "SHOAL_CONFIG")));
    const bool asked_for = request_.path.has_value() || !path.empty();
    if (!asked_for) path = default_config_file(request_.environment);
    std::error_code code;
    if (!asked_for && (path.empty() || !fs::exists(path, code))) return;
    if (fs::is_directory(path, code)) {
      faults_.push_back(plain_fault(path, "this is a folder, wanted a TOML file"));
      return;
    }
    std::ifstream in(path, std::ios::binary);
    if (!in) {
      faults_.push_back(plain_fault(path, base::errno_error("cannot read the configuration", errno).message()));
      return;
    }
    std::string text(kMaxFileBytes + 1, '\0');
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(in.gcount()));
    if (text.size() > kMaxFileBytes) {
      faults_.push_back(plain_fault(path, "the file is larger than 1 MiB; this is not a configuration"));
      return;
    }
    faults_ = apply_toml(text, path, fs::absolute(path, code).parent_path().string(), config_, origins_);
    file_ = std::move(path);
  }

  void variables() {
    Environment sorted = request_.environment;
    std::ranges::sort(sorted);
    for (const auto& [name, text] : sorted) {
      if (!name.starts_with("SHOAL_") || is_other(name)) continue;
      const auto found = std::ranges::find(keys(), name, &Key::variable);
      if (found != keys().end()) {
        set(*found, text, {Layer::kEnvironment, name});
      } else if (name != variable(request_.environment, "SHOAL_SERVER__API_KEYS_ENV") &&
                 name != config_.server.api_keys_env) {
        unknown_variable(name);
      }
    }
  }

  void unknown_variable(const std::string& name) {
    std::vector<std::string> names;
    for (const Key& key : keys()) names.push_back(key.variable());
    for (const KnownVariable& known : kOther) names.emplace_back(known.name);
    const std::string near = base::suggest(name, names);
    faults_.push_back(plain_fault(
        name, "unknown variable: every SHOAL_* variable must be one that Shoal reads",
        near.empty() ? "unset it; `shoal config reference` lists every key" : fmt::format("did you mean {}?", near)));
  }

  void flags() {
    for (const FlagValue& flag : request_.flags) {
      if (const Key* const key = find_key(flag.key)) set(*key, flag.text, {Layer::kFlag, flag.flag});
    }
  }

  void set(const Key& key, const std::string& text, Origin origin) {
    Result<Value> parsed = parse_value(key, text);
    if (!parsed.ok()) {
      faults_.push_back(plain_fault(origin.place, fmt::format("`{}`: {}", key.name, parsed.error().message())));
      return;
    }
    Value value = std::move(parsed).value();
    std::error_code code;
    resolve_paths(key, fs::current_path(code).string(), value);
    key.write(config_, std::move(value));
    Origin& before = origin_of(key.name);
    if (before.layer == Layer::kFile) overridden_.push_back({key.name, std::move(before.place), {}});
    before = std::move(origin);
  }

  // What no key can say alone.
  void whole() {
    if (!config_.server.api_keys_env.empty() && !config_.server.api_keys_file.empty()) {
      at("server.api_keys_env", "server.api_keys_file is set too: keys come from one place", "remove one of them");
    }
    if (!config_.server.api_keys_env.empty() && variable(request_.environment, config_.server.api_keys_env).empty()) {
      at("server.api_keys_env",
         fmt::format("the variable {} is not set", base::escape_control(config_.server.api_keys_env)),
         "this key names a variable; it never holds the secret itself");
    }
    if (config_.engine.heartbeat_timeout_ms < config_.engine.heartbeat_ms) {
      at("engine.heartbeat_timeout_ms",
         fmt::format("must be at least engine.heartbeat_ms, which is {}", config_.engine.heartbeat_ms), "");
    }
  }

  void at(std::string_view key, const std::string& message, std::string suggestion) {
    faults_.push_back(plain_fault(origin_of(key).place, fmt::format("`{}`: {}", key, message), std::move(suggestion)));
  }

  // REQUIRES: a key of the table.
  Origin& origin_of(std::string_view key) { return origins_[static_cast<std::size_t>(find_key(key) - keys().data())]; }

  void fill_paths() {
    if (config_.server.data_dir.empty()) config_.server.data_dir = default_data_dir(request_.environment);
    if (config_.server.admin_socket.empty()) {
      config_.server.admin_socket = default_admin_socket(request_.environment, config_.server.data_dir);
    }
  }

  const LoadRequest& request_;
  Config config_;
  std::vector<Origin> origins_;
  std::vector<Fault> faults_;
  std::vector<Overridden> overridden_;
  std::string file_;
};

}  // namespace

Environment environment() {
  Environment all;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::size_t equals = text.find('=');
    if (equals != std::string_view::npos) all.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return all;
}

std::span<const KnownVariable> other_variables() {
  return kOther;
}

LoadOutcome load(const LoadRequest& request) {
  return Loader(request).run();
}

std::vector<std::string> restart_keys_changed(const Config& before, const Config& after) {
  std::vector<std::string> changed;
  for (const Key& key : keys()) {
    if (key.apply == Apply::kRestart && key.read(before) != key.read(after)) changed.emplace_back(key.name);
  }
  return changed;
}

Result<Loaded> reload(const Config& before, const LoadRequest& request) {
  Loaded loaded = SHOAL_TRY(load(request).result());
  const std::vector<std::string> changed = restart_keys_changed(before, *loaded.config);
  if (!changed.empty()) {
    return Error(ErrorCode::kInvalidConfig, fmt::format("nothing was changed: {} need{} a restart",
                                                        fmt::join(changed, ", "), changed.size() == 1 ? "s" : ""));
  }
  return loaded;
}

}  // namespace shoal::config
