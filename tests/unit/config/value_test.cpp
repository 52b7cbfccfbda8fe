// What values may be, by their forms; and that the patterns of the JSON Schema say the same.
#include "shoal/config/value.h"

#include <array>
#include <cmath>
#include <limits>
#include <regex>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "shoal/config/secrets.h"

namespace shoal::config {
namespace {

Form form_of(Type type, Need need = Need::kRequired, std::int64_t digits = 0) {
  return {.name = "f", .type = type, .unit = {}, .min = 9, .max = digits, .choices = {}, .help = {}, .need = need};
}

struct Sample {
  std::string text;
  bool good;
};

void check_samples(const Form& form, const std::vector<Sample>& samples) {
  const std::regex pattern(form.pattern());
  for (const auto& [text, good] : samples) {
    const auto why = check_text(form, text);
    EXPECT_EQ(!why.has_value(), good) << text << ": " << why.value_or("accepted");
    EXPECT_EQ(std::regex_match(text, pattern), good) << text << " against " << form.pattern();
    if (!form.is_list()) {
      EXPECT_EQ(parse_value(form, text).ok(), good) << text;
    }
  }
}

TEST(Value, MoneyIsPlainDecimalText) {
  check_samples(
      form_of(Type::kMoney, Need::kFilled, 6),
      {{"0", true},        {"1", true},    {"0.15", true},        {"1.00", true},       {"999999999.999999", true},
       {"0.000001", true}, {"", false},    {"1000000000", false}, {"0.0000001", false}, {"01", false},
       {"00.5", false},    {".5", false},  {"5.", false},         {"1,5", false},       {"-1", false},
       {"+1", false},      {"1e3", false}, {"$1", false},         {" 1", false},        {"1 ", false},
       {"1.2.3", false},   {"nan", false}, {"1_000", false},      {".", false}});
  check_samples(form_of(Type::kMoney, Need::kNone, 12),
                {{"", true}, {"0.000000000001", true}, {"0.0000000000001", false}});
}

TEST(Value, MoneySaysWhatIsWrong) {
  const Form form = form_of(Type::kMoney, Need::kFilled, 6);
  EXPECT_EQ(check_text(form, "a"), "wanted an amount of USD as text, such as \"1.00\", got \"a\"");
  EXPECT_EQ(check_text(form, "1234567890"), "wanted at most 9 digits before the point, got 10");
  EXPECT_EQ(check_text(form, "0.12345678"), "wanted at most 6 digits after the point, got 8");
  EXPECT_EQ(check_text(form, ""), "it may not be empty; wanted an amount of USD as text, such as \"1.00\"");
  EXPECT_EQ(check_value(form, Value(0.5)),
            "wanted an amount of USD as text, such as \"1.00\", got a number with a fraction");
}

TEST(Value, DatesAreDaysOfTheCalendar) {
  check_samples(form_of(Type::kDate), {{"2026-03-01", true},
                                       {"2024-02-29", true},
                                       {"", false},
                                       {"2026-3-1", false},
                                       {"2026-03-01T00:00:00Z", false},
                                       {"01.03.2026", false},
                                       {"2026/03/01", false},
                                       {"abcd-ef-gh", false}});
  check_samples(form_of(Type::kDate, Need::kNone), {{"", true}, {"2026-03-01", true}});
  for (const char* text : {"2026-02-29", "2026-13-01", "2026-00-10", "2026-04-31", "2026-01-00"}) {
    EXPECT_EQ(check_text(form_of(Type::kDate), text), "there is no such day: " + std::string(text));
  }
}

TEST(Value, UrlsHoldNoSecrets) {
  const Form form = form_of(Type::kUrl);
  check_samples(form, {{"https://api.openai.com/v1", true},
                       {"http://127.0.0.1:8000", true},
                       {"https://[::1]:8000/v1/", true},
                       {"https://host/a@b", true},
                       {"", false},
                       {"api.openai.com", false},
                       {"ftp://host", false},
                       {"https://", false},
                       {"https:///v1", false},
                       {"https://user:secret@host/v1", false},
                       {"https://host/v1?key=secret", false},
                       {"https://host?key=secret", false},
                       {"https://host/v1#x", false},
                       {"https://host /v1", false},
                       {"https://host/v 1", false},
                       {"https://host/\tv1", false}});
  for (const char* text : {"https://user:hunter2@host/v1", "https://host/v1?key=hunter2", "user:hunter2@host",
                           "ftp://host/?hunter2", "https://host/v1#hunter2"}) {
    const auto why = check_text(form, text);
    ASSERT_TRUE(why.has_value()) << text;
    EXPECT_EQ(why->find("hunter2"), std::string::npos) << *why;
  }
}

TEST(Value, TargetsNameAProviderAndAModel) {
  const std::vector<Sample> samples = {{"openai/gpt-4o", true}, {"openrouter/meta/llama-3", true},
                                       {"openai", false},       {"/gpt", false},
                                       {"openai/", false},      {"/", false}};
  check_samples(form_of(Type::kTarget), samples);
  check_samples(form_of(Type::kTargetList), samples);
  EXPECT_FALSE(check_text(form_of(Type::kTarget, Need::kNone), "").has_value());
  EXPECT_TRUE(check_text(form_of(Type::kTargetList, Need::kNone), "").has_value());
}

TEST(Value, NamesOfVariablesAreNotSecrets) {
  const Form form = form_of(Type::kVariableList, Need::kNone);
  check_samples(form, {{"OPENAI_API_KEY", true},
                       {"_k", true},
                       {"K2", true},
                       {"", false},
                       {"2K", false},
                       {"A-B", false},
                       {"A=B", false},
                       {"Bearer x", false},
                       {"sk-proj-abcdefgh", false}});
  for (const char* secret :
       {"sk-proj-abc123def", "gsk_aB3dE6gH9jK2mN5pQ8sT", "AIzaSyA1234567890abcdef", "hf_abcdefghijkl",
        "x9Y8z7W6v5U4t3S2r1Q0p9O8n7M6l5K4", "0123456789abcdef0123456789abcdef"}) {
    const auto why = check_text(form, secret);
    ASSERT_TRUE(why.has_value()) << secret;
    EXPECT_NE(why->find("looks like a secret"), std::string::npos) << *why;
    EXPECT_EQ(why->find(secret), std::string::npos) << *why;
  }
  const auto why = check_text(form, "correct horse battery");
  ASSERT_TRUE(why.has_value());
  EXPECT_EQ(why->find("horse"), std::string::npos);
}

TEST(Value, NumbersStayWithinTheirRange) {
  Form form = form_of(Type::kNumber);
  form.min = 0;
  form.max = 1;
  for (const double good : {0.0, 0.8, 1.0}) EXPECT_FALSE(check_value(form, Value(good)).has_value()) << good;
  for (const double bad : {-0.1, 1.0000001, std::nan(""), std::numeric_limits<double>::infinity(),
                           -std::numeric_limits<double>::infinity()}) {
    EXPECT_TRUE(check_value(form, Value(bad)).has_value()) << bad;
  }
  EXPECT_EQ(parse_value(form, "0.25").value(), Value(0.25));
  EXPECT_EQ(parse_value(form, "1").value(), Value(1.0));
  for (const char* bad : {"", "nan", "inf", "0.5x", " 0.5", "2"}) EXPECT_FALSE(parse_value(form, bad).ok()) << bad;
}

TEST(Value, NumbersAreWrittenAsFloats) {
  EXPECT_EQ(to_toml(Value(1.0)), "1.0");
  EXPECT_EQ(to_toml(Value(0.8)), "0.8");
  EXPECT_EQ(to_toml(Value(0.1 + 0.2)), "0.30000000000000004");
  EXPECT_EQ(to_toml(Value(1e-7)), "1e-07");
  EXPECT_EQ(to_toml(Value(std::int64_t{1})), "1");
}

TEST(Secrets, AreKnownByTheirLook) {
  for (const char* text : {"sk-12345678", "sk-proj-x_y-z1234", "gsk_12345678", "AIzaSyD-123_45", "xai-abcdefgh"}) {
    EXPECT_TRUE(looks_like_secret(text)) << text;
  }
  for (const char* text : {"", "sk-", "OPENAI_API_KEY", "MY_VERY_LONG_NAME_OF_A_VARIABLE_2", "gpt-4o-mini-2024-07-18",
                           "smollm2-135m-instruct", "Meta.Llama.3.1.8B.Instruct", "SHOALKEYSHOALKEYSHOALKEYSHOALKEY"}) {
    EXPECT_FALSE(looks_like_secret(text)) << text;
  }
}

TEST(Secrets, AreKnownByTheirNames) {
  for (const char* name :
       {"api_key", "apiKey", "API-KEY", "key", "keys", "token", "client_secret", "password", "auth"}) {
    EXPECT_TRUE(names_secret(name)) << name;
  }
  for (const char* name : {"base_url", "max_tokens", "token_timeout_ms", "monkey", "keep_alive", ""}) {
    EXPECT_FALSE(names_secret(name)) << name;
  }
}

TEST(Secrets, AreFoundInLines) {
  for (const char* line : {"key_env = [\"sk-12345678\"]", "x = sk-12345678", "base_url = \"https://u:p@host\"",
                           "base_url = \"https://host?key=1\"", "# gsk_12345678"}) {
    EXPECT_TRUE(may_hold_secret(line)) << line;
  }
  for (const char* line : {"base_url = \"https://api.openai.com/v1\"", "key_env = [\"OPENAI_API_KEY\"]", "",
                           "model = \"gpt-4o-mini-2024-07-18\"  # why?", "a@b = 1"}) {
    EXPECT_FALSE(may_hold_secret(line)) << line;
  }
}

}  // namespace
}  // namespace shoal::config
