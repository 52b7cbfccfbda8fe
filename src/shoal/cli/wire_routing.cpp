#include <filesystem>
#include <utility>

#include "shoal/cli/app.h"
#include "shoal/routing/calibration_file.h"

namespace shoal::cli {

Calibrations load_calibrations(const config::Config& config, std::vector<routing::Table> shipped, base::Log& log) {
  routing::Tables loaded = routing::load_tables(std::filesystem::path(config.server.data_dir) / "calibration");
  for (const routing::BadFile& bad : loaded.bad) {
    log.warn("a calibration table is not used", {{"file", bad.path.string()}, {"reason", bad.error.message()}});
  }
  for (routing::Table& table : loaded.tables) shipped.push_back(std::move(table));
  return std::make_shared<const std::vector<routing::Table>>(std::move(shipped));
}

}  // namespace shoal::cli
