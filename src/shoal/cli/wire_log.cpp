#include <unistd.h>

#include "shoal/base/terminal.h"
#include "shoal/cli/app.h"

namespace shoal::cli {

base::LogLevel log_level(const config::LogConfig& config) {
  if (config.level == "debug") return base::LogLevel::kDebug;
  if (config.level == "warn") return base::LogLevel::kWarn;
  if (config.level == "error") return base::LogLevel::kError;
  if (config.level == "off") return base::LogLevel::kOff;
  return base::LogLevel::kInfo;
}

base::Log make_log(const config::LogConfig& config) {
  const bool text = config.format == "text" || (config.format == "auto" && base::is_terminal(STDERR_FILENO));
  return {text ? base::LogFormat::kText : base::LogFormat::kJson, log_level(config)};
}

}  // namespace shoal::cli
