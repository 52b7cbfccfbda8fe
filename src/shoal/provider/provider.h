// Provider: one configured place of other people's models, and how to ask it. It makes the bytes that would leave, and
// sends them when it is given the permit for them; it never retries and decides nothing.
//
//   std::string body = SHOAL_TRY(provider.body_of(question, model, max_tokens));
//   EgressPermit permit = SHOAL_TRY(gate.seal(...));
//   auto answer = SHOAL_TRY(provider.ask(std::move(permit), question, model, deadline, cancel, sent, yield));
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
#include "shoal/provider/remote_answer.h"
#include "shoal/types/chat.h"
#include "shoal/types/remote.h"

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
  std::int64_t headers_ms = 60'000;      // of streams, to the head of the answer; of others the deadline holds alone
  std::int64_t first_token_ms = 60'000;  // of streams, from the request
  std::int64_t token_ms = 30'000;        // between two pieces of an answer
  std::size_t max_concurrent = 64;
};

class Provider {
 public:
  Provider(ProviderOptions options, net::HttpClient& client, const base::Clock& clock);
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

  // Sends what the permit holds. The answer is read from what is returned. Errors: those of net::HttpExchange::send();
  // kOverloaded past max_concurrent. `sent`: whether a byte of the request may have left, errors or not.
  // REQUIRES: the permit is for this provider.
  [[nodiscard]] Result<std::unique_ptr<RemoteAnswer>> ask(egress::EgressPermit permit, const Question& question,
                                                          std::string_view model, base::Deadline deadline,
                                                          const std::stop_token& cancel, bool& sent, base::Yield yield);

  [[nodiscard]] std::size_t running() const { return *running_; }

 private:
  using Headers = std::vector<std::pair<std::string, std::string>>;
  [[nodiscard]] std::string target(const Question& question, std::string_view model) const;
  void add_key(Headers& headers) const;

  const ProviderOptions options_;
  net::HttpClient& client_;
  const base::Clock& clock_;
  const std::shared_ptr<std::size_t> running_ = std::make_shared<std::size_t>(0);  // answers that have not ended
};

// The providers of a configuration, by name. Immutable; a reload makes new ones, and answers that run keep theirs.
class Providers {
 public:
  Providers() = default;
  explicit Providers(std::vector<std::shared_ptr<Provider>> all) : all_(std::move(all)) {}

  // Null when there is none.
  [[nodiscard]] std::shared_ptr<Provider> find(std::string_view name) const;
  [[nodiscard]] bool empty() const { return all_.empty(); }
  [[nodiscard]] const std::vector<std::shared_ptr<Provider>>& all() const { return all_; }

 private:
  std::vector<std::shared_ptr<Provider>> all_;
};

}  // namespace shoal::provider
