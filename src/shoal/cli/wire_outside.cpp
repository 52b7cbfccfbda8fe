#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "shoal/base/suggest.h"
#include "shoal/base/text.h"
#include "shoal/cli/app.h"
#include "shoal/cli/tune_probe.h"
#include "shoal/config/records.h"
#include "shoal/ledger/usage.h"
#include "shoal/routing/domains.h"
#include "shoal/routing/gain_file.h"

namespace shoal::cli {
namespace {

constexpr std::size_t kMaxKeyFileBytes = std::size_t{64} * 1024;

ledger::PriceText price_text(const config::PriceConfig& price) {
  return {.provider = price.provider,
          .model = price.model,
          .from = price.from,
          .input_usd = price.input_usd,
          .cache_read_usd = price.cache_read_usd,
          .cache_write_5m_usd = price.cache_write_5m_usd,
          .cache_write_1h_usd = price.cache_write_1h_usd,
          .output_usd = price.output_usd,
          .reasoning_usd = price.reasoning_usd,
          .request_usd = price.request_usd,
          .above_prompt_tokens = price.above_prompt_tokens,
          .above_input_usd = price.above_input_usd,
          .above_cache_read_usd = price.above_cache_read_usd,
          .above_cache_write_5m_usd = price.above_cache_write_5m_usd,
          .above_cache_write_1h_usd = price.above_cache_write_1h_usd,
          .above_output_usd = price.above_output_usd,
          .above_reasoning_usd = price.above_reasoning_usd,
          .message_tokens = price.message_tokens,
          .tool_tokens = price.tool_tokens,
          .image_tokens = price.image_tokens,
          .source = price.source,
          .checked = price.checked};
}

Result<std::vector<ledger::PriceRow>> price_rows(const std::vector<config::PriceConfig>& prices) {
  std::vector<ledger::PriceRow> rows;
  for (const config::PriceConfig& price : prices) {
    auto row = ledger::make_price_row(price_text(price));
    if (!row.ok()) {
      return Error(ErrorCode::kInvalidConfig,
                   fmt::format("the price of {}/{} from {}: {}: {}", price.provider, price.model, price.from,
                               row.error().param(), row.error().message()));
    }
    rows.push_back(std::move(row).value());
  }
  return rows;
}

// The keys of a provider, in order; no message holds one.
Result<std::vector<std::string>> provider_keys(const config::ProviderConfig& config) {
  std::vector<std::string> keys;
  for (const std::string& name : config.key_env) {
    const char* const value = std::getenv(name.c_str());
    if (value == nullptr || *value == '\0') {
      return Error(ErrorCode::kInvalidConfig,
                   fmt::format("provider.{}.key_env names the variable {}, which is not set", config.name, name));
    }
    keys.emplace_back(value);
  }
  if (!config.key_file.empty()) {
    std::ifstream file(config.key_file, std::ios::binary);
    if (!file) {
      return Error(
          ErrorCode::kInvalidConfig,
          base::errno_error(fmt::format("provider.{}.key_file: {}", config.name, config.key_file), errno).message());
    }
    std::string text(kMaxKeyFileBytes, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(file.gcount()));
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = std::min(text.find('\n', begin), text.size());
      std::string line = text.substr(begin, end - begin);
      if (line.ends_with('\r')) line.pop_back();
      if (!line.empty() && !line.starts_with('#')) keys.push_back(std::move(line));
      begin = end + 1;
    }
    if (keys.empty()) {
      return Error(
          ErrorCode::kInvalidConfig,
          fmt::format("provider.{}.key_file: {} has no key in it; it holds one a line", config.name, config.key_file));
    }
  }
  const bool broken = std::ranges::any_of(keys, [](const std::string& key) {
    return std::ranges::any_of(key, [](char c) { return static_cast<unsigned char>(c) <= ' ' || c == 0x7F; });
  });
  if (broken) {
    return Error(ErrorCode::kInvalidConfig,
                 fmt::format("a key of provider {} has a blank or a control character in it", config.name));
  }
  return keys;
}

// OpenAI's reasoning models refuse max_tokens, and all of its models know the newer name; other servers of its dialect
// may know the older one alone. Source: the reference of OpenAI's chat completions, "max_tokens: deprecated".
bool takes_newer_limit(std::string_view host) {
  return host == "api.openai.com" || host.ends_with(".api.openai.com") || host.ends_with(".openai.azure.com");
}

Result<std::shared_ptr<provider::Provider>> make_provider(const config::ProviderConfig& config, net::HttpClient& client,
                                                          const base::Clock& clock, base::Log* log) {
  auto url = net::parse_base_url(config.base_url);
  if (!url.ok()) {
    return Error(ErrorCode::kInvalidConfig,
                 fmt::format("provider.{}.base_url: {}", config.name, url.error().message()));
  }
  provider::ProviderOptions options;
  options.name = config.name;
  options.dialect = config.kind == "anthropic" ? types::Dialect::kAnthropic
                    : config.kind == "gemini"  ? types::Dialect::kGemini
                                               : types::Dialect::kOpenAi;
  options.upstream = std::move(url->upstream);
  options.upstream.name = config.name;
  options.upstream.private_addresses = config.local;
  options.path = std::move(url->path);
  options.keys = SHOAL_TRY(provider_keys(config));
  options.models = config.models;
  options.local = config.local;
  options.durability = config.durability == "strict" ? egress::Durability::kStrict
                       : config.durability == "none" ? egress::Durability::kNone
                                                     : egress::Durability::kBatch;
  options.connect_ms = config.connect_timeout_ms;
  options.headers_ms = config.headers_timeout_ms;
  options.first_token_ms = config.first_token_timeout_ms;
  options.token_ms = config.token_timeout_ms;
  options.answer_ms = config.answer_timeout_ms;
  const bool newer = config.limit_parameter == "auto" ? takes_newer_limit(options.upstream.host)
                                                      : config.limit_parameter == "max_completion_tokens";
  options.limit_name = newer ? wire::LimitName::kMaxCompletionTokens : wire::LimitName::kMaxTokens;
  options.max_concurrent = static_cast<std::size_t>(config.max_concurrent);
  options.drain = config.drain;
  auto health = std::make_shared<provider::Health>(config.name, clock, log);
  return std::make_shared<provider::Provider>(std::move(options), client, clock, std::move(health));
}

// Whose prices come with Shoal, by the name that they stand under there.
struct Known {
  std::string_view host;
  std::string_view name;
};
constexpr Known kKnown[] = {{"api.openai.com", "openai"},
                            {"api.anthropic.com", "anthropic"},
                            {"generativelanguage.googleapis.com", "gemini"},
                            {"api.groq.com", "groq"},
                            {"api.mistral.ai", "mistral"},
                            {"api.together.xyz", "together"},
                            {"openrouter.ai", "openrouter"},
                            {"api.deepseek.com", "deepseek"}};

// A provider of another name at one of these hosts, as [provider.openai-work], has the same prices.
void add_other_names(std::vector<config::PriceConfig>& shipped, const std::vector<config::ProviderConfig>& providers) {
  const std::vector<config::PriceConfig> all = shipped;
  for (const config::ProviderConfig& provider : providers) {
    const auto url = net::parse_base_url(provider.base_url);
    if (!url.ok() || std::ranges::find(kKnown, provider.name, &Known::name) != std::end(kKnown)) continue;
    const auto* const known = std::ranges::find(kKnown, std::string_view(url->upstream.host), &Known::host);
    if (known == std::end(kKnown)) continue;
    for (const config::PriceConfig& price : all) {
      if (price.provider == known->name) shipped.emplace_back(price).provider = provider.name;
    }
  }
}

Result<std::optional<ledger::Pico>> money(const std::string& text) {
  if (text.empty()) return std::optional<ledger::Pico>();
  return std::optional(SHOAL_TRY(ledger::parse_usd(text)));
}

Result<std::shared_ptr<const routing::LoadedGain>> load_router(const config::RouteConfig& config,
                                                               const std::string& data_dir) {
  const std::filesystem::path file = routing::router_file(data_dir, config.router);
  auto loaded = routing::load_gain(file);
  if (!loaded.ok()) {
    return Error(ErrorCode::kInvalidConfig, fmt::format("route.{}.router: {}; `shoal route train {}` makes one",
                                                        config.name, loaded.error().message(), config.router));
  }
  return std::make_shared<const routing::LoadedGain>(std::move(loaded).value());
}

// The task that tells domains apart, and where each of its labels leads.
Result<std::shared_ptr<const routing::Domains>> load_domains(const config::RouteConfig& config,
                                                             const config::Config& all) {
  auto task = load_task(all, config.domains);
  if (!task.ok()) {
    return Error(ErrorCode::kInvalidConfig, fmt::format("route.{}.domains: {}", config.name, task.error().message()));
  }
  auto out = std::make_shared<routing::Domains>();
  out->task = std::move(task).value();
  out->routes.resize(out->task.labels.size());
  out->least = config.least_domain;
  for (const std::string& text : config.domain_routes) {
    const std::size_t equals = text.rfind('=');
    const std::string label = text.substr(0, equals);
    const auto found = std::ranges::find(out->task.labels, label);
    if (found == out->task.labels.end()) {
      return Error(ErrorCode::kInvalidConfig,
                   fmt::format("route.{}.domain_routes: the task {} has no label \"{}\"; it has {}", config.name,
                               config.domains, label, fmt::join(out->task.labels, ", ")));
    }
    out->routes[static_cast<std::size_t>(found - out->task.labels.begin())] = text.substr(equals + 1);
  }
  return std::shared_ptr<const routing::Domains>(std::move(out));
}

// The task that answers in place of a local model.
Result<std::shared_ptr<const routing::Task>> find_local_task(const config::RouteConfig& config,
                                                             const std::shared_ptr<const routing::Tasks>& tasks) {
  const auto wrong = [&config](std::string why) {
    return Error(ErrorCode::kInvalidConfig, fmt::format("route.{}.local_task: {}", config.name, why));
  };
  const auto found = std::ranges::find(*tasks, config.local_task, &routing::Task::name);
  if (found == tasks->end()) {
    std::vector<std::string> names;
    for (const routing::Task& task : *tasks) names.push_back(task.name);
    return wrong(fmt::format("no trained task is called {}; `shoal tune probe DATA --task {}` makes one",
                             config.local_task, config.local_task))
        .with_suggestion(base::suggest(config.local_task, names));
  }
  if (!std::holds_alternative<learning::ClassModel>(found->model)) {
    return wrong(fmt::format("{} finds slots, and only a task of classes can answer for a route", config.local_task));
  }
  return std::shared_ptr<const routing::Task>(tasks, &*found);
}

Result<routing::Route> make_route(const config::RouteConfig& config, const config::Config& all,
                                  const std::shared_ptr<const routing::Tasks>& tasks) {
  routing::Route route;
  route.name = config.name;
  route.policy = config.policy == "slm_only"    ? routing::Policy::kSlmOnly
                 : config.policy == "llm_first" ? routing::Policy::kLlmFirst
                                                : routing::Policy::kSlmFirst;
  route.local = config.local;
  if (!config.local_task.empty()) {
    route.local_task = SHOAL_TRY(find_local_task(config, tasks));
    route.local = config.local_task;
  }
  for (const std::string& text : config.remote) {
    auto target = routing::parse_target(text);
    if (target) route.remote.push_back(*std::move(target));
  }
  route.threshold = config.threshold;
  route.risk = config.risk;
  route.risk_confidence = config.risk_confidence;
  if (!config.router.empty()) route.router = SHOAL_TRY(load_router(config, all.server.data_dir));
  route.router_name = config.router;
  route.least_gain = config.least_gain;
  if (!config.domains.empty()) route.domains = SHOAL_TRY(load_domains(config, all));
  route.system_prompt = config.system_prompt;
  route.audit_share = config.audit_share;
  route.audit_seed = config.audit_seed;
  route.escalations_per_hour = config.escalations_per_hour;
  route.commit_tokens = static_cast<std::int32_t>(config.commit_tokens);
  route.commit_ms = config.commit_ms;
  route.latency = config.latency == "relaxed" ? routing::Latency::kRelaxed : routing::Latency::kInteractive;
  const auto cap = SHOAL_TRY(money(config.cost_cap_usd));
  if (cap) {
    route.cost_cap_micro = ledger::round_up_to_micro(*cap).value;
  }
  route.local_only = config.privacy == "local_only";
  const bool keep =
      config.on_null_confidence == "keep" || (config.on_null_confidence == "auto" && all.providers.empty());
  route.on_null_confidence = keep ? routing::NullConfidence::kKeep : routing::NullConfidence::kEscalate;
  route.escalate_local_errors = config.on_local_error == "escalate";
  route.local_on_remote_errors = config.on_remote_error == "local";
  route.local_on_budget = config.on_budget == "local";
  route.max_attempts = static_cast<std::int32_t>(config.max_attempts);
  route.task = config.task;
  return route;
}

// A promise of a task that has nothing to stand on, before the first request meets it. Of a model it takes a running
// worker to know.
void tell_unshown(const routing::Route& route, base::Log& log) {
  if (route.local_task == nullptr || route.risk <= 0) return;
  const auto found = routing::find_certificate(*route.local_task, route.risk, route.risk_confidence);
  if (found.certificate != nullptr) return;
  log.warn("no certificate shows what a route promises: its answers count as not judged",
           {{"route", route.name}, {found.gap->field, found.gap->value}, {"wanted", found.gap->wanted}});
}

}  // namespace

Result<ledger::PriceTable> price_table(const config::Config& config) {
  auto shipped = SHOAL_TRY(config::parse_prices(ledger::default_prices(), "the prices that come with Shoal"));
  add_other_names(shipped, config.providers);
  auto defaults = SHOAL_TRY(price_rows(shipped));
  auto configured = SHOAL_TRY(price_rows(config.prices));
  ledger::PriceTable table;
  SHOAL_TRY(table.add(std::move(defaults)));
  SHOAL_TRY(table.add(std::move(configured)));
  return table;
}

Result<std::shared_ptr<const gateway::OutsideConfig>> outside_config(const config::Config& config,
                                                                     net::HttpClient& client, const base::Clock& clock,
                                                                     base::Log* log, RoutingFiles files) {
  auto out = std::make_shared<gateway::OutsideConfig>();
  out->calibrations = std::move(files.calibrations);
  out->certificates = std::move(files.certificates);
  out->tasks = std::move(files.tasks);
  std::vector<std::shared_ptr<provider::Provider>> providers;
  for (const config::ProviderConfig& one : config.providers) {
    providers.push_back(SHOAL_TRY(make_provider(one, client, clock, log)));
  }
  for (const config::RouteConfig& one : config.routes) {
    out->routes.push_back(SHOAL_TRY(make_route(one, config, out->tasks)));
    if (log != nullptr) tell_unshown(out->routes.back(), *log);
  }
  out->providers = provider::Providers(std::move(providers));
  out->all_receipts = config.audit.receipts == "all";
  out->local_per_hour = SHOAL_TRY(money(config.ledger.local_usd_per_hour)).value_or(ledger::Pico());
  out->baseline = routing::parse_target(config.ledger.baseline);
  out->prices = SHOAL_TRY(price_table(config));
  return std::shared_ptr<const gateway::OutsideConfig>(std::move(out));
}

Result<gateway::Caps> budget_caps(const config::Config& config) {
  gateway::Caps caps;
  caps.daily = SHOAL_TRY(money(config.ledger.daily_usd));
  caps.monthly = SHOAL_TRY(money(config.ledger.monthly_usd));
  for (const config::ProviderConfig& provider : config.providers) {
    if (provider.local) continue;
    const auto cap = SHOAL_TRY(money(provider.daily_cap_usd));
    if (cap) caps.provider_daily[provider.name] = *cap;
  }
  return caps;
}

}  // namespace shoal::cli
