// resolve(): the route that a request names, and the state of all that could take part in it.
// Threads: the I/O thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "shoal/base/clock.h"
#include "shoal/base/result.h"
#include "shoal/engine/engine.h"
#include "shoal/gateway/answer.h"
#include "shoal/gateway/outside.h"
#include "shoal/routing/calibration.h"
#include "shoal/routing/certificate.h"
#include "shoal/routing/plan.h"
#include "shoal/routing/route.h"

namespace shoal::gateway {

inline constexpr const char* kDefaultRoute = "shoal-auto";

struct Resolved {
  routing::Route route;
  routing::World world;
  routing::Calibration calibration;                           // of the local model, for this request
  std::shared_ptr<const std::vector<routing::Table>> tables;  // that it points into
  // Where the route promises a risk: what shows it, for answers that are judged as this one will be. Null: nothing.
  const routing::Certificate* certificate = nullptr;
  std::shared_ptr<const std::vector<routing::Certificate>> certificates;  // that it points into
};

// Whether `target` can be asked now, and why not.
[[nodiscard]] routing::RemoteState state_of(const Outside& outside, const routing::RemoteTarget& target);

// A name is, in this order: a configured route, PROVIDER/MODEL of a configured provider, a local model. Without one it
// is the route shoal-auto, which is the default model alone where it is not configured. `streams`: the client reads
// along. `outside` may be null. Errors: kModelNotFound (with suggestion).
[[nodiscard]] Result<Resolved> resolve(const engine::Engine& engine, Outside* outside, const std::string& default_model,
                                       const AnswerRequest& request, bool streams, const base::Clock& clock);

}  // namespace shoal::gateway
