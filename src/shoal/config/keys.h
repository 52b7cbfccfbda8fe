// The one table of configuration keys: name, type, unit, range, default, whether a change needs a restart, help.
// Parsing, environment overrides, `config explain`, `config schema`, `config show` and the reference page are made
// from it, so a key is added here and nowhere else. Threads: any; immutable.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "shoal/config/config.h"

namespace shoal::config {

enum class Type : std::uint8_t { kBool, kInteger, kString, kChoice, kPath, kStringList, kPathList };
enum class Apply : std::uint8_t { kHot, kRestart };

using Value = std::variant<bool, std::int64_t, std::string, std::vector<std::string>>;

struct Key {
  std::string_view name;  // "server.port"
  Type type;
  std::string_view unit;  // "ms", "MiB"; empty: none
  std::int64_t min;       // of integers
  std::int64_t max;
  std::span<const std::string_view> choices;  // of choices
  Apply apply;
  std::string_view help;
  Value (*read)(const Config&);
  void (*write)(Config&, Value);  // REQUIRES: a value of the key's type

  [[nodiscard]] std::string_view section() const { return name.substr(0, name.find('.')); }
  [[nodiscard]] std::string_view leaf() const { return name.substr(name.find('.') + 1); }
  // "SHOAL_SERVER__PORT".
  [[nodiscard]] std::string variable() const;
  // "integer, 0 to 65535", "one of \"auto\", \"text\"".
  [[nodiscard]] std::string type_text() const;
};

// In the order of the reference: grouped by section.
[[nodiscard]] std::span<const Key> keys();
[[nodiscard]] const Key* find_key(std::string_view name);

// As TOML writes it: `8080`, `"info"`, `["a", "b"]`.
[[nodiscard]] std::string to_toml(const Value& value);
[[nodiscard]] std::string to_json(const Value& value);

// Why `value` is not one for this key ("wanted an integer from 0 to 65535, got 99999"); nothing: it is.
[[nodiscard]] std::optional<std::string> check_value(const Key& key, const Value& value);

// Reads what a variable or a flag says: lists are separated by commas. Errors: kInvalidConfig, without a place.
[[nodiscard]] Result<Value> parse_value(const Key& key, std::string_view text);

}  // namespace shoal::config
