// A rewrite as JSON: what names/NAME.json keeps of it, and what `--json` prints. Pure. Threads: any.
#pragma once

#include <optional>
#include <string>

#include <boost/json/object.hpp>

#include "shoal/models/rewrite.h"

namespace shoal::models {

[[nodiscard]] boost::json::object to_json(const RewriteCandidate& candidate);
[[nodiscard]] boost::json::object to_json(const Rewrite& rewrite);
// Nothing when it is not one.
[[nodiscard]] std::optional<Rewrite> rewrite_from(const boost::json::object& object);

}  // namespace shoal::models
