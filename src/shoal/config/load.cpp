#include "shoal/config/load.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include "shoal/base/suggest.h"
#include "shoal/base/text.h"
#include "shoal/config/paths.h"
#include "shoal/config/record_rules.h"
#include "shoal/config/record_variables.h"
#include "shoal/config/secrets.h"

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

class Loader {
 public:
  explicit Loader(const LoadRequest& request) : request_(request), records_(record_kinds().size()) {
    origins_.resize(keys().size());
  }

  LoadOutcome run() {
    file();
    variables();
    flags();
    whole();
    if (!faults_.empty()) return {.loaded = std::nullopt, .faults = std::move(faults_)};
    fill_paths();
    settle_policies(config_, records_);
    for (Overridden& value : overridden_) {
      if (value.by.empty()) value.by = origin_of(value.key).place;
    }
    return {.loaded = Loaded{.config = std::make_shared<const Config>(std::move(config_)),
                             .file = std::move(source_.name),
                             .origins = std::move(origins_),
                             .records = std::move(records_),
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
      faults_.push_back(fault_of(path, "this is a folder, wanted a TOML file"));
      return;
    }
    std::ifstream in(path, std::ios::binary);
    if (!in) {
      faults_.push_back(fault_of(path, base::errno_error("cannot read the configuration", errno).message()));
      return;
    }
    std::string text(kMaxFileBytes + 1, '\0');
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(in.gcount()));
    if (text.size() > kMaxFileBytes) {
      faults_.push_back(fault_of(path, "the file is larger than 1 MiB; this is not a configuration"));
      return;
    }
    faults_ = apply_toml(text, path, fs::absolute(path, code).parent_path().string(), config_, origins_, &records_);
    source_ = {.name = std::move(path), .text = std::move(text)};
  }

  void variables() {
    Environment sorted = request_.environment;
    std::ranges::sort(sorted);
    std::vector<std::string> named = variables_of_keys();
    std::vector<std::string> unknown;
    for (const auto& [name, text] : sorted) {
      if (!name.starts_with("SHOAL_") || is_other(name)) continue;
      const auto found = std::ranges::find(keys(), name, &Key::variable);
      if (found != keys().end()) {
        set(*found, text, {.layer = Layer::kEnvironment, .place = name});
      } else if (const auto targets = targets_of(name, config_); targets.empty()) {
        unknown.push_back(name);
      } else if (targets.size() == 1) {
        set(targets.front(), name, text);
      } else {
        faults_.push_back(ambiguous_variable(name, targets, config_));
      }
    }
    // Now it is known which variables hold keys.
    std::ranges::move(variables_of_keys(), std::back_inserter(named));
    for (const std::string& name : unknown) {
      if (std::ranges::find(named, name) == named.end()) unknown_variable(name);
    }
  }

  // Variables that hold keys may be called as their owner likes.
  std::vector<std::string> variables_of_keys() const {
    std::vector<std::string> names = {config_.server.api_keys_env};
    for (const ProviderConfig& provider : config_.providers)
      std::ranges::copy(provider.key_env, std::back_inserter(names));
    return names;
  }

  void unknown_variable(const std::string& name) {
    if (auto fault = unknown_record_variable(name, config_)) {
      faults_.push_back(*std::move(fault));
      return;
    }
    std::vector<std::string> names;
    for (const Key& key : keys()) names.push_back(key.variable());
    for (const KnownVariable& known : kOther) names.emplace_back(known.name);
    const std::string near = base::suggest(name, names);
    faults_.push_back(fault_of(
        name, "unknown variable: every SHOAL_* variable must be one that Shoal reads",
        near.empty() ? "unset it; `shoal config reference` lists every key" : fmt::format("did you mean {}?", near)));
  }

  void flags() {
    for (const FlagValue& flag : request_.flags) {
      if (const Key* const key = find_key(flag.key)) set(*key, flag.text, {.layer = Layer::kFlag, .place = flag.flag});
    }
  }

  // What a variable or a flag says, with paths from the folder of this process; nothing: a fault.
  std::optional<Value> parse(const Form& form, std::string_view path, const std::string& text,
                             const std::string& place) {
    Result<Value> parsed = parse_value(form, text);
    if (!parsed.ok()) {
      faults_.push_back(fault_of(place, fmt::format("`{}`: {}", path, parsed.error().message())));
      return std::nullopt;
    }
    std::error_code code;
    Value value = std::move(parsed).value();
    resolve_paths(form, fs::current_path(code).string(), value);
    return value;
  }

  void set(const VariableTarget& target, const std::string& name, const std::string& text) {
    const auto& [kind, field, record] = target;
    const std::string path = kind->path(kind->name_of(config_, record), *field);
    RecordOrigin& origin = records_[index_of(*kind)][record];
    Origin& before = origin.fields[kind->index_of(*field)];
    std::optional<Value> value = parse(*field, path, text, name);
    if (value) {
      field->write(config_, record, *std::move(value));
    } else {
      origin.faulty = true;
    }
    if (before.layer == Layer::kFile) overridden_.push_back({path, std::move(before.place), name});
    before = {.layer = Layer::kEnvironment, .place = name};
  }

  void set(const Key& key, const std::string& text, Origin origin) {
    std::optional<Value> value = parse(key, key.name, text, origin.place);
    if (!value) return;
    key.write(config_, *std::move(value));
    Origin& before = origin_of(key.name);
    if (before.layer == Layer::kFile) overridden_.push_back({std::string(key.name), std::move(before.place), {}});
    before = std::move(origin);
  }

  // What no key can say alone.
  void whole() {
    if (!config_.server.api_keys_env.empty() && !config_.server.api_keys_file.empty()) {
      at("server.api_keys_env", "server.api_keys_file is set too: keys come from one place", "remove one of them");
    }
    const std::string& keys_env = config_.server.api_keys_env;
    const bool named = is_variable_name(keys_env);
    if (!keys_env.empty() && variable(request_.environment, keys_env).empty()) {
      at("server.api_keys_env",
         named ? fmt::format("the variable {} is not set", keys_env) : "this is not the name of a variable",
         "this key names a variable; it never holds the secret itself");
      if (!named) faults_.back().source.clear();
    }
    if (config_.engine.heartbeat_timeout_ms < config_.engine.heartbeat_ms) {
      at("engine.heartbeat_timeout_ms",
         fmt::format("must be at least engine.heartbeat_ms, which is {}", config_.engine.heartbeat_ms), "");
    }
    std::ranges::move(
        check_records({.config = config_, .origins = records_, .environment = request_.environment, .source = source_}),
        std::back_inserter(faults_));
  }

  void at(std::string_view key, const std::string& message, std::string suggestion) {
    faults_.push_back(source_.fault(origin_of(key), fmt::format("`{}`: {}", key, message), std::move(suggestion)));
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
  RecordOrigins records_;
  std::vector<Fault> faults_;
  std::vector<Overridden> overridden_;
  SourceText source_;  // the file; no name: there is none
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

Result<Loaded> LoadOutcome::result() && {
  if (!faults.empty()) return to_error(faults);
  return *std::move(loaded);
}

std::vector<std::string> restart_keys_changed(const Config& before, const Config& after,
                                              std::span<const RecordKind> kinds) {
  std::vector<std::string> changed;
  for (const Key& key : keys()) {
    if (key.apply == Apply::kRestart && key.read(before) != key.read(after)) changed.emplace_back(key.name);
  }
  for (const RecordKind& kind : kinds) {
    for (std::size_t i = 0; i < kind.count(before); ++i) {
      const std::string_view name = kind.name_of(before, i);
      const auto same = find_record(kind, after, name);
      if (!same) continue;
      for (const Field& field : kind.fields) {
        if (field.apply == Apply::kRestart && field.read(before, i) != field.read(after, *same)) {
          changed.push_back(kind.path(name, field));
        }
      }
    }
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
