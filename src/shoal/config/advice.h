// What somebody probably meant who wrote a name that is none. Only ever shown, never acted on. Place: inside config/.
// Threads: any; pure.
#pragma once

#include <string>
#include <string_view>

#include "shoal/config/records.h"

namespace shoal::config {

// Of an unknown `name` at the top of the file.
[[nodiscard]] std::string top_level_advice(std::string_view name);
// Of an unknown `name` in [section].
[[nodiscard]] std::string key_advice(std::string_view section, std::string_view name);
// Of an unknown `name` in a record.
[[nodiscard]] std::string field_advice(const RecordKind& kind, std::string_view name);

}  // namespace shoal::config
