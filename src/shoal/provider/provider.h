// Provider: one configured place of other people's models, and how to ask it. It makes the bytes that would leave, and
// sends them when it is given the permit for them; it never retries and decides nothing.
//
//   std::string body = SHOAL_TRY(provider.body_of(question, model, max_tokens));
//   Turn turn = SHOAL_TRY(provider.health().admit(model));
//   EgressPermit permit = SHOAL_TRY(gate.seal(...));
//   auto answer = SHOAL_TRY(provider.ask(std::move(permit), turn, question, model, terms, trace, yield));
//
// Place: below gateway/, above net/'s client and egress/. Owned by Providers. Threads: the I/O thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shoal/base/async.h"
#include "shoal/base/clock.h"
#include "shoal/base/result.h"
#include "shoal/egress/gate.h"
#include "shoal/net/http_client.h"
#include "shoal/provider/health.h"
#include "shoal/provider/remote_answer.h"
#include "shoal/types/chat.h"
#include "shoal/types/remote.h"
#include "shoal/wire/outgoing.h"

namespace shoal::provider {

struct ProviderOptions {
  std::string name;
  types::Dialect dialect = types::Dialect::kOpenAi;
  net::Upstream upstream;
  std::string path;                 // that all targets begin with: "/v1"; without a slash at its end
  std::vector<std::string> keys;    // secrets; empty: none is sent
  std::vector<std::string> models;  // that it offers; empty: any
  bool local = false;               // on this machine or its own networks
  egress::Durability durability = egress::Durability::kBatch;
  std::int64_t connect_ms = 10'000;
  std::int64_t headers_ms = 60'000;                          // of streams, to the head of the answer
  std::int64_t first_token_ms = 60'000;                      // of streams, from the request
  std::int64_t token_ms = 30'000;                            // between two pieces of an answer
  std::int64_t answer_ms = 300'000;                          // of what is no stream, from the request to its end
  wire::LimitName limit_name = wire::LimitName::kMaxTokens;  // of OpenAI's dialect
  std::size_t max_concurrent = 64;
  bool drain = true;  // a stream whose client leaves is read on to what it costs, within bounds
};

// Of one attempt.
struct Terms {
  base::Deadline deadline{};
  std::stop_token cancel{};
  bool fresh = false;  // on a connection that has not served before
};

// What is known of the bytes of an attempt, errors or not.
struct Trace {
  bool sent = false;   // one of them may have left
  bool stale = false;  // they went into a connection that had served before, and that broke without a byte of an answer
};

class Provider {
 public:
  // `health` null: it begins anew, and writes no log.
  Provider(ProviderOptions options, net::HttpClient& client, const base::Clock& clock,
           std::shared_ptr<Health> health = nullptr);
  Provider(const Provider&) = delete;
  Provider& operator=(const Provider&) = delete;

  [[nodiscard]] const ProviderOptions& options() const { return options_; }
  [[nodiscard]] bool offers(std::string_view model) const;

  // The question as this provider is asked it: with its dialect.
  [[nodiscard]] Question for_me(Question question) const;
  // What would be sent. `max_tokens` is set where the client set no limit. Errors: kUnsupportedParameter, with the
  // parameter, for what this dialect cannot say.
  [[nodiscard]] Result<std::string> body_of(const Question& question, std::string_view model,
                                            std::optional<std::int32_t> max_tokens) const;

  // Sends what the permit holds, with the key of the turn. The answer is read from what is returned. Errors: those of
  // net::HttpExchange::send(); kOverloaded past max_concurrent. REQUIRES: the permit is for this provider, the turn of
  // its health.
  [[nodiscard]] Result<std::unique_ptr<RemoteAnswer>> ask(egress::EgressPermit permit, const Turn& turn,
                                                          const Question& question, std::string_view model,
                                                          const Terms& terms, Trace& trace, base::Yield yield);

  [[nodiscard]] Health& health() const { return *health_; }
  // Goes on with what is known of `before`, if that is the same place. REQUIRES: nothing was asked of this one yet.
  void take_over(const Provider& before);

  // Of a request that finds max_concurrent others under way.
  [[nodiscard]] Error full() const;
  [[nodiscard]] std::size_t running() const { return *health_->running(); }

 private:
  using Headers = std::vector<std::pair<std::string_view, std::string_view>>;
  [[nodiscard]] std::string target(const Question& question, std::string_view model) const;
  // `bearer` is what one of them may point to.
  void add_key(Headers& headers, const std::string* key, std::string& bearer) const;

  const ProviderOptions options_;
  net::HttpClient& client_;
  const base::Clock& clock_;
  std::shared_ptr<Health> health_;
};

// The providers of a configuration, by name. Immutable; a reload makes new ones, which take over what is known of those
// that stay, and answers that run keep theirs.
class Providers {
 public:
  Providers() = default;
  explicit Providers(std::vector<std::shared_ptr<Provider>> all) : all_(std::move(all)) {}

  // Null when there is none.
  [[nodiscard]] std::shared_ptr<Provider> find(std::string_view name) const;
  [[nodiscard]] bool empty() const { return all_.empty(); }
  [[nodiscard]] const std::vector<std::shared_ptr<Provider>>& all() const { return all_; }
  // After a reload: each takes over from the one of its name.
  void take_over(const Providers& before) const;

 private:
  std::vector<std::shared_ptr<Provider>> all_;
};

}  // namespace shoal::provider
