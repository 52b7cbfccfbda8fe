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

routing::TableKey key_of(const types::ModelInfo& model, const routing::Route& route, const AnswerRequest& request) {
  const bool chat = std::holds_alternative<std::vector<types::Message>>(request.prompts.front().input);
  return {.weights = model.sha256,
          .quantisation = model.quantisation,
          .chat_template = chat ? model.template_sha256 : "none",
          .sampler = routing::sampler_name(request.params.sampling),
          .task = std::string(route.task.empty() ? routing::kGeneralTask : route.task),
          .tokens = route.commit_tokens};
}

// Tokens that a prompt has at least. A token of text has at most so many bytes: the longest of the vocabularies in use,
// 128 spaces of Llama 3, with room to spare.
std::size_t fewest_tokens(const engine::Prompt& prompt) {
  constexpr std::size_t kMostBytesOfToken = 256;
  if (const auto* tokens = std::get_if<std::vector<std::int32_t>>(&prompt.input)) return tokens->size();
  std::size_t bytes = 0;
  if (const auto* text = std::get_if<std::string>(&prompt.input)) bytes = text->size();
  if (const auto* messages = std::get_if<std::vector<types::Message>>(&prompt.input)) {
    for (const types::Message& message : *messages) bytes += message.content.size();
  }
  return bytes / kMostBytesOfToken;
}

// What can be known of it before it computes anything.
void look_at_local(Resolved& out, const types::ModelInfo& model, const engine::Engine& engine, const Outside& outside,
                   const AnswerRequest& request) {
  out.tables = outside.config->calibrations;
  out.calibration = routing::find_calibration(*out.tables, key_of(model, out.route, request));
  out.world.calibrated = out.calibration.any();
  if (const auto& gap = out.calibration.gap) {
    out.world.gap = types::Reason{"calibration", gap->field + " " + gap->value, gap->wanted, "confidence null"};
  }
  const std::vector<engine::WorkerStatus> workers = engine.status();
  const auto worker = std::ranges::find(workers, model.name, &engine::WorkerStatus::model);
  const bool loaded = worker != workers.end() && worker->sequence_length > 0;
  const std::size_t context = loaded ? worker->sequence_length : model.context_length;
  std::size_t tokens = 0;
  for (const engine::Prompt& prompt : request.prompts) tokens = std::max(tokens, fewest_tokens(prompt));
  tokens += static_cast<std::size_t>(request.params.max_tokens.value_or(0));
  if (context > 0 && tokens > context) {
    out.world.local_hindrance = Error(ErrorCode::kContextLengthExceeded,
                                      fmt::format("prompt and answer have at least {} tokens, the context of {} has {}",
                                                  tokens, model.name, context));
    out.world.hindered_by = {"context", fmt::format("at least {} tokens", tokens), fmt::format("at most {}", context),
                             ""};
  } else if (loaded && out.route.latency == routing::Latency::kInteractive && worker->queued > 0 &&
             worker->queued >= worker->slots) {
    // As many wait as it answers at once: each of them must end before this one begins.
    out.world.local_hindrance =
        Error(ErrorCode::kOverloaded, fmt::format("{} requests wait for {}", worker->queued, model.name));
    out.world.hindered_by = {"queue", fmt::format("{} wait", worker->queued),
                             fmt::format("interactive: fewer than {}", worker->slots), ""};
  }
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
      out.route.local = model->name;  // its own name, whatever alias the client used
      if (outside != nullptr && !out.route.remote.empty()) look_at_local(out, *model, engine, *outside, request);
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
