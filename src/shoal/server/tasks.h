// What `shoal tune probe` trained: classes or slots, each with the certificate that `shoal tune certify` made of that
// very file, if there is one. Made by cli/, which reads the files; shared and immutable. Threads: any.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "shoal/learning/class_model.h"
#include "shoal/learning/slot_model.h"
#include "shoal/routing/certificate.h"

namespace shoal::server {

struct Task {
  std::string name;
  std::variant<learning::ClassModel, learning::SlotModel> model;
  std::optional<routing::Certificate> certificate;
  std::string no_certificate;  // why there is none, though there is a file
};

// By name.
using Tasks = std::vector<Task>;

}  // namespace shoal::server
