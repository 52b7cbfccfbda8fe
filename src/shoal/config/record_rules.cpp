#include "shoal/config/record_rules.h"

#include <algorithm>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "shoal/base/suggest.h"
#include "shoal/base/text.h"
#include "shoal/config/paths.h"

namespace shoal::config {
namespace {

// Was it set by anybody?
bool is_set(const Origin& origin) {
  return origin.layer != Layer::kDefault;
}

// One record of one kind, and its origins.
class Judge {
 public:
  Judge(const RecordCheck& check, std::string_view kind, std::size_t index, std::vector<Fault>& faults)
      : check_(check),
        kind_(*find_record_kind(kind)),
        index_(index),
        origin_(check.origins[config::index_of(kind_)][index]),
        faults_(faults) {}

  [[nodiscard]] const Origin& origin(std::string_view field) const {
    return origin_.fields[kind_.index_of(*kind_.find(field))];
  }
  // A wrong value stands in for a field of this record: what it says of others would be noise.
  [[nodiscard]] bool faulty() const { return origin_.faulty; }

  // Fields that must be written, but for those whose name may just be misspelt.
  void required() {
    if (origin_.unknown) return;
    for (const Field& field : kind_.fields) {
      if (field.need != Need::kRequired || is_set(origin_.fields[kind_.index_of(field)])) continue;
      add(check_.source.fault(origin_.self, fmt::format("`{}` is missing", called(field.name)),
                              fmt::format("add {} = ..., {}", field.name, field.type_text())));
    }
  }

  void wrong(std::string_view field, std::string_view message, std::string suggestion = {}) {
    add(check_.source.fault(origin(field), fmt::format("`{}`: {}", called(field), message), std::move(suggestion)));
  }
  void wrong_item(std::string_view field, std::size_t item, std::string_view message, std::string suggestion = {}) {
    add(check_.source.fault(origin(field), item, fmt::format("`{}`: {}", called(field), message),
                            std::move(suggestion)));
  }

 private:
  [[nodiscard]] std::string called(std::string_view field) const {
    return base::escape_control(kind_.path(kind_.name_of(check_.config, index_), *kind_.find(field)));
  }
  void add(Fault fault) { faults_.push_back(std::move(fault)); }

  const RecordCheck& check_;
  const RecordKind& kind_;
  std::size_t index_;
  const RecordOrigin& origin_;
  std::vector<Fault>& faults_;
};

void check_provider(const RecordCheck& check, const ProviderConfig& provider, Judge& judge) {
  judge.required();
  if (judge.faulty()) return;
  if (!provider.key_env.empty() && !provider.key_file.empty()) {
    judge.wrong("key_env", "key_file is set too: keys come from one place", "remove one of them");
  }
  for (std::size_t i = 0; i < provider.key_env.size(); ++i) {
    if (!variable(check.environment, provider.key_env[i]).empty()) continue;
    judge.wrong_item("key_env", i, fmt::format("the variable {} is not set", provider.key_env[i]),
                     "this names a variable; it never holds the secret itself");
  }
  if (provider.local) return;
  if (provider.durability == "none") {
    judge.wrong("durability", "\"none\" is only for a provider with local = true",
                "what leaves this machine is written down first: write \"batch\"");
  }
  if (provider.base_url.starts_with("http://")) {
    judge.wrong("base_url", "http:// would send keys and prompts in the clear",
                "write https://, or local = true if it is on a network of your own");
  }
}

// Faults of the targets of `remote`.
void check_remote(const Config& config, const RouteConfig& route, Judge& judge) {
  std::vector<std::string> names;
  for (const ProviderConfig& provider : config.providers) names.push_back(provider.name);
  for (std::size_t i = 0; i < route.remote.size(); ++i) {
    const std::string& target = route.remote[i];
    const std::string name = target.substr(0, target.find('/'));
    const std::string model = target.substr(name.size() + 1);
    const auto found = std::ranges::find(config.providers, name, &ProviderConfig::name);
    if (found == config.providers.end()) {
      const std::string near = base::suggest(name, names);
      std::string advice = near.empty() ? fmt::format("add [provider.{}]", base::escape_control(name))
                                        : fmt::format("did you mean \"{}/{}\"?", near, base::escape_control(model));
      judge.wrong_item("remote", i, fmt::format("no provider is called {}", base::json_string(name)),
                       std::move(advice));
    } else if (!found->models.empty() && std::ranges::find(found->models, model) == found->models.end()) {
      const std::string near = base::suggest(model, found->models);
      judge.wrong_item("remote", i,
                       fmt::format("{} is not among the models of provider.{}", base::json_string(model),
                                   base::escape_control(name)),
                       near.empty() ? "" : fmt::format("did you mean \"{}/{}\"?", name, base::escape_control(near)));
    }
  }
}

// Ends of a range that a promise cannot have, and two thresholds where there is one.
void check_risk(const RouteConfig& route, Judge& judge) {
  if (route.risk <= 0) return;
  if (route.risk >= 1) judge.wrong("risk", "at a risk of 1 all may be wrong", "write a share such as 0.05");
  if (route.risk_confidence <= 0 || route.risk_confidence >= 1) {
    judge.wrong("risk_confidence", "it lies between 0 and 1", "write 0.95, or what the certificate has");
  }
  // The default is what `shoal config show` prints for a route that has none.
  if (route.threshold != RouteConfig().threshold) {
    judge.wrong("risk", "the threshold comes from a certificate then, and this route has `threshold` too",
                "remove one of them");
  }
  if (route.policy != "slm_first" || route.remote.empty()) {
    judge.wrong("risk", "only a slm_first route with `remote` judges answers", "add remote = [\"provider/model\"]");
  }
}

// What only a route has that judges answers, and has somebody to ask.
void check_audits(const RouteConfig& route, Judge& judge) {
  if (route.policy == "slm_first" && !route.remote.empty()) return;
  const auto check = [&judge](const char* field, bool set) {
    if (set)
      judge.wrong(field, "only a slm_first route with `remote` judges answers", "add remote = [\"provider/model\"]");
  };
  check("audit_share", route.audit_share > 0);
  check("escalations_per_hour", route.escalations_per_hour > 0);
}

void check_router(const RouteConfig& route, Judge& judge) {
  if (route.router.empty()) {
    if (route.least_gain != RouteConfig().least_gain)
      judge.wrong("least_gain", "this route has no `router` that says what a request gains", "add router = \"NAME\"");
    return;
  }
  if (route.router.find('/') != std::string::npos || route.router.starts_with('.'))
    judge.wrong("router", "it is the name of a router, and no path", "write the NAME of `shoal route train NAME`");
  if (route.policy != "slm_first" || route.remote.empty())
    judge.wrong("router", "only a slm_first route with `remote` has two ways to choose from",
                "add remote = [\"provider/model\"]");
}

// Where a label leads, and that it comes to an end there.
void check_domain_route(const Config& config, const RouteConfig& route, std::size_t item, Judge& judge) {
  const std::string& text = route.domain_routes[item];
  const std::size_t equals = text.rfind('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) {
    judge.wrong_item("domain_routes", item, fmt::format("{} is no label and route", base::json_string(text)),
                     "write \"label=route\"");
    return;
  }
  const std::string name = text.substr(equals + 1);
  const auto target = std::ranges::find(config.routes, name, &RouteConfig::name);
  if (target == config.routes.end()) {
    std::vector<std::string> names;
    for (const RouteConfig& one : config.routes) names.push_back(one.name);
    const std::string near = base::suggest(name, names);
    judge.wrong_item("domain_routes", item, fmt::format("no route is called {}", base::json_string(name)),
                     near.empty() ? fmt::format("add [route.{}]", base::escape_control(name))
                                  : fmt::format("did you mean \"{}\"?", near));
  } else if (!target->domains.empty()) {
    judge.wrong_item("domain_routes", item,
                     name == route.name ? "it leads back to this route" : "that route has `domains` of its own",
                     "name a route that answers by itself; labels that are not named stay here");
  } else if (route.privacy == "local_only" && target->privacy != "local_only") {
    judge.wrong_item("domain_routes", item, fmt::format("this route is local_only, and {} is not", name),
                     fmt::format("set privacy = \"local_only\" in [route.{}]", base::escape_control(name)));
  }
}

void check_domains(const RecordCheck& check, const RouteConfig& route, Judge& judge) {
  if (route.domains.empty()) {
    if (!route.domain_routes.empty())
      judge.wrong("domain_routes", "this route has no `domains` that tell what a request is about",
                  "add domains = \"TASK\"");
    if (route.least_domain != RouteConfig().least_domain)
      judge.wrong("least_domain", "this route has no `domains` that tell what a request is about",
                  "add domains = \"TASK\"");
    return;
  }
  if (route.domains.find('/') != std::string::npos || route.domains.starts_with('.'))
    judge.wrong("domains", "it is the name of a task, and no path", "write the NAME of `shoal tune probe --task NAME`");
  for (std::size_t i = 0; i < route.domain_routes.size(); ++i) check_domain_route(check.config, route, i, judge);
}

void check_local_task(const RouteConfig& route, Judge& judge) {
  if (route.local_task.empty()) return;
  if (!route.local.empty())
    judge.wrong("local_task", "a task answers in place of a local model, and this route has `local` too",
                "remove one of them");
  if (route.local_task.find('/') != std::string::npos || route.local_task.starts_with('.'))
    judge.wrong("local_task", "it is the name of a task, and no path",
                "write the NAME of `shoal tune probe --task NAME`");
  if (!route.task.empty())
    judge.wrong("task", "it names calibration tables of a local model, and a trained task has its own", "remove it");
}

void check_route(const RecordCheck& check, const RouteConfig& route, Judge& judge) {
  judge.required();
  if (judge.faulty()) return;
  check_remote(check.config, route, judge);
  check_risk(route, judge);
  check_router(route, judge);
  check_audits(route, judge);
  check_domains(check, route, judge);
  check_local_task(route, judge);
  if (!route.remote.empty()) {
    if (route.privacy == "local_only") {
      judge.wrong("remote", "privacy = \"local_only\" lets nothing leave this machine", "remove one of them");
    }
    return;
  }
  // Only what somebody asked for: nobody who writes a route without `remote` expects it to leave.
  if (route.policy != "slm_only" && is_set(judge.origin("policy"))) {
    judge.wrong("policy", fmt::format("\"{}\" asks others, and there is no `remote` to ask", route.policy),
                "add remote = [\"provider/model\"], or write \"slm_only\"");
  }
  if (route.on_null_confidence == "escalate") {
    judge.wrong("on_null_confidence", "there is no `remote` to escalate to", "write \"keep\", or \"auto\"");
  }
}

void check_second_tier(const PriceConfig& price, Judge& judge) {
  if (price.above_prompt_tokens > 0) {
    for (const auto& [field, rate] : {std::pair("above_input_usd", &price.above_input_usd),
                                      std::pair("above_output_usd", &price.above_output_usd)}) {
      if (rate->empty()) {
        judge.wrong("above_prompt_tokens", fmt::format("the second tier has no {}", field),
                    fmt::format("add {} = \"...\"", field));
      }
    }
    return;
  }
  for (const auto& [field, rate] : {std::pair("above_input_usd", &price.above_input_usd),
                                    std::pair("above_cache_read_usd", &price.above_cache_read_usd),
                                    std::pair("above_cache_write_5m_usd", &price.above_cache_write_5m_usd),
                                    std::pair("above_cache_write_1h_usd", &price.above_cache_write_1h_usd),
                                    std::pair("above_output_usd", &price.above_output_usd),
                                    std::pair("above_reasoning_usd", &price.above_reasoning_usd)}) {
    if (rate->empty()) continue;
    judge.wrong(field, "a rate of the second tier, and there is none", "add above_prompt_tokens = ...");
    return;
  }
}

void check_price(const PriceConfig& price, Judge& judge) {
  judge.required();
  if (const std::size_t star = price.model.find('*'); star != std::string::npos && star + 1 != price.model.size()) {
    judge.wrong("model", fmt::format("a * stands for the rest of a name, and {} goes on after it",
                                     base::json_string(price.model)));
  }
  if (!judge.faulty()) check_second_tier(price, judge);
}

}  // namespace

std::vector<Fault> check_records(const RecordCheck& check) {
  std::vector<Fault> faults;
  const Config& config = check.config;
  for (std::size_t i = 0; i < config.providers.size(); ++i) {
    Judge judge(check, "provider", i, faults);
    check_provider(check, config.providers[i], judge);
  }
  for (std::size_t i = 0; i < config.routes.size(); ++i) {
    Judge judge(check, "route", i, faults);
    check_route(check, config.routes[i], judge);
  }
  std::set<std::tuple<std::string_view, std::string_view, std::string_view>> seen;
  for (std::size_t i = 0; i < config.prices.size(); ++i) {
    const PriceConfig& price = config.prices[i];
    Judge judge(check, "price", i, faults);
    check_price(price, judge);
    if (judge.faulty() || price.provider.empty() || price.model.empty() || price.from.empty()) continue;
    if (!seen.emplace(price.provider, price.model, price.from).second) {
      judge.wrong("model",
                  fmt::format("{} of {} has two prices from {} on", base::escape_control(price.model),
                              base::escape_control(price.provider), price.from),
                  "remove one of them, or give it another day");
    }
  }
  return faults;
}

void settle_policies(Config& config, const RecordOrigins& origins) {
  const RecordKind& kind = *find_record_kind("route");
  const std::size_t policy = kind.index_of(*kind.find("policy"));
  for (std::size_t i = 0; i < config.routes.size(); ++i) {
    RouteConfig& route = config.routes[i];
    if (route.remote.empty() && !is_set(origins[index_of(kind)][i].fields[policy])) route.policy = "slm_only";
  }
}

}  // namespace shoal::config
