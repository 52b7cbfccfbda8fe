#include "shoal/provider/provider.h"

#include <algorithm>
#include <cassert>

#include <fmt/format.h>

#include "shoal/wire/anthropic/request.h"
#include "shoal/wire/gemini/request.h"
#include "shoal/wire/openai/upstream.h"

namespace shoal::provider {

namespace openai = wire::openai;

namespace {

// What a client says of sampling is handed on; a model that takes none of it says so itself.
constexpr wire::OutgoingOptions kOutgoing = {.model = {}, .max_tokens = {}, .sampling = true};
// Nobody knows when an answer ends; a client that comes back then asks for little.
constexpr std::int64_t kFullRetryMs = 1'000;

}  // namespace

Provider::Provider(ProviderOptions options, net::HttpClient& client, const base::Clock& clock,
                   std::shared_ptr<Health> health)
    : options_(std::move(options)),
      client_(client),
      clock_(clock),
      health_(health ? std::move(health) : std::make_shared<Health>(options_.name, clock, nullptr)) {
  health_->set_keys(options_.keys);
}

void Provider::take_over(const Provider& before) {
  const ProviderOptions& old = before.options_;
  if (old.name != options_.name || old.upstream != options_.upstream || old.path != options_.path ||
      old.dialect != options_.dialect)
    return;
  health_ = before.health_;
  health_->set_keys(options_.keys);
}

bool Provider::offers(std::string_view model) const {
  return options_.models.empty() || std::ranges::find(options_.models, model) != options_.models.end();
}

Question Provider::for_me(Question question) const {
  question.dialect = options_.dialect;
  return question;
}

Result<std::string> Provider::body_of(const Question& question, std::string_view model,
                                      std::optional<std::int32_t> max_tokens) const {
  if (options_.dialect == types::Dialect::kOpenAi) {
    openai::RequestPatch patch;
    patch.model = model;
    patch.max_tokens = max_tokens;
    patch.limit = options_.limit_name;
    patch.include_usage = question.stream;
    patch.system_prompt = question.added_system_prompt;
    return openai::patch_request(question.body, patch);
  }
  if (question.request == nullptr) {
    return Error(ErrorCode::kUnsupportedParameter,
                 fmt::format("{} answers chats alone; send messages to /v1/chat/completions", options_.name))
        .with_param("prompt");
  }
  wire::OutgoingOptions outgoing = kOutgoing;
  outgoing.model = model;
  outgoing.max_tokens = max_tokens;
  return options_.dialect == types::Dialect::kAnthropic ? wire::anthropic::print_request(*question.request, outgoing)
                                                        : wire::gemini::print_request(*question.request, outgoing);
}

std::string Provider::target(const Question& question, std::string_view model) const {
  switch (options_.dialect) {
    case types::Dialect::kOpenAi:
      return options_.path + (question.chat ? "/chat/completions" : "/completions");
    case types::Dialect::kAnthropic:
      return options_.path + std::string(wire::anthropic::kTarget);
    case types::Dialect::kGemini:
      break;
  }
  return options_.path + wire::gemini::target(model, question.stream);
}

void Provider::add_key(Headers& headers, const std::string* key, std::string& bearer) const {
  if (options_.dialect == types::Dialect::kAnthropic)
    headers.emplace_back(wire::anthropic::kVersionHeader, wire::anthropic::version(kOutgoing));
  if (key == nullptr) return;
  switch (options_.dialect) {
    case types::Dialect::kOpenAi:
      bearer = "Bearer " + *key;
      headers.emplace_back("Authorization", bearer);
      break;
    case types::Dialect::kAnthropic:
      headers.emplace_back(wire::anthropic::kKeyHeader, *key);
      break;
    case types::Dialect::kGemini:
      headers.emplace_back(wire::gemini::kKeyHeader, *key);
      break;
  }
}

Result<std::unique_ptr<RemoteAnswer>> Provider::ask(egress::EgressPermit permit, const Turn& turn,
                                                    const Question& question, std::string_view model,
                                                    const Terms& terms, Trace& trace, base::Yield yield) {
  trace = {};
  assert(permit.provider() == options_.name);
  // Used up here, whatever comes of it.
  const egress::EgressPermit spent = std::move(permit);
  if (running() >= options_.max_concurrent) return full();
  net::ClientLimits limits;
  limits.connect_ms = options_.connect_ms;
  // Who does not stream gets the head when the answer is complete.
  limits.head_ms = question.stream ? options_.headers_ms : options_.answer_ms;
  limits.read_ms = options_.token_ms;
  limits.deadline = terms.deadline;
  limits.fresh = terms.fresh;
  net::ClientRequest request;
  const std::string path = target(question, model);
  std::string bearer;
  request.target = path;
  request.headers.reserve(6);
  request.headers.emplace_back("Content-Type", "application/json");
  request.headers.emplace_back("Accept", question.stream ? "text/event-stream" : "application/json");
  request.headers.emplace_back("User-Agent", "shoal/" SHOAL_VERSION);
  request.headers.emplace_back("x-request-id", spent.attempt());
  const std::string hops = options_.local ? std::to_string(question.hops) : std::string();
  if (!hops.empty()) request.headers.emplace_back(wire::kHopsHeader, hops);
  add_key(request.headers, turn.key(), bearer);
  request.body = spent.body();
  auto exchange = std::make_unique<net::HttpExchange>(client_, options_.upstream, limits, terms.cancel);
  auto asked = exchange->send(request, std::move(yield));
  trace = {exchange->sent(), exchange->stale()};
  if (!asked.ok()) return std::move(asked).error();
  return std::make_unique<RemoteAnswer>(std::move(exchange), options_, question, clock_, health_->running());
}

Error Provider::full() const {
  return Error(ErrorCode::kOverloaded,
               fmt::format("{} has {} requests under way, as many as it may", options_.name, running()))
      .with_retry_after_ms(kFullRetryMs);
}

void Providers::take_over(const Providers& before) const {
  for (const auto& provider : all_) {
    if (const auto old = before.find(provider->options().name)) provider->take_over(*old);
  }
}

std::shared_ptr<Provider> Providers::find(std::string_view name) const {
  const auto found = std::ranges::find(all_, name, [](const auto& one) { return one->options().name; });
  return found == all_.end() ? nullptr : *found;
}

}  // namespace shoal::provider
