#include "shoal/gateway/resolve.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace shoal::gateway {
namespace {

const routing::Route* find_route(const Outside* outside, std::string_view name) {
  if (outside == nullptr) return nullptr;
  const auto& routes = outside->config->routes;
  const auto found = std::ranges::find(routes, name, &routing::Route::name);
  return found == routes.end() ? nullptr : &*found;
}

}  // namespace

routing::RemoteState state_of(const Outside& outside, const routing::RemoteTarget& target) {
  const auto provider = outside.config->providers.find(target.provider);
  routing::RemoteState state;
  if (!provider) {
    state.out = Error(ErrorCode::kModelNotFound, fmt::format("no provider \"{}\" is configured", target.provider))
                    .with_param("model");
    return state;
  }
  state.openai = provider->options().dialect == types::Dialect::kOpenAi;
  if (!provider->offers(target.model)) {
    state.out =
        Error(ErrorCode::kModelNotFound, fmt::format("{} has no model \"{}\"; provider.{}.models lists those that it "
                                                     "offers",
                                                     target.provider, target.model, target.provider))
            .with_param("model");
  } else if (provider->running() >= provider->options().max_concurrent) {
    state.out = provider->full();
  } else if (auto outage = provider->health().outage(target.model)) {
    state.out = std::move(outage->error);
    state.signal = std::move(outage->signal);
    state.value = std::move(outage->value);
  }
  return state;
}

Result<Resolved> resolve(const engine::Engine& engine, const Outside* outside, const std::string& default_model,
                         const AnswerRequest& request) {
  Resolved out;
  const std::string& named = request.model;
  const routing::Route* route = find_route(outside, named.empty() ? kDefaultRoute : named);
  if (route != nullptr) {
    out.route = *route;
    if (out.route.local.empty()) out.route.local = default_model;
  } else if (named.empty() || named == kDefaultRoute) {
    out.route.name = kDefaultRoute;
    out.route.local = default_model;
    if (default_model.empty()) {
      return Error(ErrorCode::kModelNotFound,
                   "the request names no model and no default is configured; name one, or set engine.default_model")
          .with_param("model");
    }
  } else {
    out.route.name = named;
    auto target = routing::parse_target(named);
    if (outside != nullptr && target && outside->config->providers.find(target->provider)) {
      out.route.policy = routing::Policy::kLlmFirst;
      out.route.local_on_remote_errors = false;
      out.route.remote.push_back(*std::move(target));
    } else {
      out.route.local = named;
    }
  }
  if (!out.route.local.empty()) {
    auto model = engine.resolve(out.route.local);
    if (model.ok()) {
      out.route.local = std::move(model->name);  // its own name, whatever alias the client used
    } else {
      if (out.route.remote.empty()) return std::move(model).error();
      out.world.no_local = std::move(model).error();
    }
  }
  if (outside != nullptr) {
    out.world.egress_allowed = outside->gate.allowed();
    for (const routing::RemoteTarget& target : out.route.remote) {
      out.world.remotes.push_back(state_of(*outside, target));
    }
  }
  return out;
}

}  // namespace shoal::gateway
