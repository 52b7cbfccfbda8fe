#include "shoal/config/records.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include <fmt/format.h>

namespace shoal::config {
namespace {

template <auto kRecords, auto kMember>
Value read(const Config& config, std::size_t record) {
  return (config.*kRecords)[record].*kMember;
}

template <auto kRecords, auto kMember>
void write(Config& config, std::size_t record, Value value) {
  auto& target = (config.*kRecords)[record].*kMember;
  target = std::get<std::remove_cvref_t<decltype(target)>>(std::move(value));
}

template <auto kRecords>
std::size_t count(const Config& config) {
  return (config.*kRecords).size();
}

template <auto kRecords>
std::size_t add(Config& config, std::string name) {
  auto& added = (config.*kRecords).emplace_back();
  if constexpr (requires { added.name; }) added.name = std::move(name);
  return (config.*kRecords).size() - 1;
}

template <auto kRecords>
std::string_view name_of(const Config& config, std::size_t record) {
  const auto& one = (config.*kRecords)[record];
  if constexpr (requires { one.name; }) {
    return one.name;
  } else {
    return {};
  }
}

using Text = std::string_view;

constexpr Form typed(Type type, Text name, Text help, Need need = Need::kNone) {
  return {.name = name, .type = type, .unit = {}, .choices = {}, .help = help, .need = need};
}
constexpr Form text(Text name, Text help, Need need = Need::kNone) {
  return typed(Type::kString, name, help, need);
}
constexpr Form choice(Text name, std::span<const Text> choices, Text help) {
  Form form = typed(Type::kChoice, name, help);
  form.choices = choices;
  return form;
}
constexpr Form integer(Text name, Text unit, std::int64_t min, std::int64_t max, Text help) {
  Form form = typed(Type::kInteger, name, help);
  form.unit = unit;
  form.min = min;
  form.max = max;
  return form;
}
constexpr Form timeout(Text name, Text help) {
  constexpr std::int64_t kDay = 86'400'000;
  return integer(name, "ms", 1, kDay, help);
}
constexpr Form number(Text name, std::int64_t min, std::int64_t max, Text help) {
  Form form = typed(Type::kNumber, name, help);
  form.min = min;
  form.max = max;
  return form;
}
// The most digits of an amount, before and after its point.
struct Digits {
  std::int64_t whole;
  std::int64_t fraction;
};
constexpr Form money(Text name, Digits digits, Text help, Need need = Need::kNone) {
  Form form = typed(Type::kMoney, name, help, need);
  form.min = digits.whole;
  form.max = digits.fraction;
  return form;
}

// Costs are counted in pico-dollars, so a rate per million tokens has six digits after the point, and a fee twelve;
// what is shown and billed has the six of micro-dollars. More before the point is a slip.
constexpr Digits kRate{.whole = 6, .fraction = 6};
constexpr Digits kFee{.whole = 9, .fraction = 12};
constexpr Digits kBilled{.whole = 9, .fraction = 6};
constexpr std::int64_t kMaxTokens = std::int64_t{1} << 30;

constexpr std::array<Text, 3> kKinds = {"openai", "anthropic", "gemini"};
constexpr std::array<Text, 3> kLimits = {"auto", "max_tokens", "max_completion_tokens"};
constexpr std::array<Text, 3> kDurabilities = {"batch", "strict", "none"};
constexpr std::array<Text, 3> kPolicies = {"slm_only", "slm_first", "llm_first"};
constexpr std::array<Text, 2> kLatencies = {"interactive", "relaxed"};
constexpr std::array<Text, 2> kPrivacies = {"any", "local_only"};
constexpr std::array<Text, 3> kOnNull = {"auto", "keep", "escalate"};
constexpr std::array<Text, 2> kOnLocalError = {"escalate", "fail"};
constexpr std::array<Text, 2> kOnRemote = {"local", "fail"};

#define SHOAL_FIELD(records, Struct, member) \
  &read<&Config::records, &Struct::member>, &write<&Config::records, &Struct::member>
#define SHOAL_PROVIDER(member) SHOAL_FIELD(providers, ProviderConfig, member)
#define SHOAL_ROUTE(member) SHOAL_FIELD(routes, RouteConfig, member)
#define SHOAL_PRICE(member) SHOAL_FIELD(prices, PriceConfig, member)

constexpr auto kFilled = Need::kFilled;
constexpr auto kRequired = Need::kRequired;

// clang-format off
constexpr std::array kProviderFields = {
    Field{choice("kind", kKinds, "The protocol that it speaks."), SHOAL_PROVIDER(kind)},
    Field{typed(Type::kUrl, "base_url", "Where its API begins, such as https://api.openai.com/v1. http:// needs local = true, since keys and prompts would travel in the clear.", kRequired), SHOAL_PROVIDER(base_url)},
    Field{typed(Type::kVariableList, "key_env", "Environment variables that each hold one key; they must be set. Never a key itself. Empty, and key_file too: no key is sent."), SHOAL_PROVIDER(key_env)},
    Field{typed(Type::kPath, "key_file", "File of keys, one a line. In place of key_env."), SHOAL_PROVIDER(key_file)},
    Field{typed(Type::kBool, "local", "It runs on this machine or its own networks: private addresses are allowed, and it costs nothing unless a price says so."), SHOAL_PROVIDER(local)},
    Field{typed(Type::kStringList, "models", "Models that it offers. Empty: any that has a price."), SHOAL_PROVIDER(models)},
    Field{money("daily_cap_usd", kBilled, "The most that may be spent there on one day (UTC). \"0\": nothing that costs is asked there. Ignored when local.", kFilled), SHOAL_PROVIDER(daily_cap_usd)},
    Field{choice("durability", kDurabilities, "batch: what is asked is on disk before it is sent. strict: so is what it cost, before the answer ends. none: neither; only for one that is local."), SHOAL_PROVIDER(durability)},
    Field{integer("max_concurrent", "", 1, 10'000, "Requests that it is sent at once."), SHOAL_PROVIDER(max_concurrent)},
    Field{typed(Type::kBool, "drain", "When a client leaves a stream that is paid for, read it on to its end for at most 30 s and 1 MiB: what it costs is told there. false: break it off; it counts at what was reserved for it."), SHOAL_PROVIDER(drain)},
    Field{timeout("connect_timeout_ms", "The longest that finding its address, connecting and agreeing on TLS may take."), SHOAL_PROVIDER(connect_timeout_ms)},
    Field{timeout("headers_timeout_ms", "Of streams: the longest from the request to the headers of the answer."), SHOAL_PROVIDER(headers_timeout_ms)},
    Field{timeout("first_token_timeout_ms", "Of streams: the longest from the request to the first token."), SHOAL_PROVIDER(first_token_timeout_ms)},
    Field{timeout("token_timeout_ms", "Of streams: the longest between two tokens."), SHOAL_PROVIDER(token_timeout_ms)},
    Field{timeout("answer_timeout_ms", "Of what does not stream: the longest from the request to the whole answer. After it the route goes on to its next model, if server.request_timeout_ms leaves the time."), SHOAL_PROVIDER(answer_timeout_ms)},
    Field{choice("limit_parameter", kLimits, "What bounds an answer where the client sets no bound. auto: max_completion_tokens at OpenAI and Azure, whose newer models take nothing else, and max_tokens elsewhere. Of kind = \"openai\"."), SHOAL_PROVIDER(limit_parameter)},
};

constexpr std::array kRouteFields = {
    Field{choice("policy", kPolicies, "slm_only: the local model answers. slm_first: it drafts, and `remote` is asked when it is not sure. llm_first: `remote` is asked first. The last two need `remote`; without it, and where this field is not written, it is slm_only."), SHOAL_ROUTE(policy)},
    Field{text("local", "The local model. Empty: engine.default_model."), SHOAL_ROUTE(local)},
    Field{text("local_task", "In place of `local`: a task of `shoal tune probe` with classes. It answers with the label of what the user said last; what it says of its own certainty is held against `threshold`, or, with `risk`, against its certificate of `shoal tune certify`. Empty: none."), SHOAL_ROUTE(local_task)},
    Field{typed(Type::kTargetList, "remote", "What to ask beyond this machine, in the order of trying."), SHOAL_ROUTE(remote)},
    Field{number("threshold", 0, 1, "The least calibrated probability of being right that keeps a local answer."), SHOAL_ROUTE(threshold)},
    Field{number("risk", 0, 1, "In place of `threshold`: of the local answers that are kept, at most this share is wrong. The threshold comes from a certificate of `shoal route certify`; without one that holds for what runs, answers are of unknown certainty (on_null_confidence). 0: `threshold` counts."), SHOAL_ROUTE(risk)},
    Field{number("risk_confidence", 0, 1, "The confidence with which `risk` must have been shown."), SHOAL_ROUTE(risk_confidence)},
    Field{text("router", "A router of `shoal route train`: before the local model drafts, it tells from the request what `remote` would gain. Empty: none."), SHOAL_ROUTE(router)},
    Field{number("least_gain", -1, 1, "With `router`: requests that are expected to gain at least this go to `remote` at once. `shoal route show` says which share that is."), SHOAL_ROUTE(least_gain)},
    Field{text("domains", "A task of `shoal tune probe` that tells from the request which area it is about. What is of one area is answered by that area's route; what is of several, or unclear, goes to `remote` at once. Empty: none."), SHOAL_ROUTE(domains)},
    Field{typed(Type::kStringList, "domain_routes", "With `domains`: which route answers a label, as \"banking=bank\". Labels that are not named stay with this route."), SHOAL_ROUTE(domain_routes)},
    Field{number("least_domain", 0, 1, "With `domains`: the least calibrated probability that a request is of one area."), SHOAL_ROUTE(least_domain)},
    Field{text("system_prompt", "Put before chats that have no system message of their own. The receipt says so."), SHOAL_ROUTE(system_prompt)},
    Field{number("audit_share", 0, 1, "Of the judged local answers that are kept, this share, drawn by chance, is asked of the first of `remote` too, after the client has its answer: whether the two agree is kept as a label. It costs what such a request costs. Never what is local_only. 0: none."), SHOAL_ROUTE(audit_share)},
    Field{integer("audit_seed", "", 0, kMaxTokens, "Of that draw: with it anybody can compute again which answers were drawn."), SHOAL_ROUTE(audit_seed)},
    Field{integer("escalations_per_hour", "", 0, 1'000'000, "So many requests of one key may go to `remote` in an hour because the local answer is not sure enough, or because a router, the domains or a missing confidence send them there, and as many at once; on_budget says what becomes of the next one: it is answered here, with a reason that says so, or the request fails. Against questions that are made to be hard. 0: any number."), SHOAL_ROUTE(escalations_per_hour)},
    Field{integer("commit_tokens", "tokens", 1, 512, "A streamed local answer is held back for so many tokens while it is judged."), SHOAL_ROUTE(commit_tokens)},
    Field{integer("commit_ms", "ms", 0, 60'000, "It is held back no longer than this, counted from the arrival of the request; with fewer tokens by then it counts as not sure."), SHOAL_ROUTE(commit_ms)},
    Field{choice("latency", kLatencies, "interactive: somebody waits for the first words. relaxed: an answer may be judged whole before any of it is sent."), SHOAL_ROUTE(latency)},
    Field{money("cost_cap_usd", kBilled, "The most that one request may cost. Empty: only budgets limit it."), SHOAL_ROUTE(cost_cap_usd)},
    Field{choice("privacy", kPrivacies, "local_only: nothing of these requests leaves this machine, and `remote` must be empty."), SHOAL_ROUTE(privacy)},
    Field{choice("on_null_confidence", kOnNull, "What becomes of a local answer whose certainty is not known. auto: keep it if no provider is configured, else escalate."), SHOAL_ROUTE(on_null_confidence)},
    Field{choice("on_local_error", kOnLocalError, "What happens when the local model fails: ask `remote`, or fail."), SHOAL_ROUTE(on_local_error)},
    Field{choice("on_remote_error", kOnRemote, "What happens when no provider answers: the local model does, or the request fails."), SHOAL_ROUTE(on_remote_error)},
    Field{choice("on_budget", kOnRemote, "What happens when a budget is used up: the local model answers, or the request fails."), SHOAL_ROUTE(on_budget)},
    Field{integer("max_attempts", "", 1, 10, "The most attempts that one request makes, at all its models together."), SHOAL_ROUTE(max_attempts)},
    Field{text("task", "What these requests are about: the --task of the `shoal route fit` whose tables say how sure an answer is. Empty: \"general\"."), SHOAL_ROUTE(task)},
};

constexpr std::array kPriceFields = {
    Field{text("provider", "The provider, as [provider.NAME] calls it.", kRequired), SHOAL_PRICE(provider)},
    Field{text("model", "The model: its whole name, or the beginning and a * as the last character.", kRequired), SHOAL_PRICE(model)},
    Field{typed(Type::kDate, "from", "The day from which it holds, in UTC.", kRequired), SHOAL_PRICE(from)},
    Field{money("input_usd", kRate, "A million tokens of prompt.", kRequired), SHOAL_PRICE(input_usd)},
    Field{money("output_usd", kRate, "A million tokens of answer.", kRequired), SHOAL_PRICE(output_usd)},
    Field{money("cache_read_usd", kRate, "A million tokens of prompt that the provider had cached. Empty: as input_usd."), SHOAL_PRICE(cache_read_usd)},
    Field{money("cache_write_5m_usd", kRate, "A million tokens that it caches for five minutes. Empty: as input_usd."), SHOAL_PRICE(cache_write_5m_usd)},
    Field{money("cache_write_1h_usd", kRate, "A million tokens that it caches for an hour. Empty: as cache_write_5m_usd."), SHOAL_PRICE(cache_write_1h_usd)},
    Field{money("reasoning_usd", kRate, "A million tokens of reasoning. Empty: as output_usd."), SHOAL_PRICE(reasoning_usd)},
    Field{money("request_usd", kFee, "A fee for each request. Empty: none."), SHOAL_PRICE(request_usd)},
    Field{integer("above_prompt_tokens", "tokens", 0, kMaxTokens, "Longer prompts have the second tier, whose rates hold for all of the request. 0: there is none."), SHOAL_PRICE(above_prompt_tokens)},
    Field{money("above_input_usd", kRate, "input_usd of the second tier, which needs it."), SHOAL_PRICE(above_input_usd)},
    Field{money("above_cache_read_usd", kRate, "cache_read_usd of the second tier. Empty: as above_input_usd."), SHOAL_PRICE(above_cache_read_usd)},
    Field{money("above_cache_write_5m_usd", kRate, "cache_write_5m_usd of the second tier. Empty: as above_input_usd."), SHOAL_PRICE(above_cache_write_5m_usd)},
    Field{money("above_cache_write_1h_usd", kRate, "cache_write_1h_usd of the second tier. Empty: as above_cache_write_5m_usd."), SHOAL_PRICE(above_cache_write_1h_usd)},
    Field{money("above_output_usd", kRate, "output_usd of the second tier, which needs it."), SHOAL_PRICE(above_output_usd)},
    Field{money("above_reasoning_usd", kRate, "reasoning_usd of the second tier. Empty: as above_output_usd."), SHOAL_PRICE(above_reasoning_usd)},
    Field{integer("image_tokens", "tokens", 0, kMaxTokens, "The most tokens that one image counts. 0: not known, and images are not sent there."), SHOAL_PRICE(image_tokens)},
    Field{integer("message_tokens", "tokens", 0, kMaxTokens, "The most tokens that a message counts beyond its text."), SHOAL_PRICE(message_tokens)},
    Field{integer("tool_tokens", "tokens", 0, kMaxTokens, "The most tokens that a tool counts beyond its text."), SHOAL_PRICE(tool_tokens)},
    Field{text("source", "Where the price was read."), SHOAL_PRICE(source)},
    Field{typed(Type::kDate, "checked", "The day on which it was read."), SHOAL_PRICE(checked)},
};
// clang-format on
#undef SHOAL_PRICE
#undef SHOAL_ROUTE
#undef SHOAL_PROVIDER
#undef SHOAL_FIELD

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}
bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}

bool is_provider_name(std::string_view name) {
  return !name.empty() && name.size() <= 32 && name.front() != '_' && name.front() != '-' &&
         std::ranges::all_of(name, [](char c) { return is_lower(c) || is_digit(c) || c == '_' || c == '-'; });
}

bool is_route_name(std::string_view name) {
  const auto plain = [](char c) { return is_lower(c) || is_upper(c) || is_digit(c); };
  return !name.empty() && name.size() <= 64 && plain(name.front()) &&
         std::ranges::all_of(name, [&](char c) { return plain(c) || c == '.' || c == '_' || c == ':' || c == '-'; });
}

bool is_no_name(std::string_view /*name*/) {
  return false;
}

constexpr std::string_view kProviderExample = R"([provider.openai]
base_url = "https://api.openai.com/v1"
key_env = ["OPENAI_API_KEY"]
daily_cap_usd = "2.50"

[provider.rack]                          # a server of your own
base_url = "http://10.0.0.7:8000/v1"
local = true
)";

constexpr std::string_view kRouteExample = R"([route.auto]
remote = ["openai/gpt-4o-mini", "rack/qwen3-32b"]
threshold = 0.85

[route."notes-2.0"]                      # quotes, since a dot is in it
privacy = "local_only"
local = "smollm2-360m-instruct"
)";

constexpr std::string_view kPriceExample = R"([[price]]
provider = "openai"
model = "gpt-4o-mini"                    # "gpt-4o-mini*": also its dated versions
from = 2026-03-01
input_usd = "0.15"
cache_read_usd = "0.075"
output_usd = "0.60"
)";

template <auto kRecords>
constexpr RecordKind kind(std::string_view name, std::string_view pattern, bool (*is_name)(std::string_view),
                          std::string_view help, std::string_view example, std::span<const Field> fields) {
  return {.name = name,
          .name_pattern = pattern,
          .is_name = is_name,
          .help = help,
          .example = example,
          .fields = fields,
          .count = &count<kRecords>,
          .add = &add<kRecords>,
          .name_of = &name_of<kRecords>};
}

constexpr std::array kRecordKinds = {
    kind<&Config::providers>("provider", "^[a-z0-9][a-z0-9_-]{0,31}$", &is_provider_name,
                             "A server of other models: a service, or one of your own. Its name is yours to choose.",
                             kProviderExample, kProviderFields),
    kind<&Config::routes>("route", "^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$", &is_route_name,
                          "How requests are answered whose `model` is the name of the route.", kRouteExample,
                          kRouteFields),
    kind<&Config::prices>(
        "price", "", &is_no_name,
        "What a model costs from a day on. Amounts are USD as text, never numbers, and rates count a million tokens. "
        "These prices stand beside those that Shoal comes with, and win over them.",
        kPriceExample, kPriceFields),
};

bool is_bare(char c) {
  return is_lower(c) || is_upper(c) || is_digit(c) || c == '_' || c == '-';
}

}  // namespace

std::string variable_part(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (is_lower(c)) {
      out += static_cast<char>(c - 'a' + 'A');
    } else {
      out += is_upper(c) || is_digit(c) ? c : '_';
    }
  }
  return out;
}

std::string RecordKind::header(std::string_view record) const {
  if (!named()) return fmt::format("[[{}]]", name);
  return std::ranges::all_of(record, is_bare) ? fmt::format("[{}.{}]", name, record)
                                              : fmt::format("[{}.\"{}\"]", name, record);
}

std::string RecordKind::path(std::string_view record, const Field& field) const {
  return named() ? fmt::format("{}.{}.{}", name, record, field.name) : fmt::format("{}.{}", name, field.name);
}

std::string RecordKind::variable(std::string_view record, const Field& field) const {
  return named()
             ? fmt::format("SHOAL_{}__{}__{}", variable_part(name), variable_part(record), variable_part(field.name))
             : std::string();
}

const Field* RecordKind::find(std::string_view field) const {
  const auto found = std::ranges::find(fields, field, &Field::name);
  return found == fields.end() ? nullptr : &*found;
}

std::size_t RecordKind::index_of(const Field& field) const {
  return static_cast<std::size_t>(&field - fields.data());
}

Value RecordKind::default_value(const Field& field) const {
  Config config;
  return field.read(config, add(config, ""));
}

std::span<const RecordKind> record_kinds() {
  return kRecordKinds;
}

const RecordKind* find_record_kind(std::string_view name) {
  const auto* const found = std::ranges::find(kRecordKinds, name, &RecordKind::name);
  return found == kRecordKinds.end() ? nullptr : found;
}

std::size_t index_of(const RecordKind& kind) {
  return static_cast<std::size_t>(&kind - kRecordKinds.data());
}

std::optional<std::size_t> find_record(const RecordKind& kind, const Config& config, std::string_view name) {
  for (std::size_t i = 0; i < kind.count(config); ++i) {
    if (kind.named() && kind.name_of(config, i) == name) return i;
  }
  return std::nullopt;
}

std::optional<FieldName> find_field(std::string_view path) {
  const std::size_t first = path.find('.');
  const std::size_t last = path.rfind('.');
  if (first == std::string_view::npos) return std::nullopt;
  const RecordKind* const kind = find_record_kind(path.substr(0, first));
  if (kind == nullptr) return std::nullopt;
  const Field* const field = kind->find(path.substr(last + 1));
  if (field == nullptr || (first != last && !kind->named())) return std::nullopt;
  std::string_view record = first == last ? std::string_view() : path.substr(first + 1, last - first - 1);
  if (record.size() > 1 && record.front() == '"' && record.back() == '"') record = record.substr(1, record.size() - 2);
  if (first != last && record.empty()) return std::nullopt;
  return FieldName{.kind = kind, .field = field, .record = std::string(record)};
}

}  // namespace shoal::config
