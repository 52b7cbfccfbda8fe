// The one table of configuration keys, each there once: name, type, unit, range, default, whether a change needs a
// restart, help. Parsing, environment overrides, `config explain`, `config schema`, `config show` and the reference
// page are made from it, so a key is added here and nowhere else. What there may be any number of, with names that the
// user gives, is in records.h. Threads: any; immutable.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "shoal/config/config.h"
#include "shoal/config/value.h"

namespace shoal::config {

struct Key : Form {
  Value (*read)(const Config&);
  void (*write)(Config&, Value);  // REQUIRES: a value of the key's type

  [[nodiscard]] std::string_view section() const { return name.substr(0, name.find('.')); }
  [[nodiscard]] std::string_view leaf() const { return name.substr(name.find('.') + 1); }
  // "SHOAL_SERVER__PORT".
  [[nodiscard]] std::string variable() const;
};

// In the order of the reference: grouped by section.
[[nodiscard]] std::span<const Key> keys();
[[nodiscard]] const Key* find_key(std::string_view name);

}  // namespace shoal::config
