#include "shoal/gateway/explain.h"

#include <utility>

#include "shoal/gateway/remote_call.h"

namespace shoal::gateway {

Result<Explanation> explain(const engine::Engine& engine, Outside* outside, const base::Clock& clock,
                            const std::string& default_model, const AnswerRequest& request) {
  Explanation out{.resolved = SHOAL_TRY(resolve(engine, outside, default_model, request, request.params.stream, clock)),
                  .plan = {},
                  .costs = {}};
  const routing::Route& route = out.resolved.route;
  out.plan = routing::plan(route, {request.needs, request.local_only, request.prefer}, out.resolved.world);
  for (const routing::Candidate& candidate : out.plan.candidates) {
    Explanation::Cost& cost = out.costs.emplace_back();
    if (candidate.local) continue;
    RemoteCall::Options options;
    options.cost_cap_micro = route.cost_cap_micro;
    RemoteCall call(*outside, request, route.remote[candidate.remote], std::move(options));
    auto most = call.most(clock);
    if (most.ok()) {
      cost.most = *most;
      const auto& chain = outside->budgets.of(route.remote[candidate.remote].provider, request.principal.id);
      if (auto left = outside->book.check(chain, *most, clock.unix_seconds()); *most > ledger::Pico() && !left.ok())
        cost.unknown = std::move(left).error();
    } else {
      cost.unknown = std::move(most).error();
    }
  }
  return out;
}

}  // namespace shoal::gateway
