#include <filesystem>
#include <utility>

#include "shoal/cli/app.h"
#include "shoal/routing/calibration_file.h"
#include "shoal/routing/certificate.h"

namespace shoal::cli {

RoutingFiles load_routing_files(const config::Config& config, std::vector<routing::Table> shipped, base::Log& log) {
  const std::filesystem::path data(config.server.data_dir);
  routing::Tables loaded = routing::load_tables(data / "calibration");
  for (const routing::BadFile& bad : loaded.bad) {
    log.warn("a calibration table is not used", {{"file", bad.path.string()}, {"reason", bad.error.message()}});
  }
  for (routing::Table& table : shipped) table.sha256 = routing::table_sha256(table);
  for (routing::Table& table : loaded.tables) shipped.push_back(std::move(table));
  routing::Certificates certificates = routing::load_certificates(data / "certificates");
  for (const routing::BadFile& bad : certificates.bad) {
    log.warn("a certificate is not used", {{"file", bad.path.string()}, {"reason", bad.error.message()}});
  }
  return {std::make_shared<const std::vector<routing::Table>>(std::move(shipped)),
          std::make_shared<const std::vector<routing::Certificate>>(std::move(certificates.certificates)),
          load_tasks(config, log)};
}

}  // namespace shoal::cli
