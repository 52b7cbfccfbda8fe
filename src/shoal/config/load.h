// Loading: defaults, then the file, then SHOAL_* variables, then flags, checked as one. Every fault is found in one
// run, with its place and, where there is one, the name that was probably meant. All or nothing: with a fault there
// is no configuration. Use: `load({.path = "shoal.toml", .environment = environment()})`.
// Threads: any. load() reads files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shoal/config/config.h"
#include "shoal/config/keys.h"

namespace shoal::config {

enum class Layer : std::uint8_t { kDefault, kFile, kEnvironment, kFlag };
[[nodiscard]] std::string_view layer_name(Layer layer);

// Where a value came from: "default", "config.toml:3", "SHOAL_SERVER__PORT", "--port".
struct Origin {
  Layer layer = Layer::kDefault;
  std::string place = "default";
};

// One thing that is wrong.
struct Fault {
  std::string place;         // the file, the variable or the flag
  std::uint32_t line = 0;    // from 1; 0: not in a file
  std::uint32_t column = 0;  // from 1, in characters
  std::uint32_t width = 1;   // characters to underline
  std::string source;        // the line as it is written
  std::string message;
  std::string suggestion;  // "did you mean ...", or what to do; may be empty
};

// `config.toml:3:1: error: unknown key "server.prot"`, the line, a caret, and the suggestion.
[[nodiscard]] std::string render(const Fault& fault);
// All of them as one error of code kInvalidConfig. REQUIRES: at least one.
[[nodiscard]] Error to_error(std::span<const Fault> faults);

struct FlagValue {
  std::string key;   // "server.port"
  std::string text;  // as typed
  std::string flag;  // "--port"
};

using Environment = std::vector<std::pair<std::string, std::string>>;
// The variables of this process.
[[nodiscard]] Environment environment();

struct LoadRequest {
  // The file. None: $SHOAL_CONFIG, else $XDG_CONFIG_HOME/shoal/config.toml (or ~/.config/...) when it exists.
  std::optional<std::string> path{};
  Environment environment{};
  std::vector<FlagValue> flags{};
};

// A value of the file that has no effect.
struct Overridden {
  std::string_view key;
  std::string place;  // "config.toml:3"
  std::string by;     // "--port"
};

struct Loaded {
  std::shared_ptr<const Config> config;
  std::string file;             // empty: none was read
  std::vector<Origin> origins;  // one per key, in the order of keys()
  std::vector<Overridden> overridden{};
};

struct LoadOutcome {
  std::optional<Loaded> loaded;  // set when `faults` is empty
  std::vector<Fault> faults;

  // Errors: kInvalidConfig with every fault.
  [[nodiscard]] Result<Loaded> result() &&;
};

[[nodiscard]] LoadOutcome load(const LoadRequest& request);

// One layer alone: the text of a file called `name`. For tests and fuzzing; relative paths count from `folder`.
[[nodiscard]] std::vector<Fault> apply_toml(std::string_view text, const std::string& name, const std::string& folder,
                                            Config& config, std::vector<Origin>& origins);

// SHOAL_* variables that are not keys, and what they are for.
struct KnownVariable {
  std::string_view name;  // ends with '*' when it is a prefix
  std::string_view help;
};
[[nodiscard]] std::span<const KnownVariable> other_variables();

// The keys that differ and need a restart. Empty: `after` may replace `before` in a running server.
[[nodiscard]] std::vector<std::string> restart_keys_changed(const Config& before, const Config& after);

// For SIGHUP: loads again and checks the change. Errors: kInvalidConfig with every fault, or naming every changed key
// that needs a restart; `before` then stays in force.
[[nodiscard]] Result<Loaded> reload(const Config& before, const LoadRequest& request);

}  // namespace shoal::config
