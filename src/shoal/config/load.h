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
#include "shoal/config/fault.h"
#include "shoal/config/keys.h"
#include "shoal/config/records.h"

namespace shoal::config {

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

// Where a record came from, and each of its fields.
struct RecordOrigin {
  Origin self;                 // its header
  std::vector<Origin> fields;  // in the order of its kind
  bool unknown = false;        // it has a field that is none: a typo of one that seems to be missing
  bool faulty = false;         // a value is wrong: what depends on it is not judged
};
// One list per kind, in the order of record_kinds(); in each the records in the order of Config.
using RecordOrigins = std::vector<std::vector<RecordOrigin>>;

// A value of the file that has no effect.
struct Overridden {
  std::string key;    // "server.port", "provider.openai.base_url"
  std::string place;  // "config.toml:3"
  std::string by;     // "--port"
};

struct Loaded {
  std::shared_ptr<const Config> config;
  std::string file;             // empty: none was read
  std::vector<Origin> origins;  // one per key, in the order of keys()
  RecordOrigins records;
  std::vector<Overridden> overridden{};
};

struct LoadOutcome {
  std::optional<Loaded> loaded;  // set when `faults` is empty
  std::vector<Fault> faults;

  // Errors: kInvalidConfig with every fault.
  [[nodiscard]] Result<Loaded> result() &&;
};

[[nodiscard]] LoadOutcome load(const LoadRequest& request);

// One layer alone: the text of a file called `name`, without what only all layers together can show to be wrong. For
// tests and fuzzing; relative paths count from `folder`. `records` may be null.
[[nodiscard]] std::vector<Fault> apply_toml(std::string_view text, const std::string& name, const std::string& folder,
                                            Config& config, std::vector<Origin>& origins,
                                            RecordOrigins* records = nullptr);

// A text called `name` that holds [[price]] tables and nothing else. Errors: kInvalidConfig with every fault.
[[nodiscard]] Result<std::vector<PriceConfig>> parse_prices(std::string_view toml, const std::string& name);

// SHOAL_* variables that are not keys, and what they are for.
struct KnownVariable {
  std::string_view name;  // ends with '*' when it is a prefix
  std::string_view help;
};
[[nodiscard]] std::span<const KnownVariable> other_variables();

// The keys, and the fields of records that are in both, that differ and need a restart. Empty: `after` may replace
// `before` in a running server. Records come and go without a restart. `kinds` is for tests.
[[nodiscard]] std::vector<std::string> restart_keys_changed(const Config& before, const Config& after,
                                                            std::span<const RecordKind> kinds = record_kinds());

// For SIGHUP: loads again and checks the change. Errors: kInvalidConfig with every fault, or naming every changed key
// that needs a restart; `before` then stays in force.
[[nodiscard]] Result<Loaded> reload(const Config& before, const LoadRequest& request);

}  // namespace shoal::config
