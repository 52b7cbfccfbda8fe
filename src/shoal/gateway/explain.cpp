#include "shoal/gateway/explain.h"

#include <utility>

#include "shoal/gateway/remote_call.h"

namespace shoal::gateway {

Result<Explanation> explain(const engine::Engine& engine, Outside* outside, const base::Clock& clock,
                            const std::string& default_model, const AnswerRequest& request) {
  Explanation out{.resolved = SHOAL_TRY(resolve(engine, outside, default_model, request)), .plan = {}, .costs = {}};
  const routing::Route& route = out.resolved.route;
  out.plan = routing::plan(route, {request.needs, request.local_only, request.prefer}, out.resolved.world);
  for (const routing::Candidate& candidate : out.plan.candidates) {
    Explanation::Cost& cost = out.costs.emplace_back();
    if (candidate.local) continue;
    RemoteCall call(*outside, request, route.remote[candidate.remote], {});
    auto most = call.most(clock);
    if (most.ok()) {
      cost.most = *most;
    } else {
      cost.unknown = std::move(most).error();
    }
  }
  return out;
}

}  // namespace shoal::gateway
