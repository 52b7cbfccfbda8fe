// Where files are by default, from the XDG base directories, and paths made absolute. Threads: any; pure.
#pragma once

#include <string>
#include <string_view>

#include "shoal/config/load.h"

namespace shoal::config {

// The value of a variable; empty: unset.
[[nodiscard]] std::string_view variable(const Environment& environment, std::string_view name);

// $XDG_CONFIG_HOME/shoal/config.toml; empty without a home.
[[nodiscard]] std::string default_config_file(const Environment& environment);
// $XDG_DATA_HOME/shoal; "shoal-data" without a home.
[[nodiscard]] std::string default_data_dir(const Environment& environment);
// $XDG_RUNTIME_DIR/shoal/admin.sock, or admin.sock in the data folder.
[[nodiscard]] std::string default_admin_socket(const Environment& environment, const std::string& data_dir);

// Relative paths in `value` count from `folder`; does nothing to values of other types.
void resolve_paths(const Form& form, const std::string& folder, Value& value);

}  // namespace shoal::config
