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

// Why `target` cannot be asked now; nothing: it can.
std::optional<Error> why_not(const Outside& outside, const routing::RemoteTarget& target) {
  const auto provider = outside.config->providers.find(target.provider);
  if (!provider) {
    return Error(ErrorCode::kModelNotFound, fmt::format("no provider \"{}\" is configured", target.provider))
        .with_param("model");
  }
  if (!provider->offers(target.model)) {
    return Error(ErrorCode::kModelNotFound,
                 fmt::format("{} has no model \"{}\"; provider.{}.models lists those that it "
                             "offers",
                             target.provider, target.model, target.provider))
        .with_param("model");
  }
  const provider::ProviderOptions& options = provider->options();
  if (provider->running() >= options.max_concurrent) {
    return Error(ErrorCode::kOverloaded,
                 fmt::format("{} has {} requests under way, as many as it may", target.provider, provider->running()));
  }
  return std::nullopt;
}

}  // namespace

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
      const auto provider = outside->config->providers.find(target.provider);
      const bool openai = provider && provider->options().dialect == types::Dialect::kOpenAi;
      out.world.remotes.push_back({why_not(*outside, target), openai});
    }
  }
  return out;
}

}  // namespace shoal::gateway
