#include "shoal/routing/tasks.h"

#include <fmt/format.h>

namespace shoal::routing {

std::string why_void(const Task& task, std::string_view way) {
  if (!task.certificate) return task.no_certificate;
  const std::string& certified = task.certificate->key.quantisation;
  if (certified == way) return {};
  return fmt::format("it is for answers of the {} model, and these are of the {} one", certified, way);
}

FoundCertificate find_certificate(const Task& task, double risk, double confidence) {
  constexpr double kRounding = 1e-9;
  FoundCertificate out;
  if (!task.certificate) {
    const std::string value = task.no_certificate.empty() ? "none" : task.no_certificate;
    out.gap = Gap{"certificate", value, fmt::format("one of `shoal tune certify {}`", task.name)};
    return out;
  }
  const CertifyOptions& shown = task.certificate->shown.options;
  if (shown.risk > risk + kRounding) {
    out.gap = Gap{"risk", fmt::format("{}", risk), fmt::format("{}", shown.risk)};
  } else if (shown.confidence < confidence - kRounding) {
    out.gap = Gap{"risk_confidence", fmt::format("{}", confidence), fmt::format("{}", shown.confidence)};
  } else {
    out.certificate = &*task.certificate;
  }
  return out;
}

}  // namespace shoal::routing
