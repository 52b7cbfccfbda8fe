// Tasks: what `shoal tune probe` trained: classes or slots, each with the certificate that `shoal tune certify` made of
// that very file, if there is one. /v1/classify answers by them, and routes that have one in place of a local model.
// Made by cli/, which reads the files; shared and immutable. Threads: any.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "shoal/learning/class_model.h"
#include "shoal/learning/slot_model.h"
#include "shoal/routing/certificate.h"

namespace shoal::routing {

struct Task {
  std::string name;
  std::variant<learning::ClassModel, learning::SlotModel> model;
  std::optional<Certificate> certificate;
  std::string no_certificate;  // why there is none, though there is a file
};

// By name.
using Tasks = std::vector<Task>;

// Whether the certificate of a task is for answers of this way to decide ("fused": with embeddings, "hashed": without,
// "slots"). Empty: it is, or there is none; else why it is void.
[[nodiscard]] std::string why_void(const Task& task, std::string_view way);

// The certificate of a task, where it shows what is to hold; else what differs.
[[nodiscard]] FoundCertificate find_certificate(const Task& task, double risk, double confidence);

}  // namespace shoal::routing
