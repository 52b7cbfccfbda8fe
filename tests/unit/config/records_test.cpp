// Records that load: their values, order, origins, overrides, reload, and the texts that are made of them.
#include "shoal/config/records.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <regex>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "shoal/config/document.h"
#include "shoal/config/load.h"

namespace shoal::config {
namespace {

namespace fs = std::filesystem;

class RecordsTest : public testing::Test {
 protected:
  RecordsTest() {
    std::string pattern = (fs::temp_directory_path() / "shoal-records-XXXXXX").string();
    dir_ = mkdtemp(pattern.data());
    file_ = (dir_ / "f.toml").string();
  }
  ~RecordsTest() override { fs::remove_all(dir_); }

  LoadOutcome load_text(std::string_view text, Environment environment = {}) const {
    std::ofstream(file_) << text;
    return load({.path = file_, .environment = std::move(environment)});
  }

  fs::path dir_;
  std::string file_;
};

const RecordKind& kind_of(std::string_view name) {
  return *find_record_kind(name);
}

const Origin& origin(const Loaded& loaded, std::string_view kind, std::size_t record, std::string_view field) {
  const RecordKind& of = kind_of(kind);
  return loaded.records[index_of(of)][record].fields[of.index_of(*of.find(field))];
}

TEST_F(RecordsTest, ThereAreNoneByDefault) {
  const Loaded loaded = load({}).result().value();
  for (const RecordKind& kind : record_kinds()) EXPECT_EQ(kind.count(*loaded.config), 0U) << kind.name;
}

TEST_F(RecordsTest, HaveTheirDefaults) {
  const Loaded loaded = load_text("[provider.a]\nbase_url = \"https://x\"\n[route.b]\n").result().value();
  const ProviderConfig& provider = loaded.config->providers.at(0);
  EXPECT_EQ(provider.name, "a");
  EXPECT_EQ(provider.kind, "openai");
  EXPECT_EQ(provider.base_url, "https://x");
  EXPECT_EQ(provider.daily_cap_usd, "1.00");
  EXPECT_EQ(provider.durability, "batch");
  EXPECT_EQ(provider.max_concurrent, 64);
  EXPECT_EQ(provider.connect_timeout_ms, 10'000);
  EXPECT_EQ(provider.headers_timeout_ms, 60'000);
  EXPECT_EQ(provider.first_token_timeout_ms, 60'000);
  EXPECT_EQ(provider.token_timeout_ms, 30'000);
  EXPECT_EQ(provider.answer_timeout_ms, 300'000);
  EXPECT_EQ(provider.limit_parameter, "auto");
  EXPECT_FALSE(provider.local);
  const RouteConfig& route = loaded.config->routes.at(0);
  EXPECT_EQ(route.name, "b");
  EXPECT_EQ(route.threshold, 0.8);
  EXPECT_EQ(route.commit_tokens, 16);
  EXPECT_EQ(route.commit_ms, 1'500);
  EXPECT_EQ(route.latency, "interactive");
  EXPECT_EQ(route.cost_cap_usd, "");
  EXPECT_EQ(route.privacy, "any");
  EXPECT_EQ(route.on_null_confidence, "auto");
  EXPECT_EQ(route.on_local_error, "escalate");
  EXPECT_EQ(route.on_remote_error, "local");
  EXPECT_EQ(route.on_budget, "local");
  EXPECT_EQ(route.max_attempts, 3);
  EXPECT_EQ(loaded.config->ledger.local_usd_per_hour, "0.05");
  EXPECT_EQ(loaded.config->audit.receipts, "all");
  EXPECT_TRUE(loaded.config->egress.allowed);
}

TEST_F(RecordsTest, KeepTheOrderOfTheFile) {
  const Loaded loaded = load_text(
                            "provider.m = {base_url = \"https://m\"}\n"
                            "[provider.z]\nbase_url = \"https://z\"\n"
                            "[route.\"z.1\"]\n[provider.a]\nbase_url = \"https://a\"\n[route.B]\n[route.a]\n")
                            .result()
                            .value();
  std::vector<std::string> names;
  for (const ProviderConfig& one : loaded.config->providers) names.push_back(one.name + one.base_url);
  for (const RouteConfig& one : loaded.config->routes) names.push_back(one.name);
  EXPECT_EQ(names, (std::vector<std::string>{"mhttps://m", "zhttps://z", "ahttps://a", "z.1", "B", "a"}));
  EXPECT_EQ(loaded.records[0][2].self.place, file_ + ":5");
  EXPECT_EQ(origin(loaded, "provider", 2, "base_url").place, file_ + ":6");
  EXPECT_EQ(origin(loaded, "provider", 2, "kind").place, "default");
}

TEST_F(RecordsTest, OfOneLineKeepTheirOrder) {
  const Loaded loaded = load_text("route = {b = {}, a = {}, c = {}}\n").result().value();
  EXPECT_EQ(loaded.config->routes[0].name + loaded.config->routes[1].name + loaded.config->routes[2].name, "bac");
}

TEST_F(RecordsTest, PathsCountFromTheFolderOfTheFile) {
  const Loaded loaded = load_text("[provider.a]\nbase_url = \"https://x\"\nkey_file = \"keys/a\"\n").result().value();
  EXPECT_EQ(loaded.config->providers[0].key_file, (dir_ / "keys/a").string());
}

TEST_F(RecordsTest, DatesMayBeThoseOfToml) {
  const Loaded loaded =
      load_text(
          "[[price]]\nprovider=\"p\"\nmodel=\"m\"\nfrom=2026-03-01\ninput_usd=\"1\"\noutput_usd=\"0\"\n"
          "[[price]]\nprovider=\"p\"\nmodel=\"m*\"\nfrom=\"2026-12-31\"\ninput_usd=\"1\"\noutput_usd=\"0\"\n")
          .result()
          .value();
  EXPECT_EQ(loaded.config->prices[0].from, "2026-03-01");
  EXPECT_EQ(loaded.config->prices[1].from, "2026-12-31");
  EXPECT_EQ(loaded.config->prices[0].message_tokens, 32);
  EXPECT_EQ(loaded.config->prices[0].tool_tokens, 1024);
}

TEST_F(RecordsTest, RoutesWithoutRemoteAnswerLocally) {
  const Loaded loaded = load_text(
                            "[provider.p]\nbase_url = \"https://x\"\n[route.a]\n[route.b]\npolicy = \"slm_only\"\n"
                            "[route.c]\nremote = [\"p/m\"]\n[route.d]\nprivacy = \"local_only\"\n")
                            .result()
                            .value();
  std::vector<std::string> policies;
  for (const RouteConfig& route : loaded.config->routes) policies.push_back(route.policy);
  EXPECT_EQ(policies, (std::vector<std::string>{"slm_only", "slm_only", "slm_first", "slm_only"}));
}

TEST_F(RecordsTest, ARouteMayBeSwitchedToLocalAnswersByAVariable) {
  const Loaded loaded = load_text("[provider.p]\nbase_url = \"https://x\"\n[route.a]\nremote = [\"p/m\"]\n",
                                  {{"SHOAL_ROUTE__A__POLICY", "slm_only"}})
                            .result()
                            .value();
  EXPECT_EQ(loaded.config->routes[0].policy, "slm_only");
}

constexpr std::string_view kTwo =
    "[provider.a]\nbase_url = \"https://x\"\nmax_concurrent = 5\n[provider.my-rack]\nbase_url = \"https://y\"\n"
    "[route.\"gpt-4.1\"]\nthreshold = 0.5\n";

TEST_F(RecordsTest, VariablesOverrideTheirFields) {
  const Loaded loaded = load_text(kTwo, {{"SHOAL_PROVIDER__A__MAX_CONCURRENT", "7"},
                                         {"SHOAL_PROVIDER__MY_RACK__MODELS", "m,n"},
                                         {"SHOAL_PROVIDER__MY_RACK__LOCAL", "true"},
                                         {"SHOAL_PROVIDER__MY_RACK__KEY_FILE", "keys"},
                                         {"SHOAL_ROUTE__GPT_4_1__THRESHOLD", "0.25"},
                                         {"SHOAL_ROUTE__GPT_4_1__REMOTE", "my-rack/m,a/x"},
                                         {"SHOAL_PROVIDER__A__DAILY_CAP_USD", "0.10"}})
                            .result()
                            .value();
  EXPECT_EQ(loaded.config->providers[0].max_concurrent, 7);
  EXPECT_EQ(loaded.config->providers[0].daily_cap_usd, "0.10");
  EXPECT_EQ(loaded.config->providers[1].models, (std::vector<std::string>{"m", "n"}));
  EXPECT_TRUE(loaded.config->providers[1].local);
  EXPECT_EQ(loaded.config->providers[1].key_file, (fs::current_path() / "keys").string());
  EXPECT_EQ(loaded.config->routes[0].threshold, 0.25);
  EXPECT_EQ(loaded.config->routes[0].policy, "slm_first");
  EXPECT_EQ(origin(loaded, "route", 0, "threshold").place, "SHOAL_ROUTE__GPT_4_1__THRESHOLD");
  EXPECT_EQ(origin(loaded, "route", 0, "threshold").layer, Layer::kEnvironment);
  EXPECT_EQ(origin(loaded, "provider", 1, "base_url").place, file_ + ":5");
  ASSERT_EQ(loaded.overridden.size(), 2U);
  EXPECT_EQ(loaded.overridden[0].key, "provider.a.max_concurrent");
  EXPECT_EQ(loaded.overridden[0].place, file_ + ":3");
  EXPECT_EQ(loaded.overridden[0].by, "SHOAL_PROVIDER__A__MAX_CONCURRENT");
  EXPECT_EQ(loaded.overridden[1].key, "route.gpt-4.1.threshold");
}

TEST_F(RecordsTest, AVariableMayFillInWhatMustBeThere) {
  EXPECT_EQ(load_text("[provider.a]\n").faults.size(), 1U);
  const auto loaded = load_text("[provider.a]\n", {{"SHOAL_PROVIDER__A__BASE_URL", "https://x"}}).result();
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  EXPECT_EQ(loaded->config->providers[0].base_url, "https://x");
}

TEST_F(RecordsTest, EveryFieldCanBeSetByItsVariable) {
  for (const RecordKind& kind : record_kinds()) {
    if (!kind.named()) continue;
    for (const Field& field : kind.fields) {
      std::string text = "a";
      const Value unset = kind.default_value(field);
      if (field.type == Type::kBool) text = std::get<bool>(unset) ? "false" : "true";
      if (field.type == Type::kInteger) text = std::to_string(field.max);
      if (field.type == Type::kNumber) text = "0.125";
      if (field.type == Type::kChoice) text = field.choices.back();
      if (field.type == Type::kUrl) text = "https://other";
      if (field.type == Type::kMoney) text = "0.07";
      if (field.type == Type::kTargetList) text = "p/m";
      if (field.type == Type::kVariableList) text = "HOME";
      if (field.name == "models") text = "m";
      if (field.name == "domain_routes") text = "a=s";
      const bool of_domains = field.name == "domain_routes" || field.name == "least_domain";
      const std::string record = kind.name == "provider" ? "x_1" : "r.1";
      const std::string variable = kind.variable(record, field);
      const auto loaded =
          load_text(
              "[provider.p]\nbase_url = \"https://x\"\n[provider.x_1]\nbase_url = \"https://x\"\nlocal = "
              "true\n[route.s]\n[route.\"r.1\"]\nremote = [\"p/m\", \"x_1/m\"]\n",
              {{"HOME", "/home"},
               {variable, text},
               {field.name == "least_gain" ? "SHOAL_ROUTE__R_1__ROUTER" : "ALSO_UNUSED", "a"},
               {of_domains ? "SHOAL_ROUTE__R_1__DOMAINS" : "UNUSED_TOO", "a"},
               // Only with nothing remote.
               {field.name == "privacy" ? "SHOAL_ROUTE__R_1__REMOTE" : "UNUSED", ""}})
              .result();
      ASSERT_TRUE(loaded.ok()) << loaded.error().message();
      const std::size_t index = *find_record(kind, *loaded->config, record);
      EXPECT_NE(field.read(*loaded->config, index), unset) << variable;
      EXPECT_EQ(origin(*loaded, kind.name, index, field.name).place, variable);
    }
  }
}

TEST_F(RecordsTest, AuditsNeedARouteThatJudges) {
  const std::string provider = "[provider.p]\nbase_url = \"https://x\"\n[route.r]\n";
  const auto fault = [&](const std::string& fields) {
    const auto faults = load_text(provider + fields).faults;
    return faults.size() == 1 ? faults[0].message : std::to_string(faults.size()) + " faults";
  };
  EXPECT_EQ(fault("remote = [\"p/m\"]\naudit_share = 1\nescalations_per_hour = 5\n"), "0 faults");
  for (const std::string field : {"audit_share = 0.1\n", "escalations_per_hour = 5\n"}) {
    EXPECT_NE(fault(field).find("only a slm_first route"), std::string::npos) << field;
    EXPECT_NE(fault("policy = \"llm_first\"\nremote = [\"p/m\"]\n" + field).find("only a slm_first route"),
              std::string::npos)
        << field;
  }
  EXPECT_NE(fault("remote = [\"p/m\"]\naudit_share = 1.5\n").find("1.5"), std::string::npos);
}

TEST_F(RecordsTest, ARouterNeedsTwoWaysAndAName) {
  const std::string provider = "[provider.p]\nbase_url = \"https://x\"\n[route.r]\n";
  const std::string remote = "remote = [\"p/m\"]\n";
  const auto loaded = load_text(provider + remote + "router = \"mmlu\"\nleast_gain = 0.3\n").result();
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  EXPECT_EQ(loaded->config->routes[0].router, "mmlu");
  EXPECT_EQ(loaded->config->routes[0].least_gain, 0.3);
  const auto fault = [&](const std::string& fields) {
    const auto faults = load_text(provider + fields).faults;
    return faults.size() == 1 ? faults[0].message : std::to_string(faults.size()) + " faults";
  };
  EXPECT_NE(fault(remote + "least_gain = 0.3\n").find("no `router`"), std::string::npos);
  EXPECT_NE(fault(remote + "router = \"../mmlu\"\n").find("no path"), std::string::npos);
  EXPECT_NE(fault("policy = \"slm_only\"\nrouter = \"mmlu\"\n").find("only a slm_first route"), std::string::npos);
}

TEST_F(RecordsTest, LabelsLeadToRoutesThatAnswerByThemselves) {
  const std::string all =
      "[provider.p]\nbase_url = \"https://x\"\n[route.bank]\nsystem_prompt = \"Be exact.\"\n[route.r]\n";
  const auto loaded =
      load_text(all + "domains = \"areas\"\ndomain_routes = [\"a=b=bank\"]\nleast_domain = 0.9\n").result();
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  const RouteConfig& route = loaded->config->routes[1];
  EXPECT_EQ(route.domains, "areas");
  EXPECT_EQ(route.domain_routes, std::vector<std::string>{"a=b=bank"});
  EXPECT_EQ(route.least_domain, 0.9);
  EXPECT_EQ(loaded->config->routes[0].system_prompt, "Be exact.");
  const auto fault = [&](const std::string& fields) {
    const auto faults = load_text(all + fields).faults;
    return faults.size() == 1 ? faults[0].message + "; " + faults[0].suggestion
                              : std::to_string(faults.size()) + " faults";
  };
  const std::string domains = "domains = \"areas\"\n";
  EXPECT_NE(fault("domain_routes = [\"a=bank\"]\n").find("no `domains`"), std::string::npos);
  EXPECT_NE(fault("least_domain = 0.9\n").find("no `domains`"), std::string::npos);
  EXPECT_NE(fault("domains = \"../areas\"\n").find("no path"), std::string::npos);
  for (const std::string item : {"bank", "=bank", "a="}) {
    EXPECT_NE(fault(domains + "domain_routes = [\"" + item + "\"]\n").find("label=route"), std::string::npos) << item;
  }
  EXPECT_NE(fault(domains + "domain_routes = [\"a=bnk\"]\n").find("did you mean \"bank\""), std::string::npos);
  EXPECT_NE(fault(domains + "domain_routes = [\"a=r\"]\n").find("back to this route"), std::string::npos);
  EXPECT_NE(fault(domains + "domain_routes = [\"a=s\"]\n[route.s]\n" + domains).find("`domains` of its own"),
            std::string::npos);
  EXPECT_NE(
      fault(domains + "domain_routes = [\"a=bank\"]\nprivacy = \"local_only\"\n").find("this route is local_only"),
      std::string::npos);
}

TEST_F(RecordsTest, APromisedRiskTakesThePlaceOfAThreshold) {
  const std::string provider = "[provider.p]\nbase_url = \"https://x\"\n[route.r]\n";
  const std::string remote = "remote = [\"p/m\"]\n";
  const auto loaded = load_text(provider + remote + "risk = 0.05\nrisk_confidence = 0.9\n").result();
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  EXPECT_EQ(loaded->config->routes[0].risk, 0.05);
  EXPECT_EQ(loaded->config->routes[0].risk_confidence, 0.9);
  const auto fault = [&](const std::string& fields) {
    const auto faults = load_text(provider + fields).faults;
    return faults.size() == 1 ? faults[0].message : std::to_string(faults.size()) + " faults";
  };
  EXPECT_NE(fault(remote + "risk = 0.05\nthreshold = 0.9\n").find("this route has `threshold` too"), std::string::npos);
  EXPECT_NE(fault(remote + "risk = 1\n").find("all may be wrong"), std::string::npos);
  EXPECT_NE(fault(remote + "risk = 0.05\nrisk_confidence = 1\n").find("between 0 and 1"), std::string::npos);
  EXPECT_NE(fault(remote + "risk = 0.05\npolicy = \"llm_first\"\n").find("only a slm_first route"), std::string::npos);
  EXPECT_NE(fault("risk = 0.05\n").find("only a slm_first route"), std::string::npos);
}

TEST_F(RecordsTest, ATaskTakesThePlaceOfALocalModel) {
  const std::string all = "[provider.p]\nbase_url = \"https://x\"\n[route.r]\nlocal_task = ";
  EXPECT_EQ(load_text(all + "\"kinds\"\n").result().value().config->routes[0].local_task, "kinds");
  const auto fault = [&](const std::string& fields) {
    const auto faults = load_text(all + fields).faults;
    return faults.size() == 1 ? faults[0].message + "; " + faults[0].suggestion
                              : std::to_string(faults.size()) + " faults";
  };
  EXPECT_NE(fault("\"kinds\"\nlocal = \"small\"\n").find("this route has `local` too"), std::string::npos);
  EXPECT_NE(fault("\"kinds\"\ntask = \"mail\"\n").find("a trained task has its own; remove it"), std::string::npos);
  EXPECT_NE(fault("\"../kinds\"\n").find("no path; write the NAME"), std::string::npos);
  EXPECT_NE(fault("\"..\"\n").find("no path"), std::string::npos);
}

struct Refusal {
  std::string_view variable;
  std::string_view value;
  std::string_view message;
  std::string_view suggestion;
};

TEST_F(RecordsTest, VariablesThatMeanNoFieldAreFaults) {
  const std::string text = std::string(kTwo) + "[provider.my_rack]\nbase_url = \"https://z\"\n";
  for (const auto& [variable, value, message, suggestion] : std::vector<Refusal>{
           {"SHOAL_PROVIDER__B__BASE_URL", "https://x",
            "the file has no provider of that name, and a variable cannot make",
            "did you mean SHOAL_PROVIDER__A__BASE_URL?"},
           {"SHOAL_PROVIDER__ZZZZZZZZ__BASE_URL", "https://x", "the file has no provider of that name",
            "add [provider.NAME]"},
           {"SHOAL_PROVIDER__A__BSE_URL", "https://x", "a provider has no such field",
            "did you mean SHOAL_PROVIDER__A__BASE_URL?"},
           {"SHOAL_PROVIDER__A__ZZZZZZ", "x", "a provider has no such field",
            "`shoal config reference` lists every field"},
           {"SHOAL_PROVIDER__A__NAME", "x", "a provider has no such field", ""},
           {"SHOAL_ROUTE__GPT_41__THRESHOLD", "1", "the file has no route of that name",
            "did you mean SHOAL_ROUTE__GPT_4_1__THRESHOLD?"},
           {"SHOAL_PROVIDER__MY_RACK__BASE_URL", "https://x",
            "it may mean `provider.my-rack.base_url` or `provider.my_rack.base_url`", "rename one of them"},
           {"SHOAL_PRICE__X__INPUT_USD", "1", "a price has no name", "write the value in the file"},
           {"SHOAL_PROVIDER__a__BASE_URL", "https://x", "of that name", "SHOAL_PROVIDER__A__BASE_URL"},
           {"SHOAL_PROVIDER__A__MAX_CONCURRENT", "0",
            "`provider.a.max_concurrent`: wanted an integer from 1 to 10000, got 0", ""},
           {"SHOAL_PROVIDER__A__DAILY_CAP_USD", "", "it may not be empty", ""},
           {"SHOAL_PROVIDER__A__KEY_ENV", "sk-canary-1234", "looks like a secret", ""},
           {"SHOAL_PROVIDER__A__KEY_ENV", "NOT_SET", "`provider.a.key_env`: the variable NOT_SET is not set",
            "never holds"},
           {"SHOAL_PROVIDER__A__BASE_URL", "https://u:canary@h", "has a user in it", ""},
           {"SHOAL_ROUTE__GPT_4_1__POLICY", "llm_first", "there is no `remote` to ask", "remote = "},
           {"SHOAL_ROUTE__GPT_4_1__REMOTE", "a/x,c/y", "no provider is called \"c\"", "did you mean \"a/y\"?"}}) {
    const LoadOutcome outcome = load_text(text, {{std::string(variable), std::string(value)}});
    ASSERT_EQ(outcome.faults.size(), 1U) << variable
                                         << (outcome.faults.empty() ? "" : to_error(outcome.faults).message());
    const Fault& fault = outcome.faults[0];
    EXPECT_EQ(fault.place, variable);
    EXPECT_NE(fault.message.find(message), std::string::npos) << render(fault);
    EXPECT_NE(fault.suggestion.find(suggestion), std::string::npos) << render(fault);
    EXPECT_EQ(render(fault).find("canary"), std::string::npos) << render(fault);
  }
}

// One fault, not what follows from it: as far as can be told, it is local.
TEST_F(RecordsTest, AWrongVariableIsNotTakenForItsDefault) {
  const LoadOutcome outcome = load_text("[provider.a]\nbase_url = \"https://x\"\ndurability = \"none\"\n",
                                        {{"SHOAL_PROVIDER__A__LOCAL", "yes"}});
  ASSERT_EQ(outcome.faults.size(), 1U) << to_error(outcome.faults).message();
  EXPECT_EQ(outcome.faults[0].place, "SHOAL_PROVIDER__A__LOCAL");
}

TEST_F(RecordsTest, AnAmbiguousNameOnlyMattersWhenItIsUsed) {
  const std::string text = std::string(kTwo) + "[provider.my_rack]\nbase_url = \"https://z\"\n";
  EXPECT_TRUE(load_text(text, {{"SHOAL_PROVIDER__A__LOCAL", "true"}}).faults.empty());
}

TEST_F(RecordsTest, VariablesThatHoldKeysMayBeCalledAsOneLikes) {
  const std::string text = "[provider.a]\nbase_url = \"https://x\"\nkey_env = [\"SHOAL_PROVIDER__A__KEY\"]\n";
  EXPECT_TRUE(load_text(text, {{"SHOAL_PROVIDER__A__KEY", "secret"}}).faults.empty());
  // Of the two, the file's is not used any more, but it was no slip.
  EXPECT_TRUE(load_text(text, {{"SHOAL_PROVIDER__A__KEY", "secret"},
                               {"SHOAL_PROVIDER__A__KEY_ENV", "SHOAL_OTHER"},
                               {"SHOAL_OTHER", "secret"}})
                  .faults.empty());
  EXPECT_EQ(load_text(text, {{"SHOAL_PROVIDER__A__KEY", "secret"}, {"SHOAL_OTHER", "secret"}}).faults.size(), 1U);
}

// Everything set, to something else than its default.
constexpr std::string_view kFull = R"(version = 1
[egress]
allowed = false
[ledger]
daily_usd = "5"
monthly_usd = "50.5"
local_usd_per_hour = "0"
baseline = "openai/gpt-4o"
[audit]
receipts = "paid"
[provider.openai]
kind = "anthropic"
base_url = "https://api.example.com/v1"
key_env = ["KEY_1", "KEY_2"]
models = ["gpt-4o", "meta/llama \"3\""]
daily_cap_usd = "0"
durability = "strict"
max_concurrent = 1
drain = false
connect_timeout_ms = 4
headers_timeout_ms = 2
first_token_timeout_ms = 3
token_timeout_ms = 86400000
answer_timeout_ms = 4
limit_parameter = "max_completion_tokens"
[provider.r-2_x]
kind = "gemini"
base_url = "http://10.0.0.7:8000"
key_file = "/keys of \\ mine"
local = true
durability = "none"
[route."GPT-4.1:x_y"]
policy = "llm_first"
local = "smollm2"
remote = ["openai/gpt-4o", "r-2_x/anything/at-all"]
threshold = 0.1
commit_tokens = 512
commit_ms = 0
latency = "relaxed"
cost_cap_usd = "0.000001"
on_null_confidence = "keep"
on_local_error = "fail"
on_remote_error = "fail"
max_attempts = 10
task = "größe"
[route.promised]
local_task = "größen"
remote = ["openai/gpt-4o"]
risk = 0.05
risk_confidence = 0.9
router = "mmlu-2.0"
least_gain = -0.25
domains = "areas"
domain_routes = ["a=plain"]
least_domain = 0.5
system_prompt = "Kurz, bitte."
audit_share = 0.02
audit_seed = 0
escalations_per_hour = 60
[route.plain]
privacy = "local_only"
threshold = 1
on_budget = "fail"
[[price]]
provider = "openai"
model = "gpt-4o*"
from = 2026-03-01
input_usd = "2.50"
output_usd = "10"
cache_read_usd = "1.25"
cache_write_5m_usd = "0"
cache_write_1h_usd = "0.000001"
reasoning_usd = "11"
request_usd = "0.000000000001"
above_prompt_tokens = 200000
above_input_usd = "5"
above_cache_read_usd = "6"
above_cache_write_5m_usd = "7"
above_cache_write_1h_usd = "8"
above_output_usd = "9"
above_reasoning_usd = "12"
image_tokens = 1000
message_tokens = 3
tool_tokens = 0
source = "https://example.com/prices?x=1"
checked = "2026-03-02"
[[price]]
provider = "openai"
model = "gpt-4o*"
from = "2026-04-01"
input_usd = "0"
output_usd = "0"
)";
const Environment kKeys = {{"HOME", "/home/x"}, {"KEY_1", "k"}, {"KEY_2", "k"}};

TEST_F(RecordsTest, TheFullExampleSetsEveryField) {
  const auto loaded = load_text(kFull, kKeys).result();
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  for (const RecordKind& kind : record_kinds()) {
    for (const Field& field : kind.fields) {
      bool set = false;
      for (std::size_t i = 0; i < kind.count(*loaded->config); ++i) {
        set = set || field.read(*loaded->config, i) != kind.default_value(field);
      }
      EXPECT_TRUE(set) << kind.name << "." << field.name;
    }
  }
}

TEST_F(RecordsTest, EachFieldFillsTheMemberOfItsName) {
  const Loaded loaded = load_text(kFull, kKeys).result().value();
  const ProviderConfig& first = loaded.config->providers[0];
  EXPECT_EQ(first.name + "|" + first.kind + "|" + first.base_url + "|" + first.daily_cap_usd + "|" + first.durability,
            "openai|anthropic|https://api.example.com/v1|0|strict");
  EXPECT_EQ(first.key_env, (std::vector<std::string>{"KEY_1", "KEY_2"}));
  EXPECT_EQ(first.models, (std::vector<std::string>{"gpt-4o", "meta/llama \"3\""}));
  EXPECT_FALSE(first.drain);
  EXPECT_EQ((std::vector<std::int64_t>{first.max_concurrent, first.connect_timeout_ms, first.headers_timeout_ms,
                                       first.first_token_timeout_ms, first.token_timeout_ms}),
            (std::vector<std::int64_t>{1, 4, 2, 3, 86'400'000}));
  EXPECT_EQ(loaded.config->providers[1].key_file, "/keys of \\ mine");
  EXPECT_TRUE(loaded.config->providers[1].local);
  const RouteConfig& route = loaded.config->routes[0];
  EXPECT_EQ(route.name + "|" + route.policy + "|" + route.local + "|" + route.latency + "|" + route.cost_cap_usd + "|" +
                route.task,
            "GPT-4.1:x_y|llm_first|smollm2|relaxed|0.000001|größe");
  EXPECT_EQ(route.on_null_confidence + "|" + route.on_local_error + "|" + route.on_remote_error + "|" + route.on_budget,
            "keep|fail|fail|local");
  EXPECT_EQ(loaded.config->routes[1].local_task, "größen");
  EXPECT_EQ(loaded.config->routes[1].risk, 0.05);
  EXPECT_EQ(loaded.config->routes[1].risk_confidence, 0.9);
  EXPECT_EQ(loaded.config->routes[1].router, "mmlu-2.0");
  EXPECT_EQ(loaded.config->routes[1].least_gain, -0.25);
  EXPECT_EQ(loaded.config->routes[1].domains + loaded.config->routes[1].domain_routes.at(0), "areasa=plain");
  EXPECT_EQ(loaded.config->routes[1].least_domain, 0.5);
  EXPECT_EQ(loaded.config->routes[1].system_prompt, "Kurz, bitte.");
  EXPECT_EQ(loaded.config->routes[1].audit_share, 0.02);
  EXPECT_EQ(loaded.config->routes[1].audit_seed, 0);
  EXPECT_EQ(loaded.config->routes[1].escalations_per_hour, 60);
  EXPECT_EQ(loaded.config->routes[2].on_remote_error + loaded.config->routes[2].on_budget, "localfail");
  EXPECT_EQ(loaded.config->routes[2].privacy, "local_only");
  EXPECT_EQ(route.remote, (std::vector<std::string>{"openai/gpt-4o", "r-2_x/anything/at-all"}));
  EXPECT_EQ(route.threshold, 0.1);
  EXPECT_EQ((std::vector<std::int64_t>{route.commit_tokens, route.commit_ms, route.max_attempts}),
            (std::vector<std::int64_t>{512, 0, 10}));
  const PriceConfig& price = loaded.config->prices[0];
  EXPECT_EQ(price.provider + "|" + price.model + "|" + price.from + "|" + price.source + "|" + price.checked,
            "openai|gpt-4o*|2026-03-01|https://example.com/prices?x=1|2026-03-02");
  EXPECT_EQ((std::vector<std::string>{price.input_usd, price.output_usd, price.cache_read_usd, price.cache_write_5m_usd,
                                      price.cache_write_1h_usd, price.reasoning_usd, price.request_usd}),
            (std::vector<std::string>{"2.50", "10", "1.25", "0", "0.000001", "11", "0.000000000001"}));
  EXPECT_EQ(
      (std::vector<std::string>{price.above_input_usd, price.above_cache_read_usd, price.above_cache_write_5m_usd,
                                price.above_cache_write_1h_usd, price.above_output_usd, price.above_reasoning_usd}),
      (std::vector<std::string>{"5", "6", "7", "8", "9", "12"}));
  EXPECT_EQ((std::vector<std::int64_t>{price.above_prompt_tokens, price.image_tokens, price.message_tokens,
                                       price.tool_tokens}),
            (std::vector<std::int64_t>{200'000, 1'000, 3, 0}));
}

TEST_F(RecordsTest, ShowIsAFileThatLoadsToTheSameRecords) {
  const Loaded loaded = load_text(kFull, kKeys).result().value();
  const LoadOutcome again = load_text(show(loaded), kKeys);
  ASSERT_TRUE(again.faults.empty()) << to_error(again.faults).message();
  for (const Key& key : keys()) EXPECT_EQ(key.read(*again.loaded->config), key.read(*loaded.config)) << key.name;
  for (const RecordKind& kind : record_kinds()) {
    ASSERT_EQ(kind.count(*again.loaded->config), kind.count(*loaded.config)) << kind.name;
    for (std::size_t i = 0; i < kind.count(*loaded.config); ++i) {
      EXPECT_EQ(kind.name_of(*again.loaded->config, i), kind.name_of(*loaded.config, i));
      for (const Field& field : kind.fields) {
        EXPECT_EQ(field.read(*again.loaded->config, i), field.read(*loaded.config, i))
            << kind.name << "." << field.name;
      }
    }
  }
}

TEST_F(RecordsTest, ShowSaysWhereEachValueCameFrom) {
  const Loaded loaded = load_text(kTwo, {{"SHOAL_ROUTE__GPT_4_1__THRESHOLD", "0.25"}}).result().value();
  const std::string text = show(loaded);
  for (const std::string& part :
       {"\n[provider.a]                                 # " + file_ + ":1\n",
        "\nmax_concurrent = 5                           # " + file_ + ":3\n",
        std::string("\n[route.\"gpt-4.1\"]                            # ") + file_ + ":6\n",
        std::string("\nthreshold = 0.25                             # SHOAL_ROUTE__GPT_4_1__THRESHOLD\n"),
        std::string("\nkind = \"openai\"                              # default\n")}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << text;
  }
  const std::string json = show_json(loaded);
  for (const std::string_view part :
       {R"("records":{"provider":[{"name":"a","place":)", R"({"name":"my-rack",)", R"("route":[{"name":"gpt-4.1",)",
        R"("threshold":{"value":0.25,"layer":"environment","place":"SHOAL_ROUTE__GPT_4_1__THRESHOLD"})",
        R"("price":[]})"}) {
    EXPECT_NE(json.find(part), std::string::npos) << part << json;
  }
}

TEST_F(RecordsTest, FieldsAreFoundByTheirPaths) {
  const auto field = [](std::string_view path) {
    const auto found = find_field(path);
    return found ? found->kind->path(found->record.empty() ? "?" : found->record, *found->field) : std::string();
  };
  EXPECT_EQ(field("provider.base_url"), "provider.?.base_url");
  EXPECT_EQ(field("provider.NAME.base_url"), "provider.NAME.base_url");
  EXPECT_EQ(field("route.gpt-4.1.policy"), "route.gpt-4.1.policy");
  EXPECT_EQ(field("route.\"gpt-4.1\".policy"), "route.gpt-4.1.policy");
  EXPECT_EQ(field("price.input_usd"), "price.input_usd");
  for (const char* none : {"", "provider", "provider.", "provider.x", "provider..base_url", "provider.x.policy",
                           "price.x.input_usd", "server.port", ".base_url", "provider.a.base_url."}) {
    EXPECT_EQ(field(none), "") << none;
  }
}

TEST_F(RecordsTest, ExplainTellsOfOneOrOfAll) {
  const Loaded loaded = load_text(kTwo, {{"SHOAL_PROVIDER__MY_RACK__MAX_CONCURRENT", "9"}}).result().value();
  const std::string one = explain(*find_field("provider.my-rack.max_concurrent"), &loaded);
  EXPECT_NE(one.find("  default   64\n  value     9\n  set by    SHOAL_PROVIDER__MY_RACK__MAX_CONCURRENT\n"
                     "  variable  SHOAL_PROVIDER__MY_RACK__MAX_CONCURRENT\n  applies   on reload (SIGHUP)\n"),
            std::string::npos)
      << one;
  const std::string all = explain(*find_field("provider.max_concurrent"), &loaded);
  EXPECT_NE(
      all.find("  value     5 in [provider.a]\n  set by    " + file_ + ":3\n  value     9 in [provider.my-rack]\n"),
      std::string::npos)
      << all;
  EXPECT_NE(all.find("provider.NAME.max_concurrent\n"), std::string::npos);
  EXPECT_NE(all.find("  variable  SHOAL_PROVIDER__NAME__MAX_CONCURRENT\n"), std::string::npos);
  const std::string must = explain(*find_field("provider.base_url"), nullptr);
  EXPECT_NE(must.find("  default   none: it must be written\n"), std::string::npos) << must;
  EXPECT_EQ(explain(*find_field("price.input_usd"), nullptr).find("variable"), std::string::npos);
  EXPECT_NE(explain(*find_field("route.commit_ms"), nullptr).find("  unit      ms\n"), std::string::npos);
  const std::string json = explain_json(*find_field("provider.my-rack.max_concurrent"), &loaded);
  EXPECT_NE(json.find(R"("values":[{"name":"my-rack","value":9,"layer":"environment",)"), std::string::npos) << json;
  EXPECT_NE(json.find(R"("required":false,"reload":true,"default":64,)"), std::string::npos) << json;
  EXPECT_EQ(explain_json(*find_field("provider.base_url"), nullptr).find("default"), std::string::npos);
}

TEST_F(RecordsTest, AreDescribed) {
  for (const RecordKind& kind : record_kinds()) {
    EXPECT_TRUE(kind.help.ends_with('.')) << kind.name;
    for (const Field& field : kind.fields) {
      const std::string name = std::string(kind.name) + "." + std::string(field.name);
      EXPECT_TRUE(field.help.ends_with('.')) << name;
      EXPECT_EQ(field.unit == "ms", field.name.ends_with("_ms")) << name;
      EXPECT_EQ(field.unit == "tokens", field.name.ends_with("_tokens")) << name;
      EXPECT_EQ(field.type == Type::kMoney, field.name.ends_with("_usd")) << name;
      EXPECT_EQ(field.apply, Apply::kHot) << name;
      const bool filled = field.need == Need::kRequired;
      EXPECT_EQ(check_value(field, kind.default_value(field)).has_value(), filled) << name;
      EXPECT_EQ(&kind.fields[kind.index_of(field)], &field);
      EXPECT_NE(reference().find("\n### " + name + "\n"), std::string::npos) << name;
    }
  }
}

TEST_F(RecordsTest, TheExamplesOfTheReferenceLoad) {
  std::string all;
  for (const RecordKind& kind : record_kinds()) all += std::string(kind.example) + "\n";
  const LoadOutcome outcome = load_text(all, {{"OPENAI_API_KEY", "k"}});
  EXPECT_TRUE(outcome.faults.empty()) << to_error(outcome.faults).message();
}

TEST_F(RecordsTest, NamesMatchTheirPatterns) {
  for (const RecordKind& kind : record_kinds()) {
    if (!kind.named()) continue;
    const std::regex pattern{std::string(kind.name_pattern)};
    std::vector<std::string> names = {"",
                                      "a.b:c-d_e",
                                      std::string(31, 'a'),
                                      std::string(32, 'a'),
                                      std::string(33, 'a'),
                                      std::string(63, 'z'),
                                      std::string(64, 'z'),
                                      std::string(65, 'z'),
                                      "ä"};
    for (int c = 1; c < 128; ++c) {
      names.push_back(std::string(1, static_cast<char>(c)));
      names.push_back("a" + names.back());
    }
    for (const std::string& name : names) {
      EXPECT_EQ(kind.is_name(name), std::regex_match(name, pattern)) << kind.name << " " << name;
    }
  }
}

TEST_F(RecordsTest, ComeAndGoOnReload) {
  const Loaded before = load_text(kTwo).result().value();
  load_text("[provider.b]\nbase_url = \"https://b\"\n[provider.a]\nbase_url = \"https://other\"\n")
      .result()
      .ignore("writes");
  const auto after = reload(*before.config, {.path = file_});
  ASSERT_TRUE(after.ok()) << after.error().message();
  EXPECT_EQ(after->config->providers[1].base_url, "https://other");
  EXPECT_TRUE(after->config->routes.empty());
  load_text("[provider.b]\n").result().ignore("writes");
  EXPECT_FALSE(reload(*before.config, {.path = file_}).ok());
}

TEST_F(RecordsTest, AFieldMaySayThatItNeedsARestart) {
  std::vector<Field> fields(kind_of("provider").fields.begin(), kind_of("provider").fields.end());
  for (Field& field : fields) {
    if (field.name == "kind") field.apply = Apply::kRestart;
  }
  RecordKind kind = kind_of("provider");
  kind.fields = fields;
  const Loaded before = load_text(kTwo).result().value();
  Config after = *before.config;
  after.providers[0].max_concurrent = 1;
  std::swap(after.providers[0], after.providers[1]);
  EXPECT_TRUE(restart_keys_changed(*before.config, after, {&kind, 1}).empty());
  after.providers[0].kind = "gemini";
  EXPECT_EQ(restart_keys_changed(*before.config, after, {&kind, 1}), std::vector<std::string>{"provider.my-rack.kind"});
  after.providers.clear();
  EXPECT_TRUE(restart_keys_changed(*before.config, after, {&kind, 1}).empty());
}

TEST(ParsePrices, ReadsATextOfPricesAlone) {
  const auto prices = parse_prices(
      "# shipped\n[[price]]\nprovider = \"openai\"\nmodel = \"gpt-4o\"\nfrom = \"2024-07-18\"\ninput_usd = \"0.15\"\n"
      "output_usd = \"0.60\"\nimage_tokens = 0\n"
      "[[price]]\nprovider = \"openai\"\nmodel = \"gpt-4o\"\nfrom = \"2025-07-18\"\ninput_usd = \"0.1\"\noutput_usd = "
      "\"0.5\"\n",
      "prices.toml");
  ASSERT_TRUE(prices.ok()) << prices.error().message();
  ASSERT_EQ(prices->size(), 2U);
  EXPECT_EQ((*prices)[0].input_usd, "0.15");
  EXPECT_EQ((*prices)[1].from, "2025-07-18");
  EXPECT_TRUE(parse_prices("", "prices.toml")->empty());
}

TEST(ParsePrices, NamesEveryFaultByItsPlace) {
  const auto prices = parse_prices(
      "[server]\nport = 1\n[[price]]\nprovider = \"openai\"\nmodel = \"x\"\nfrom = \"2024-07-18\"\ninput_usd = 0.15\n",
      "prices.toml");
  ASSERT_FALSE(prices.ok());
  EXPECT_EQ(prices.error().code(), ErrorCode::kInvalidConfig);
  const std::string& text = prices.error().message();
  for (const char* part : {"prices.toml:1:2: error: unknown key `server`: this text holds prices only",
                           "prices.toml:7:13: error: `price.input_usd`: wanted an amount",
                           "prices.toml:3:1: error: `price.output_usd` is missing"}) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }
  EXPECT_EQ(text.find("input_usd` is missing"), std::string::npos) << text;
  EXPECT_FALSE(parse_prices("[[price", "p").ok());
  EXPECT_FALSE(parse_prices("version = 1\n", "p").ok());
  EXPECT_FALSE(parse_prices("[price]\n", "p").ok());
}

// One edit at every other place of every field: the right name must come first nearly always, and none may be accepted.
TEST(Typos, OfFieldsAreUnderstood) {
  int asked = 0;
  int right = 0;
  for (const RecordKind& kind : record_kinds()) {
    for (const Field& field : kind.fields) {
      for (std::size_t i = 0; i < field.name.size(); i += 2) {
        std::string typo(field.name);
        typo.erase(i, 1);
        if (kind.find(typo) != nullptr) continue;
        Config config;
        std::vector<Origin> origins;
        const auto faults = apply_toml(kind.header("x") + "\n" + typo + " = 1\n", "f", "", config, origins);
        ASSERT_EQ(faults.size(), 1U) << typo;
        ++asked;
        right += faults[0].suggestion == "did you mean `" + std::string(field.name) + "`?" ? 1 : 0;
      }
    }
  }
  EXPECT_GE(asked, 250);
  EXPECT_GE(right * 100, asked * 95) << right << " of " << asked;
}

// Whatever an edit makes of a file: nothing crashes, every fault has a place in the text, and what loads can be shown
// and loaded again.
TEST_F(RecordsTest, BrokenFilesAreRefusedWhole) {
  std::mt19937 random(20261122);
  const std::string_view bytes = "[]{}.,=\"'#\n \\-_0159aez*/@\x1b\xc3";
  int loaded = 0;
  for (int round = 0; round < 1000; ++round) {
    std::string text(kFull);
    for (auto edits = 1 + random() % 3; edits > 0; --edits) {
      const std::size_t at = random() % text.size();
      if (random() % 3 == 0) {
        text.erase(at, 1 + random() % 12);
      } else {
        text.insert(at, 1, bytes[random() % bytes.size()]);
      }
    }
    const LoadOutcome outcome = load_text(text, kKeys);
    ASSERT_EQ(outcome.loaded.has_value(), outcome.faults.empty());
    const auto lines = static_cast<std::uint32_t>(std::ranges::count(text, '\n')) + 1;
    for (const Fault& fault : outcome.faults) {
      ASSERT_EQ(fault.place, file_);
      ASSERT_TRUE(fault.line >= 1 && fault.line <= lines && fault.column >= 1) << render(fault);
      ASSERT_EQ(render(fault).find('\x1b'), std::string::npos);
    }
    if (!outcome.loaded) continue;
    ++loaded;
    ASSERT_TRUE(load_text(show(*outcome.loaded), kKeys).faults.empty()) << text;
  }
  EXPECT_GE(loaded, 30);
}

}  // namespace
}  // namespace shoal::config
