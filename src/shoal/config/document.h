// Texts made from the tables of keys and records: explanations, the JSON Schema, the effective values, the reference
// page. Threads: any; pure.
#pragma once

#include <string>

#include "shoal/config/keys.h"
#include "shoal/config/load.h"
#include "shoal/config/records.h"

namespace shoal::config {

// Type, unit, default, value, the layer that set it, and whether a change needs a restart. `loaded` may be null.
[[nodiscard]] std::string explain(const Key& key, const Loaded* loaded);
[[nodiscard]] std::string explain_json(const Key& key, const Loaded* loaded);

// The same of a field: of one record, or of all of its kind.
[[nodiscard]] std::string explain(const FieldName& name, const Loaded* loaded);
[[nodiscard]] std::string explain_json(const FieldName& name, const Loaded* loaded);

// A JSON Schema (2020-12) of the file.
[[nodiscard]] std::string schema();

// The effective configuration as TOML, with a comment on each line that says where the value came from.
// Holds no secrets: keys are only ever named by file or variable.
[[nodiscard]] std::string show(const Loaded& loaded);
[[nodiscard]] std::string show_json(const Loaded& loaded);

// docs/reference/configuration.md.
[[nodiscard]] std::string reference();

}  // namespace shoal::config
