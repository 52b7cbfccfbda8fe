#include "shoal/gateway/resolve.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "shoal/base/suggest.h"
#include "shoal/gateway/drift.h"
#include "shoal/gateway/task_draft.h"
#include "shoal/routing/domains.h"
#include "shoal/routing/gain_file.h"
#include "shoal/routing/tasks.h"

namespace shoal::gateway {
namespace {

const routing::Route* find_route(const Outside* outside, std::string_view name) {
  if (outside == nullptr) return nullptr;
  const auto& routes = outside->config->routes;
  const auto found = std::ranges::find(routes, name, &routing::Route::name);
  return found == routes.end() ? nullptr : &*found;
}

routing::TableKey key_of(const types::ModelInfo& model, const routing::Route& route, const AnswerRequest& request) {
  return {.weights = model.sha256,
          .quantisation = model.quantisation,
          .chat_template = request.chat != nullptr ? model.template_sha256 : "none",
          .sampler = routing::sampler_name(request.params.sampling),
          .task = std::string(route.task.empty() ? routing::kGeneralTask : route.task),
          .tokens = route.commit_tokens};
}

// Tokens that the longest prompt has at least. A token of text has at most so many bytes: the longest of the
// vocabularies in use, 128 spaces of Llama 3, with room to spare.
std::size_t fewest_tokens(const AnswerRequest& request) {
  constexpr std::size_t kMostBytesOfToken = 256;
  std::size_t bytes = 0;
  if (request.chat != nullptr) {
    for (const types::Message& message : request.chat->messages) bytes += message.content.size();
    return bytes / kMostBytesOfToken;
  }
  std::size_t tokens = 0;
  for (const engine::Prompt& prompt : request.prompts) {
    if (const auto* ids = std::get_if<std::vector<std::int32_t>>(&prompt.input)) tokens = std::max(tokens, ids->size());
    if (const auto* text = std::get_if<std::string>(&prompt.input))
      tokens = std::max(tokens, text->size() / kMostBytesOfToken);
  }
  return tokens;
}

// FENCE: without a certificate for what runs now a route that promises a risk has no threshold, and its answers count
// as not judged.
void stand_on(Resolved& out, const routing::FoundCertificate& found, const Outside& outside) {
  out.certificate = found.certificate;
  if (found.certificate == nullptr) {
    out.world.calibrated = false;
    const bool none = found.gap->field == "certificate";
    out.world.gap = types::Reason{
        "certificate", none ? found.gap->value : fmt::format("void: {} {}", found.gap->field, found.gap->value),
        none ? found.gap->wanted : "certified for " + found.gap->wanted, "no threshold"};
    return;
  }
  std::size_t alarms = 0;
  if (outside.drift != nullptr) {
    const auto steps = outside.drift->steps_back(out.route.name, *found.certificate);
    if (!steps) {
      out.world.calibrated = false;
      out.certificate = nullptr;
      out.world.gap = types::Reason{"certificate", "void: it drifted from its strictest threshold, too", "a new one",
                                    "no threshold"};
      return;
    }
    alarms = *steps;
  }
  out.route.threshold = found.certificate->threshold(alarms);
  const routing::CertifyOptions& shown = found.certificate->shown.options;
  out.world.proof = types::Reason{
      "certificate", found.certificate->date,
      fmt::format("risk at most {}, shown with a confidence of {}", shown.risk, shown.confidence),
      alarms == 0
          ? fmt::format("threshold {}", out.route.threshold)
          : fmt::format("threshold {}, {} stricter after as many alarms of drift", out.route.threshold, alarms)};
}

// The threshold of a route that promises a risk.
void look_at_promise(Resolved& out, const routing::TableKey& key, const Outside& outside, bool streams) {
  const bool by_prefix = streams && out.route.latency == routing::Latency::kInteractive;
  const routing::Promise promise{.key = key,
                                 .gate = by_prefix ? routing::Gate::kStream : routing::Gate::kWhole,
                                 .scores = routing::scores_name(out.calibration),
                                 .risk = out.route.risk,
                                 .confidence = out.route.risk_confidence};
  out.certificates = outside.config->certificates;
  const routing::FoundCertificate found = routing::find_certificate(*out.certificates, promise);
  stand_on(out, found, outside);
}

// What can be known of it before it computes anything.
void look_at_local(Resolved& out, const types::ModelInfo& model, const engine::Engine& engine, const Outside& outside,
                   const AnswerRequest& request, bool streams) {
  out.tables = outside.config->calibrations;
  const routing::TableKey key = key_of(model, out.route, request);
  out.calibration = routing::find_calibration(*out.tables, key);
  out.world.calibrated = out.calibration.any();
  if (const auto& gap = out.calibration.gap) {
    out.world.gap = types::Reason{"calibration", gap->field + " " + gap->value, gap->wanted, "confidence null"};
  }
  if (out.route.risk > 0) look_at_promise(out, key, outside, streams);
  const std::vector<engine::WorkerStatus> workers = engine.status();
  const auto worker = std::ranges::find(workers, model.name, &engine::WorkerStatus::model);
  const bool loaded = worker != workers.end() && worker->sequence_length > 0;
  const std::size_t context = loaded ? worker->sequence_length : model.context_length;
  std::size_t tokens = fewest_tokens(request);
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

// The same of a trained task, whose answers are judged by what it says of itself.
void look_at_task(Resolved& out, const Outside& outside, const AnswerRequest& request) {
  const routing::Task& task = *out.route.local_task;
  out.world.no_local = why_no_task(request);
  out.world.calibrated = true;
  if (out.route.risk <= 0) return;
  stand_on(out, routing::find_certificate(task, out.route.risk, out.route.risk_confidence), outside);
}

// A name that is no local model's may be meant to be a route's, or a provider's.
Error with_others(Error error, const Outside* outside, std::string_view named) {
  if (outside == nullptr || error.code() != ErrorCode::kModelNotFound || named.empty()) return error;
  std::vector<std::string_view> routes;
  for (const routing::Route& route : outside->config->routes) routes.push_back(route.name);
  if (routes.empty()) return error;
  Error out(ErrorCode::kModelNotFound, fmt::format("{}; the routes are {}", error.message(), fmt::join(routes, ", ")));
  const std::string_view near = base::suggest(named, routes);
  const std::string meant = error.suggestion().empty() ? std::string(near) : error.suggestion();
  return std::move(out).with_param("model").with_suggestion(meant);
}

// What its user wrote; nothing of a prompt of token ids, or of several.
std::vector<std::string_view> turns_of(const AnswerRequest& request) {
  std::vector<std::string_view> turns;
  if (request.chat != nullptr) {
    for (const types::Message& message : request.chat->messages) {
      if (message.role == types::Role::kUser) turns.emplace_back(message.content);
    }
  } else if (request.prompts.size() == 1) {
    if (const auto* const text = std::get_if<std::string>(&request.prompts.front().input)) turns.emplace_back(*text);
  }
  return turns;
}

// The route of the one domain that the request is of takes the place of the route that has the domains.
void look_at_domain(Resolved& out, Outside& outside, const AnswerRequest& request) {
  const std::shared_ptr<const routing::Domains> domains = out.route.domains;
  const std::vector<std::string_view> turns = turns_of(request);
  if (turns.empty()) return;
  const routing::Domain found = routing::find_domain(*domains, turns, outside.task_scorer());
  const std::string& label = domains->task.labels[found.label];
  types::Reason reason{"domain", fmt::format("{} {}", label, found.probability),
                       fmt::format("{}, at least {}", domains->task.name, domains->least), ""};
  if (found.kind == routing::DomainKind::kOne) {
    const std::string& name = domains->routes[found.label];
    const routing::Route* const route = name.empty() ? nullptr : find_route(&outside, name);
    reason.effect = "answer by the route " + (route == nullptr ? out.route.name : route->name);
    if (route != nullptr) {
      const bool local_only = out.route.local_only;
      out.route = *route;
      out.route.local_only |= local_only;
    }
  } else {
    out.world.undecided = true;
    reason.effect = "ask a provider first";
    if (found.kind == routing::DomainKind::kSeveral) {
      reason.value = fmt::format("{} and {}", label, domains->task.labels[found.other]);
    } else if (found.outside >= routing::kOutside) {
      reason.value += fmt::format(", {} like texts of none", found.outside);
    }
  }
  out.world.domain = std::move(reason);
}

// What the route's router says of the request; to the last digit, so that a receipt can be held against the router that
// made it.
void look_at_gain(Resolved& out, routing::GainModel::Scratch& scratch, const AnswerRequest& request) {
  const std::vector<std::string_view> turns = turns_of(request);
  if (turns.empty()) return;
  const double gain = routing::conversation_gain(out.route.router->model, turns, scratch);
  out.world.gains = gain >= out.route.least_gain;
  out.world.outlook = types::Reason{"gain", fmt::format("{}", gain),
                                    fmt::format("router {}, at least {}", out.route.router_name, out.route.least_gain),
                                    out.world.gains ? "ask a provider first" : "draft here"};
}

// Whether anything is left to spend there. Less than what the request may cost is found when that is reserved.
void look_at_budget(routing::RemoteState& state, Outside& outside, const routing::RemoteTarget& target,
                    const AnswerRequest& request, std::int64_t now_s) {
  const auto provider = outside.config->providers.find(target.provider);
  const ledger::PriceRow* const row = outside.config->prices.row(target.provider, target.model, now_s);
  if (!provider || (provider->options().local && row == nullptr)) return;
  auto left = outside.book.check(outside.budgets.of(target.provider, request.principal.id),
                                 ledger::Pico(ledger::Micro{1}), now_s);
  if (left.ok()) return;
  state.signal = "budget";
  state.value = left.error().message();
  state.out = std::move(left).error();
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

Result<Resolved> resolve(const engine::Engine& engine, Outside* outside, const std::string& default_model,
                         const AnswerRequest& request, bool streams, const base::Clock& clock) {
  Resolved out;
  const std::string& named = request.model;
  const routing::Route* route = find_route(outside, named.empty() ? kDefaultRoute : named);
  if (route != nullptr) {
    out.route = *route;
    if (route->domains != nullptr) look_at_domain(out, *outside, request);
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
  if (out.route.local_task != nullptr) {
    look_at_task(out, *outside, request);
    if (out.route.router != nullptr) look_at_gain(out, outside->scratch, request);
  } else if (!out.route.local.empty()) {
    auto model = engine.resolve(out.route.local);
    if (model.ok() && model->embeds && !model->generates && !out.route.remote.empty()) {
      out.world.no_local =
          Error(ErrorCode::kUnsupportedParameter, fmt::format("{} makes embeddings, and answers nothing", model->name))
              .with_param("model");
    } else if (model.ok()) {
      out.route.local = model->name;  // its own name, whatever alias the client used
      if (outside != nullptr && !out.route.remote.empty())
        look_at_local(out, *model, engine, *outside, request, streams);
      if (outside != nullptr && out.route.router != nullptr) look_at_gain(out, outside->scratch, request);
    } else {
      if (out.route.remote.empty()) return with_others(std::move(model).error(), outside, named);
      out.world.no_local = std::move(model).error();
    }
  }
  if (outside != nullptr) {
    out.world.egress_allowed = outside->gate.allowed();
    out.world.may_escalate = outside->escalations.left(out.route.name, request.principal.id,
                                                       out.route.escalations_per_hour, clock.monotonic_ns());
    for (const routing::RemoteTarget& target : out.route.remote) {
      routing::RemoteState& state = out.world.remotes.emplace_back(state_of(*outside, target));
      // Where the route wants such a request to fail, it fails when it comes to that.
      if (!state.out && out.route.local_on_budget)
        look_at_budget(state, *outside, target, request, clock.unix_seconds());
    }
  }
  return out;
}

}  // namespace shoal::gateway
