#include "shoal/provider/provider.h"

#include <algorithm>
#include <cassert>
#include <limits>

#include <fmt/format.h>

#include "shoal/wire/anthropic/request.h"
#include "shoal/wire/gemini/request.h"
#include "shoal/wire/openai/upstream.h"

namespace shoal::provider {

namespace openai = wire::openai;

namespace {

// What a client says of sampling is handed on; a model that takes none of it says so itself.
constexpr wire::OutgoingOptions kOutgoing = {
    .model = {}, .max_tokens = {}, .limit_name = wire::LimitName::kMaxTokens, .sampling = true};

}  // namespace

Provider::Provider(ProviderOptions options, net::HttpClient& client, const base::Clock& clock)
    : options_(std::move(options)), client_(client), clock_(clock) {}

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
    patch.include_usage = question.stream;
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

void Provider::add_key(Headers& headers) const {
  if (options_.dialect == types::Dialect::kAnthropic)
    headers.emplace_back(wire::anthropic::kVersionHeader, wire::anthropic::version(kOutgoing));
  if (options_.keys.empty()) return;
  const std::string& key = options_.keys.front();
  switch (options_.dialect) {
    case types::Dialect::kOpenAi:
      headers.emplace_back("Authorization", "Bearer " + key);
      break;
    case types::Dialect::kAnthropic:
      headers.emplace_back(wire::anthropic::kKeyHeader, key);
      break;
    case types::Dialect::kGemini:
      headers.emplace_back(wire::gemini::kKeyHeader, key);
      break;
  }
}

Result<std::unique_ptr<RemoteAnswer>> Provider::ask(egress::EgressPermit permit, const Question& question,
                                                    std::string_view model, base::Deadline deadline,
                                                    const std::stop_token& cancel, bool& sent, base::Yield yield) {
  sent = false;
  assert(permit.provider() == options_.name);
  // Used up here, whatever comes of it.
  const egress::EgressPermit spent = std::move(permit);
  if (*running_ >= options_.max_concurrent) {
    return Error(ErrorCode::kOverloaded,
                 fmt::format("{} has {} requests under way, as many as it may", options_.name, *running_));
  }
  net::ClientLimits limits;
  limits.connect_ms = options_.connect_ms;
  // Who does not stream gets the head when the answer is complete.
  limits.head_ms = question.stream ? options_.headers_ms : std::numeric_limits<std::int32_t>::max();
  limits.read_ms = options_.token_ms;
  limits.deadline = deadline;
  net::ClientRequest request;
  request.target = target(question, model);
  request.headers = {{"Content-Type", "application/json"},
                     {"Accept", question.stream ? "text/event-stream" : "application/json"},
                     {"User-Agent", "shoal/" SHOAL_VERSION},
                     {"x-request-id", spent.attempt()}};
  add_key(request.headers);
  request.body = spent.body();
  auto exchange = std::make_unique<net::HttpExchange>(client_, options_.upstream, limits, cancel);
  auto asked = exchange->send(request, std::move(yield));
  sent = exchange->sent();
  if (!asked.ok()) return std::move(asked).error();
  return std::make_unique<RemoteAnswer>(std::move(exchange), options_.name, question,
                                        AnswerLimits{options_.first_token_ms, options_.token_ms}, clock_, running_);
}

std::shared_ptr<Provider> Providers::find(std::string_view name) const {
  const auto found = std::ranges::find(all_, name, [](const auto& one) { return one->options().name; });
  return found == all_.end() ? nullptr : *found;
}

}  // namespace shoal::provider
