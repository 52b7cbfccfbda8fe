// Records that are wrong, and what is said about them: each fault by place, cause and advice. First what the file alone
// shows, then what only the whole configuration does.
#include <filesystem>
#include <fstream>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "shoal/config/load.h"

namespace shoal::config {
namespace {

struct Expected {
  std::uint32_t line;
  std::uint32_t column;
  std::string_view message;     // a part of it
  std::string_view suggestion;  // a part of it; empty: none is given
  std::uint32_t width = 0;      // 0: any
};
struct Case {
  std::string_view name;
  std::string text;
  std::vector<Expected> faults;
};

void PrintTo(const Case& one, std::ostream* out) {
  *out << one.name;
}

void expect_faults(const std::vector<Fault>& faults, const std::vector<Expected>& wanted) {
  ASSERT_EQ(faults.size(), wanted.size()) << (faults.empty() ? "" : to_error(faults).message());
  for (std::size_t i = 0; i < faults.size(); ++i) {
    const Expected& expected = wanted[i];
    const std::string shown = render(faults[i]);
    EXPECT_EQ(faults[i].line, expected.line) << shown;
    EXPECT_EQ(faults[i].column, expected.column) << shown;
    if (expected.width > 0) {
      EXPECT_EQ(faults[i].width, expected.width) << shown;
    }
    EXPECT_NE(faults[i].message.find(expected.message), std::string::npos) << shown;
    EXPECT_EQ(expected.suggestion.empty(), faults[i].suggestion.empty()) << shown;
    EXPECT_NE(faults[i].suggestion.find(expected.suggestion), std::string::npos) << shown;
    // Whatever is said, it is not the secret of these tests.
    EXPECT_EQ(shown.find("canary"), std::string::npos) << shown;
    EXPECT_EQ(shown.find('\x1b'), std::string::npos) << shown;
  }
}

constexpr std::string_view kReference = "`shoal config reference`";

// Of the file alone.
class BrokenRecord : public testing::TestWithParam<Case> {};

TEST_P(BrokenRecord, IsReportedExactly) {
  Config config;
  std::vector<Origin> origins;
  expect_faults(apply_toml(GetParam().text, "f.toml", "/etc/shoal", config, origins), GetParam().faults);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, BrokenRecord,
    testing::Values(
        Case{"kind_as_value", "provider = \"openai\"\n", {{1, 1, "a table with a name", "[provider.NAME]"}}},
        Case{"kind_as_list", "[[provider]]\nbase_url = \"x\"\n", {{1, 3, "a table with a name", "[provider.NAME]"}}},
        Case{"no_name",
             "[provider]\nbase_url = \"https://x\"\n",
             {{2, 1, "`base_url` in [provider] is no table", "[provider.NAME]"}}},
        Case{"secret_without_name", "[provider]\napi_key = \"canary\"\n", {{2, 1, "`api_key` in [provider]", "NAME"}}},
        Case{"price_as_table", "[price]\nmodel = \"x\"\n", {{1, 2, "any number of `price`", "[[price]]"}}},
        Case{"price_as_value", "price = 3\n", {{1, 1, "any number of `price`", "[[price]]"}}},
        Case{"price_of_numbers", "price = [{}, 2]\n", {{1, 14, "each `price` is a table", "[[price]]"}}},
        Case{"plural", "[providers.openai]\n", {{1, 2, "unknown key `providers`", "[provider.NAME]"}}},
        Case{"plural_route", "[routes.x]\n", {{1, 2, "unknown key `routes`", "[route.NAME]"}}},
        Case{"plural_price", "[[prices]]\n", {{1, 3, "unknown key `prices`", "[[price]]"}}},
        Case{"field_at_top", "base_url = \"x\"\n", {{1, 1, "unknown key `base_url`", "it belongs in [provider.NAME]"}}},
        Case{"field_in_section",
             "[server]\nbase_url = \"x\"\n",
             {{2, 1, "unknown key `base_url` in [server]", "it belongs in [provider.NAME]"}}},
        Case{"key_in_record", "[route.x]\nslots = 2\n", {{2, 1, "unknown field `slots`", "it belongs in [engine]"}}},
        Case{"field_of_other_kind",
             "[route.x]\nbase_url = \"x\"\n",
             {{2, 1, "unknown field `base_url` in [route.x]", "it belongs in [provider.NAME]"}}},
        Case{
            "typo_of_other_kind", "[route.x]\nbase_ulr = 1\n", {{2, 1, "`base_ulr`", "`base_url` in [provider.NAME]"}}},
        Case{"provider_name_case",
             "[provider.OpenAI]\n",
             {{1, 11, "`OpenAI` cannot be the name", "[provider.openai]", 6}}},
        Case{"provider_name_blank",
             "[provider.\"my rack\"]\n",
             {{1, 11, "`my rack` cannot be the name of a provider", "[provider.my-rack]"}}},
        Case{"provider_name_empty", "[provider.\"\"]\n", {{1, 11, "`` cannot be the name", ""}}},
        Case{"provider_name_long",
             "[provider.a23456789012345678901234567890123]\n",
             {{1, 11, "cannot be the name of a provider: wanted ^[a-z0-9]", ""}}},
        Case{"provider_name_first", "[provider._x]\n", {{1, 11, "`_x` cannot be", ""}}},
        Case{"provider_name_umlaut", "[provider.\"größe\"]\n", {{1, 11, "`größe` cannot be", ""}}},
        Case{"provider_name_controls", "[provider.\"\\u001b[2J\"]\n", {{1, 11, "cannot be the name", ""}}},
        Case{"route_name_slash", "[route.\"a/b\"]\n", {{1, 8, "`a/b` cannot be the name of a route", "[route.a-b]"}}},
        Case{"route_name_dots",
             "[route.gpt-4.1]\nlocal = \"x\"\n",
             {{1, 14, "unknown field `1` in [route.gpt-4]", "quote the name: [route.\"gpt-4.1\"]"}}},
        Case{"route_name_more_dots",
             "[route.qwen2.5.1]\nlocal = \"x\"\n",
             {{1, 14, "unknown field `5`", "[route.\"qwen2.5.1\"]"}}},
        Case{"provider_name_dots", "[provider.a.b]\nlocal = true\n", {{1, 13, "unknown field `b`", kReference}}},
        Case{"record_twice", "[route.x]\n[route.x]\n", {{2, 1, "cannot redefine existing table", ""}}}),
    [](const testing::TestParamInfo<Case>& param) { return std::string(param.param.name); });

INSTANTIATE_TEST_SUITE_P(
    Fields, BrokenRecord,
    testing::Values(
        Case{"typo",
             "[provider.a]\nbse_url = \"https://x\"\n",
             {{2, 1, "unknown field `bse_url` in [provider.a]", "did you mean `base_url`?", 7}}},
        Case{"case_of_field", "[provider.a]\nBase_URL = 1\n", {{2, 1, "`Base_URL`", "`base_url`"}}},
        Case{"swapped_words", "[route.a]\ntokens_commit = 1\n", {{2, 1, "tokens_commit", "`commit_tokens`"}}},
        Case{"nothing_near", "[route.a]\nzzzzzz = 1\n", {{2, 1, "zzzzzz", kReference}}},
        Case{"quoted_route", "[route.\"a.b\"]\nlocla = \"x\"\n", {{2, 1, "in [route.\"a.b\"]", "`local`"}}},
        Case{"price_typo", "[[price]]\ninput_uds = \"1\"\n", {{2, 1, "`input_uds` in [[price]]", "`input_usd`"}}},
        Case{"choice",
             "[provider.a]\nkind = \"openia\"\n",
             {{2, 8, "`provider.a.kind`: wanted one of \"openai\"", "", 8}}},
        Case{"choice_typo", "[route.a]\npolicy = \"slm_frist\"\n", {{2, 10, "did you mean \"slm_first\"?", ""}}},
        Case{"no_url", "[provider.a]\nbase_url = \"api.x.com\"\n", {{2, 12, "wanted a URL", ""}}},
        Case{"url_user", "[provider.a]\nbase_url = \"https://u:canary@h\"\n", {{2, 12, "has a user in it", ""}}},
        Case{"url_query", "[provider.a]\nbase_url = \"https://h/v1?key=canary\"\n", {{2, 12, "has a query", ""}}},
        Case{"url_empty", "[provider.a]\nbase_url = \"\"\n", {{2, 12, "it may not be empty", ""}}},
        Case{"integer_range", "[provider.a]\nmax_concurrent = 0\n", {{2, 18, "from 1 to 10000, got 0", ""}}},
        Case{"timeout_range", "[provider.a]\ntoken_timeout_ms = 86400001\n", {{2, 20, "from 1 to 86400000", ""}}},
        Case{"quoted_integer",
             "[provider.a]\nmax_concurrent = \"5\"\n",
             {{2, 18, "got a string", "max_concurrent = 5, without quotes"}}},
        Case{"quoted_number",
             "[route.a]\nthreshold = \"0.9\"\n",
             {{2, 13, "wanted a number from 0 to 1, got a string", "threshold = 0.9, without quotes"}}},
        Case{"number_range", "[route.a]\nthreshold = 1.01\n", {{2, 13, "from 0 to 1, got 1.01", ""}}},
        Case{"number_nan", "[route.a]\nthreshold = nan\n", {{2, 13, "from 0 to 1, got nan", ""}}},
        Case{"number_percent", "[route.a]\nthreshold = 80\n", {{2, 13, "from 0 to 1, got 80", ""}}},
        Case{"number_bool", "[route.a]\nthreshold = true\n", {{2, 13, "got a boolean", ""}}},
        Case{
            "fraction", "[route.a]\ncommit_ms = 1.5\n", {{2, 13, "an integer from 0 to 60000, got a number with", ""}}},
        Case{"money_float",
             "[provider.a]\ndaily_cap_usd = 2.50\n",
             {{2, 17,
               "`provider.a.daily_cap_usd`: wanted an amount of USD as text, such as \"1.00\", got a number with a "
               "fraction",
               "write daily_cap_usd = \"2.50\", in quotes: amounts are text", 4}}},
        Case{"money_integer",
             "[[price]]\ninput_usd = 3\n",
             {{2, 13, "got an integer", "write input_usd = \"3\", in quotes"}}},
        Case{"money_exponent", "[[price]]\ninput_usd = 1e-1\n", {{2, 13, "with a fraction", "as a plain decimal"}}},
        Case{"money_negative", "[[price]]\ninput_usd = -1\n", {{2, 13, "an integer", "as a plain decimal"}}},
        Case{"money_after_umlaut",
             "[provider]\na = {task = \"ä\", daily_cap_usd = 2.5}\n",
             {{2, 6, "unknown field `task`", "[route.NAME]"}, {2, 34, "with a fraction", "daily_cap_usd = \"2.5\""}}},
        Case{"money_word", "[[price]]\ninput_usd = \"cheap\"\n", {{2, 13, "got \"cheap\"", ""}}},
        Case{"money_empty", "[provider.a]\ndaily_cap_usd = \"\"\n", {{2, 17, "it may not be empty", ""}}},
        Case{"money_digits", "[[price]]\ninput_usd = \"0.0000001\"\n", {{2, 13, "at most 6 digits", ""}}},
        Case{"money_too_much",
             "[[price]]\ninput_usd = \"1000000\"\n",
             {{2, 13, "at most 6 digits before the point, got 7", ""}}},
        Case{"money_of_a_key",
             "[ledger]\ndaily_usd = 5.0\n",
             {{2, 13, "`ledger.daily_usd`: wanted", "daily_usd = \"5.0\""}}},
        Case{"date_word",
             "[[price]]\nfrom = \"March\"\n",
             {{2, 8, "wanted a date such as \"2026-03-01\", got \"March\"", ""}}},
        Case{"date_none", "[[price]]\nfrom = \"2026-02-30\"\n", {{2, 8, "there is no such day", ""}}},
        Case{"date_and_time", "[[price]]\nfrom = 2026-03-01T00:00:00Z\n", {{2, 8, "got a date or time", ""}}},
        Case{"date_integer", "[[price]]\nfrom = 2026\n", {{2, 8, "wanted a date such as", ""}}},
        Case{"date_for_text", "[route.a]\ntask = 2026-03-01\n", {{2, 8, "wanted string, got a date", ""}}},
        Case{"target",
             "[route.a]\nremote = [\"openai/x\", \"gpt\"]\n",
             {{2, 23, "wanted \"provider/model\", got \"gpt\"", "", 5}}},
        Case{"target_on_its_line", "[route.a]\nremote = [\n  \"a/b\",\n  \"/x\",\n]\n", {{4, 3, "got \"/x\"", ""}}},
        Case{"target_alone",
             "[route.a]\nremote = \"openai/x\"\n",
             {{2, 10, "wanted a list of \"provider/model\", got a string", "remote = [\"openai/x\"], a list"}}},
        Case{"targets_all_wrong", "[route.a]\nremote = [\"a\", \"b\"]\n", {{2, 11, "\"a\"", ""}, {2, 16, "\"b\"", ""}}},
        Case{"list_of_numbers", "[provider.a]\nmodels = [4]\n", {{2, 10, "other than strings", ""}}},
        Case{"nul_in_path", "[provider.a]\nkey_file = \"a\\u0000b\"\n", {{2, 12, "NUL", ""}}},
        Case{"baseline", "[ledger]\nbaseline = \"gpt-4o\"\n", {{2, 12, "wanted \"provider/model\"", ""}}},
        Case{"receipts", "[audit]\nreceipts = \"some\"\n", {{2, 12, "wanted one of \"all\", \"paid\"", ""}}},
        Case{"all_in_one_run",
             "[route.b]\nthreshold = 2\nx = 1\n[provider.a]\nkind = 1\n[server]\nprot = 1\n",
             {{2, 13, "threshold", ""}, {3, 1, "`x`", kReference}, {5, 8, "kind", ""}, {7, 1, "prot", "`port`"}}}),
    [](const testing::TestParamInfo<Case>& param) { return std::string(param.param.name); });

// A key where its variable's name belongs, or in a field that somebody made up: not even the line is shown.
INSTANTIATE_TEST_SUITE_P(
    Secrets, BrokenRecord,
    testing::Values(
        Case{"key_in_place_of_its_variable",
             "[provider.a]\nkey_env = [\"sk-canary-12345\"]\n",
             {{2, 12, "looks like a secret", "name the variable", 17}}},
        Case{"key_among_variables",
             "[provider.a]\nkey_env = [\"A\",\n  \"sk-canary-12345\", \"B-canary\"]\n",
             {{3, 3, "looks like a secret", "name the variable"}, {3, 22, "names of environment variables", "name"}}},
        Case{"key_alone",
             "[provider.a]\nkey_env = \"sk-canary-12345\"\n",
             {{2, 11, "wanted a list of names", "name the variable"}}},
        Case{"plain_key_alone",
             "[provider.a]\nkey_env = \"canary\"\n",
             {{2, 11, "wanted a list of names", "name the variable"}}},
        Case{"key_in_a_table",
             "[provider.a]\nkey_env = {k = \"canary\"}\n",
             {{2, 11, "got a table", "name the variable"}}},
        Case{"made_up_field",
             "[provider.a]\napi_key = \"canary\"\n",
             {{2, 1, "unknown field `api_key`", "name a variable in key_env"}}},
        Case{"made_up_token", "[provider.a]\ntoken = \"canary\"\n", {{2, 1, "unknown field `token`", "key_env"}}},
        Case{"in_another_field",
             "[provider.a]\nmodel = \"sk-canary-12345\"\n",
             {{2, 1, "unknown field `model`", "`models`"}}},
        Case{"in_a_section",
             "[server]\napi_key = \"canary\"\n",
             {{2, 1, "unknown key `api_key`", "server.api_keys_file"}}},
        Case{"at_the_top", "password = \"canary\"\n", {{1, 1, "unknown key `password`", kReference}}},
        Case{"unfinished", "[provider.a]\nkey_env = [\"sk-canary-12345]\n", {{2, 29, "", ""}}}),
    [](const testing::TestParamInfo<Case>& param) { return std::string(param.param.name); });

// Of the whole configuration: what fields say of one another.
class BrokenRule : public testing::TestWithParam<Case> {
 protected:
  BrokenRule() {
    std::string pattern = (std::filesystem::temp_directory_path() / "shoal-rules-XXXXXX").string();
    dir_ = mkdtemp(pattern.data());
  }
  ~BrokenRule() override { std::filesystem::remove_all(dir_); }

  std::filesystem::path dir_;
};

TEST_P(BrokenRule, IsReportedExactly) {
  const std::string file = (dir_ / "f.toml").string();
  std::ofstream(file) << GetParam().text;
  const LoadOutcome outcome = load({.path = file, .environment = {{"SET", "k"}, {"EMPTY", ""}}});
  expect_faults(outcome.faults, GetParam().faults);
  for (const Fault& fault : outcome.faults) EXPECT_EQ(fault.place, file);
}

INSTANTIATE_TEST_SUITE_P(
    Providers, BrokenRule,
    testing::Values(
        Case{"no_url",
             "[provider.a]\nlocal = true\n",
             {{1, 11, "`provider.a.base_url` is missing", "add base_url = ..., URL", 1}}},
        Case{"no_url_but_a_typo", "[provider.a]\nbaseurl = \"https://x\"\n", {{2, 1, "`baseurl`", "`base_url`"}}},
        Case{"no_url_and_a_fault",
             "[provider.a]\nkind = 1\n",
             {{2, 8, "kind", ""}, {1, 11, "`provider.a.base_url` is missing", "add"}}},
        Case{"two_places_of_keys",
             "[provider.a]\nbase_url = \"https://x\"\nkey_env = [\"SET\"]\nkey_file = \"k\"\n",
             {{3, 11, "key_file is set too", "remove one"}}},
        Case{"variable_not_set",
             "[provider.a]\nbase_url = \"https://x\"\nkey_env = [\"SET\",\n \"UNSET\"]\n",
             {{4, 2, "`provider.a.key_env`: the variable UNSET is not set", "never holds the secret", 7}}},
        Case{"variable_empty",
             "[provider.a]\nbase_url = \"https://x\"\nkey_env = [\"EMPTY\"]\n",
             {{3, 12, "the variable EMPTY is not set", "never holds"}}},
        Case{"durability",
             "[provider.a]\nbase_url = \"https://x\"\ndurability = \"none\"\n",
             {{3, 14, "\"none\" is only for a provider with local = true", "write \"batch\"", 6}}},
        Case{"in_the_clear", "[provider.a]\nbase_url = \"http://x\"\n", {{2, 12, "in the clear", "local = true"}}},
        Case{"durability_without_locality",
             "[provider.a]\nbase_url = \"https://x\"\nlocal = \"yes\"\ndurability = \"none\"\n",
             {{3, 9, "wanted true or false", ""}}}),
    [](const testing::TestParamInfo<Case>& param) { return std::string(param.param.name); });

constexpr std::string_view kOpenAi = "provider.openai = {base_url = \"https://x\", models = [\"gpt-4o\"]}\n";

Case with_provider(std::string_view name, std::string_view text, std::vector<Expected> faults) {
  return {name, std::string(kOpenAi) + std::string(text), std::move(faults)};
}

INSTANTIATE_TEST_SUITE_P(
    Routes, BrokenRule,
    testing::Values(
        with_provider("unknown_provider", "[route.r]\nremote = [\"openai/gpt-4o\", \"opnai/gpt-4o\"]\n",
                      {{3, 28, "`route.r.remote`: no provider is called \"opnai\"", "did you mean \"openai/gpt-4o\"?",
                        14}}),
        with_provider("far_provider", "[route.r]\nremote = [\"zzzzzz/x\"]\n",
                      {{3, 11, "\"zzzzzz\"", "add [provider.zzzzzz]"}}),
        with_provider("unknown_model", "[route.r]\nremote = [\"openai/gpt-40\"]\n",
                      {{3, 11, "\"gpt-40\" is not among the models of provider.openai", "\"openai/gpt-4o\""}}),
        with_provider("far_model", "[route.r]\nremote = [\"openai/zzzzzz\"]\n", {{3, 11, "not among the models", ""}}),
        with_provider("local_only", "[route.r]\nremote = [\"openai/gpt-4o\"]\nprivacy = \"local_only\"\n",
                      {{3, 10, "lets nothing leave", "remove one"}}),
        Case{"slm_first",
             "[route.r]\npolicy = \"slm_first\"\n",
             {{2, 10, "there is no `remote`", "or write \"slm_only\""}}},
        Case{
            "llm_first", "[route.r]\npolicy = \"llm_first\"\n", {{2, 10, "\"llm_first\" asks others", "\"slm_only\""}}},
        Case{"policy_and_privacy",
             "[route.r]\npolicy = \"slm_first\"\nprivacy = \"local_only\"\n",
             {{2, 10, "there is no `remote`", "\"slm_only\""}}},
        Case{"escalate_to_nobody",
             "[route.r]\non_null_confidence = \"escalate\"\n",
             {{2, 22, "no `remote` to escalate to", "\"keep\""}}},
        Case{"remote_that_is_wrong", "[route.r]\npolicy = \"llm_first\"\nremote = [\"x\"]\n", {{3, 11, "\"x\"", ""}}}),
    [](const testing::TestParamInfo<Case>& param) { return std::string(param.param.name); });

constexpr std::string_view kPrice =
    "[[price]]\nprovider = \"openai\"\nmodel = \"m\"\nfrom = 2026-03-01\ninput_usd = \"1\"\noutput_usd = \"2\"\n";

Case with_price(std::string_view name, std::string_view text, std::vector<Expected> faults) {
  return {name, std::string(kPrice) + std::string(text), std::move(faults)};
}

INSTANTIATE_TEST_SUITE_P(
    Prices, BrokenRule,
    testing::Values(
        Case{"all_missing",
             "\n[[price]]\n",
             {{2, 1, "`price.provider` is missing", "add provider = ..., string"},
              {2, 1, "`price.model` is missing", "add"},
              {2, 1, "`price.from` is missing", "add"},
              {2, 1, "`price.input_usd` is missing", "USD as text"},
              {2, 1, "`price.output_usd` is missing", "add"}}},
        with_price("tier_without_rates", "above_prompt_tokens = 200000\n",
                   {{7, 23, "has no above_input_usd", "add above_input_usd"},
                    {7, 23, "has no above_output_usd", "add"}}),
        with_price("rates_without_tier", "above_cache_read_usd = \"1\"\n",
                   {{7, 24, "there is none", "above_prompt_tokens"}}),
        with_price(
            "star_inside",
            "[[price]]\nprovider = \"o\"\nmodel = \"a*b\"\nfrom = 2026-03-01\ninput_usd = \"1\"\noutput_usd = \"2\"\n",
            {{9, 9, "\"a*b\" goes on after it", ""}}),
        with_price("twice",
                   "[[price]]\nprovider = \"openai\"\nmodel = \"m\"\nfrom = \"2026-03-01\"\ninput_usd = "
                   "\"1\"\noutput_usd = \"3\"\n",
                   {{9, 9, "m of openai has two prices from 2026-03-01 on", "another day"}})),
    [](const testing::TestParamInfo<Case>& param) { return std::string(param.param.name); });

// Keys have rules as well, and their faults the same places.
INSTANTIATE_TEST_SUITE_P(Keys, BrokenRule,
                         testing::Values(Case{"heartbeat",
                                              "[engine]\nheartbeat_ms = 5000\nheartbeat_timeout_ms = 1000\n",
                                              {{3, 24, "must be at least engine.heartbeat_ms, which is 5000", "", 4}}},
                                         Case{"secret_as_variable",
                                              "[server]\napi_keys_env = \"my canary\"\n",
                                              {{2, 16, "not the name of a variable", "never holds"}}}),
                         [](const testing::TestParamInfo<Case>& param) { return std::string(param.param.name); });

}  // namespace
}  // namespace shoal::config
