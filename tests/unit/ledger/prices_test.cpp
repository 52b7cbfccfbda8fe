#include "shoal/ledger/prices.h"

#include <map>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include "shoal/ledger/calendar.h"
#include "shoal/ledger/usage.h"

namespace shoal::ledger {
namespace {

std::int64_t date(const char* text) {
  return parse_date(text).value();
}

PriceRow row_of(const char* provider, const char* model, const char* from = "2026-01-01", const char* input = "1") {
  PriceText text{.provider = provider, .model = model, .from = from, .input_usd = input, .output_usd = "2"};
  Result<PriceRow> row = make_price_row(text);
  EXPECT_TRUE(row.ok()) << row.error().message();
  return *std::move(row);
}

// The id of the row that is found, or the message.
std::string found(const PriceTable& table, std::string_view provider, std::string_view model,
                  const char* at = "2026-11-22") {
  const Result<const PriceRow*> row = table.find(provider, model, date(at));
  return row.ok() ? (*row)->id() : row.error().message();
}

TEST(PriceTable, FindsTheRowThatHolds) {
  PriceTable table;
  ASSERT_TRUE(table
                  .add({row_of("openai", "m", "2026-03-01"), row_of("openai", "m", "2026-05-01"),
                        row_of("openai", "m", "2026-01-01"), row_of("groq", "m", "2025-01-01")})
                  .ok());
  EXPECT_EQ(table.size(), 4U);
  EXPECT_EQ(found(table, "openai", "m", "2026-01-01"), "openai/m@2026-01-01");
  EXPECT_EQ(found(table, "openai", "m", "2026-04-30"), "openai/m@2026-03-01");
  EXPECT_EQ((*table.find("openai", "m", date("2026-05-01") - 1))->id(), "openai/m@2026-03-01");
  EXPECT_EQ(found(table, "openai", "m", "2026-05-01"), "openai/m@2026-05-01");
  EXPECT_EQ(found(table, "openai", "m", "2030-05-01"), "openai/m@2026-05-01");
  EXPECT_EQ(found(table, "groq", "m"), "groq/m@2025-01-01");
}

TEST(PriceTable, AnExactNameComesBeforePrefixesAndLongOnesBeforeShort) {
  PriceTable table;
  ASSERT_TRUE(table
                  .add({row_of("p", "*"), row_of("p", "gpt-4o*"), row_of("p", "gpt-4o-mini*"), row_of("p", "gpt-4*"),
                        row_of("p", "gpt-4o-mini")})
                  .ok());
  EXPECT_EQ(found(table, "p", "gpt-4o-mini"), "p/gpt-4o-mini@2026-01-01");
  EXPECT_EQ(found(table, "p", "gpt-4o-mini-2024-07-18"), "p/gpt-4o-mini*@2026-01-01");
  EXPECT_EQ(found(table, "p", "gpt-4o-max"), "p/gpt-4o*@2026-01-01");
  EXPECT_EQ(found(table, "p", "gpt-4"), "p/gpt-4*@2026-01-01");
  EXPECT_EQ(found(table, "p", "claude"), "p/*@2026-01-01");
}

TEST(PriceTable, ARowThatDoesNotHoldYetIsNoRow) {
  PriceTable table;
  ASSERT_TRUE(table.add({row_of("p", "m", "2027-01-01"), row_of("p", "m*"), row_of("q", "m", "2027-01-01")}).ok());
  EXPECT_EQ(found(table, "p", "m"), "p/m*@2026-01-01");
  EXPECT_EQ(found(table, "p", "m", "2027-01-01"), "p/m@2027-01-01");
  EXPECT_NE(found(table, "q", "m").find("no price for q/m on 2026-11-22 (the first holds from 2027-01-01)"),
            std::string::npos);
}

TEST(PriceTable, LaterAdditionsComeFirstFromTheirDateOn) {
  PriceTable table;
  ASSERT_TRUE(table.add({row_of("p", "m", "2026-01-01", "1"), row_of("p", "m", "2026-06-01", "2")}).ok());
  ASSERT_TRUE(table.add({row_of("p", "m", "2026-03-01", "3"), row_of("p", "m*", "2026-03-01", "4")}).ok());
  const auto input = [&](const char* at) { return (*table.find("p", "m", date(at)))->rates.input; };
  EXPECT_EQ(input("2026-02-01"), *parse_usd_per_million("1"));
  EXPECT_EQ(input("2026-04-01"), *parse_usd_per_million("3"));
  EXPECT_EQ(input("2026-07-01"), *parse_usd_per_million("3"));
}

TEST(PriceTable, NamesAreTheSameWhateverTheirCase) {
  PriceTable table;
  ASSERT_TRUE(table.add({row_of("together", "Qwen/Qwen3.5-9B"), row_of("Together", "meta-llama/*")}).ok());
  EXPECT_EQ(found(table, "Together", "qwen/QWEN3.5-9b"), "together/Qwen/Qwen3.5-9B@2026-01-01");
  EXPECT_EQ(found(table, "TOGETHER", "Meta-Llama/Llama-4"), "Together/meta-llama/*@2026-01-01");
}

TEST(PriceTable, TwoRowsForTheSameAreAFault) {
  PriceTable table;
  const Result<void> added = table.add({row_of("p", "m"), row_of("q", "m"), row_of("P", "M")});
  ASSERT_FALSE(added.ok());
  EXPECT_EQ(added.error().code(), ErrorCode::kInvalidConfig);
  EXPECT_EQ(added.error().message(), "two prices for P/M@2026-01-01");
  EXPECT_EQ(table.size(), 0U);
}

TEST(PriceTable, AnUnknownPriceSaysWhatToWrite) {
  PriceTable table;
  ASSERT_TRUE(table.add({row_of("openai", "gpt-4o-mini")}).ok());
  const Result<const PriceRow*> row = table.find("openai", "gpt-4o-mino", date("2026-11-22"));
  ASSERT_FALSE(row.ok());
  EXPECT_EQ(row.error().code(), ErrorCode::kUnknownPrice);
  EXPECT_EQ(
      row.error().message(),
      "no price for openai/gpt-4o-mino on 2026-11-22; add to the configuration a [[price]] with provider = "
      "\"openai\", model = \"gpt-4o-mino\", from = \"2026-11-22\", and input_usd and output_usd, in USD per million "
      "tokens");
  EXPECT_EQ(row.error().suggestion(), "gpt-4o-mini");
  EXPECT_FALSE(table.find("openai", "gpt-4o-mini-2024", date("2026-11-22")).ok());
  EXPECT_FALSE(table.find("azure", "gpt-4o-mini", date("2026-11-22")).ok());
  EXPECT_FALSE(table.find("", "", date("2026-11-22")).ok());
  EXPECT_EQ(found(table, "openai", "a\nb").find("a\nb"), std::string::npos);
  // A name that is cut to the longest must not match a row of that.
  const std::string longest(256, 'x');
  ASSERT_TRUE(table.add({row_of("openai", longest.c_str())}).ok());
  EXPECT_TRUE(table.find("openai", longest, date("2026-11-22")).ok());
  EXPECT_FALSE(table.find("openai", longest + "x", date("2026-11-22")).ok());
  EXPECT_TRUE(error_info(ErrorCode::kUnknownPrice).escalatable);
}

TEST(PriceRow, ReadsEveryField) {
  const PriceText text{.provider = "p",
                       .model = "m*",
                       .from = "2026-03-01",
                       .input_usd = "1",
                       .cache_read_usd = "2",
                       .cache_write_5m_usd = "3",
                       .cache_write_1h_usd = "4",
                       .output_usd = "5",
                       .reasoning_usd = "6",
                       .request_usd = "0.07",
                       .above_prompt_tokens = 200'000,
                       .above_input_usd = "11",
                       .above_cache_read_usd = "12",
                       .above_cache_write_5m_usd = "13",
                       .above_cache_write_1h_usd = "14",
                       .above_output_usd = "15",
                       .above_reasoning_usd = "16",
                       .message_tokens = 1,
                       .tool_tokens = 2,
                       .image_tokens = 3,
                       .source = "https://example.com",
                       .checked = "2026-11-22"};
  const PriceRow row = *make_price_row(text);
  const auto rates = [](std::int64_t first) {
    const auto usd = [&](std::int64_t more) { return Pico(Micro{first + more}); };
    return Rates{usd(0), usd(1), usd(2), usd(3), usd(4), usd(5)};
  };
  EXPECT_EQ(row.id(), "p/m*@2026-03-01");
  EXPECT_EQ(row.rates, rates(1));
  EXPECT_EQ(row.per_request, *parse_usd("0.07"));
  EXPECT_EQ(row.long_prompt, (LongPrompt{.above_prompt_tokens = 200'000, .rates = rates(11)}));
  EXPECT_EQ(row.message_tokens, 1);
  EXPECT_EQ(row.tool_tokens, 2);
  EXPECT_EQ(row.image_tokens, 3);
  EXPECT_EQ(row.source, "https://example.com");
  EXPECT_EQ(row.checked, "2026-11-22");
}

TEST(PriceRow, WhatIsLeftOutIsNeverFree) {
  PriceText text{.provider = "p",
                 .model = "m",
                 .from = "2026-01-01",
                 .input_usd = "1",
                 .output_usd = "5",
                 .above_prompt_tokens = 9,
                 .above_input_usd = "2",
                 .above_output_usd = "6"};
  const auto usd = [](std::int64_t amount) { return Pico(Micro{amount}); };
  const PriceRow row = *make_price_row(text);
  EXPECT_EQ(row.rates, (Rates{usd(1), usd(1), usd(1), usd(1), usd(5), usd(5)}));
  EXPECT_EQ(row.long_prompt->rates, (Rates{usd(2), usd(2), usd(2), usd(2), usd(6), usd(6)}));
  EXPECT_EQ(row.message_tokens, kMessageTokens);
  EXPECT_EQ(row.tool_tokens, kToolTokens);
  EXPECT_EQ(row.image_tokens, 0);
  text.cache_write_5m_usd = "3";
  EXPECT_EQ(make_price_row(text)->rates.cache_write_1h, usd(3));
}

TEST(PriceRow, NamesTheFieldAtFault) {
  const PriceText good{.provider = "p", .model = "m", .from = "2026-01-01", .input_usd = "1", .output_usd = "2"};
  ASSERT_TRUE(make_price_row(good).ok());
  const auto fault = [&](auto spoil) {
    PriceText text = good;
    spoil(text);
    const Result<PriceRow> row = make_price_row(text);
    if (row.ok()) return std::string("no fault");
    EXPECT_EQ(row.error().code(), ErrorCode::kInvalidConfig);
    EXPECT_NE(row.error().message().find(row.error().param() + ": "), std::string::npos);
    return row.error().param();
  };
  EXPECT_EQ(fault([](PriceText& t) { t.provider = ""; }), "provider");
  EXPECT_EQ(fault([](PriceText& t) { t.model = ""; }), "model");
  EXPECT_EQ(fault([](PriceText& t) { t.model = "a*b"; }), "model");
  EXPECT_EQ(fault([](PriceText& t) { t.model = "a**"; }), "model");
  EXPECT_EQ(fault([](PriceText& t) { t.from = "yesterday"; }), "from");
  EXPECT_EQ(fault([](PriceText& t) { t.from = ""; }), "from");
  EXPECT_EQ(fault([](PriceText& t) { t.input_usd = ""; }), "input_usd");
  EXPECT_EQ(fault([](PriceText& t) { t.output_usd = ""; }), "output_usd");
  EXPECT_EQ(fault([](PriceText& t) { t.cache_read_usd = "-1"; }), "cache_read_usd");
  EXPECT_EQ(fault([](PriceText& t) { t.cache_write_5m_usd = "x"; }), "cache_write_5m_usd");
  EXPECT_EQ(fault([](PriceText& t) { t.cache_write_1h_usd = "1e1"; }), "cache_write_1h_usd");
  EXPECT_EQ(fault([](PriceText& t) { t.reasoning_usd = "0.0000001"; }), "reasoning_usd");
  EXPECT_EQ(fault([](PriceText& t) { t.request_usd = "1,0"; }), "request_usd");
  EXPECT_EQ(fault([](PriceText& t) { t.above_prompt_tokens = -1; }), "above_prompt_tokens");
  EXPECT_EQ(fault([](PriceText& t) { t.above_prompt_tokens = 5; }), "above_input_usd");
  EXPECT_EQ(fault([](PriceText& t) { t.above_prompt_tokens = 5, t.above_input_usd = "1"; }), "above_output_usd");
  EXPECT_EQ(fault([](PriceText& t) { t.above_output_usd = "1"; }), "above_output_usd");
  EXPECT_EQ(fault([](PriceText& t) { t.above_cache_write_1h_usd = "1"; }), "above_cache_write_1h_usd");
  EXPECT_EQ(fault([](PriceText& t) { t.message_tokens = -1; }), "message_tokens");
  EXPECT_EQ(fault([](PriceText& t) { t.tool_tokens = -1; }), "tool_tokens");
  EXPECT_EQ(fault([](PriceText& t) { t.image_tokens = 1'000'000'001; }), "image_tokens");
  EXPECT_EQ(fault([](PriceText& t) { t.checked = "2026-02-30"; }), "checked");
  PriceText text = good;
  text.output_usd = "two";
  EXPECT_EQ(make_price_row(text).error().message(),
            "price of p/m: output_usd: wanted a price in USD per million tokens such as \"0.15\", got \"two\"");
}

// The rows that come with Shoal, by their own `key = "text"` and `key = number` lines: config/ reads TOML.
std::vector<PriceRow> default_rows() {
  std::vector<PriceText> texts;
  std::istringstream lines{std::string(default_prices())};
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line.starts_with('#')) continue;
    if (line == "[[price]]") {
      texts.emplace_back();
      continue;
    }
    const std::string key = line.substr(0, line.find(" = "));
    std::string value = line.substr(key.size() + 3);
    if (value.starts_with('"')) value = value.substr(1, value.find('"', 1) - 1);
    PriceText& text = texts.back();
    const std::map<std::string, std::string*> strings{{"provider", &text.provider},
                                                      {"model", &text.model},
                                                      {"from", &text.from},
                                                      {"input_usd", &text.input_usd},
                                                      {"cache_read_usd", &text.cache_read_usd},
                                                      {"cache_write_5m_usd", &text.cache_write_5m_usd},
                                                      {"cache_write_1h_usd", &text.cache_write_1h_usd},
                                                      {"output_usd", &text.output_usd},
                                                      {"above_input_usd", &text.above_input_usd},
                                                      {"above_cache_read_usd", &text.above_cache_read_usd},
                                                      {"above_cache_write_5m_usd", &text.above_cache_write_5m_usd},
                                                      {"above_cache_write_1h_usd", &text.above_cache_write_1h_usd},
                                                      {"above_output_usd", &text.above_output_usd},
                                                      {"source", &text.source},
                                                      {"checked", &text.checked}};
    if (const auto field = strings.find(key); field != strings.end()) {
      *field->second = value;
    } else if (key == "above_prompt_tokens") {
      text.above_prompt_tokens = std::stoll(value);
    } else {
      EXPECT_EQ(line, "image_tokens = 0");
    }
  }
  std::vector<PriceRow> rows;
  for (const PriceText& text : texts) {
    Result<PriceRow> row = make_price_row(text);
    EXPECT_TRUE(row.ok()) << row.error().message();
    if (row.ok()) rows.push_back(*std::move(row));
  }
  return rows;
}

TEST(DefaultPrices, AreAllRows) {
  std::vector<PriceRow> rows = default_rows();
  EXPECT_GT(rows.size(), 200U);
  for (const PriceRow& row : rows) {
    EXPECT_TRUE(row.source.starts_with("https://")) << row.id();
    EXPECT_FALSE(row.checked.empty()) << row.id();
    EXPECT_GT(row.rates.input, Pico()) << row.id();
    EXPECT_GT(row.rates.output, Pico()) << row.id();
    EXPECT_LE(row.rates.cache_read, row.rates.input) << row.id();
    EXPECT_TRUE(!row.long_prompt || row.long_prompt->rates.output > row.rates.output) << row.id();
  }
  PriceTable table;
  EXPECT_TRUE(table.add(std::move(rows)).ok());
}

TEST(DefaultPrices, PriceWellKnownModels) {
  PriceTable table;
  ASSERT_TRUE(table.add(default_rows()).ok());
  const auto billed = [&](std::string_view provider, std::string_view model, const TokenCounts& counts,
                          const char* at = "2026-11-22") {
    const Result<const PriceRow*> row = table.find(provider, model, date(at));
    return row.ok() ? round_up_to_micro(*cost(**row, counts)).value : -1;
  };
  EXPECT_EQ(billed("openai", "gpt-4o-mini-2024-07-18", {.input = 1'000, .cache_read = 1'000, .output = 1'000}), 825);
  EXPECT_EQ(billed("anthropic", "claude-sonnet-4-5-20250929", {.input = 3, .cache_write_5m = 12'304, .output = 550}),
            54'399);
  EXPECT_EQ(billed("anthropic", "claude-haiku-4-5", {.cache_write_1h = 1'000, .output = 1'000}), 7'000);
  EXPECT_EQ(billed("gemini", "gemini-2.5-pro", {.input = 200'001}), 500'003);
  EXPECT_EQ(billed("gemini", "gemini-3.8-flash", {.output = 1'000}), 3'750);
  EXPECT_EQ(billed("gemini", "gemini-3.8-flash", {.output = 1'000}, "2027-01-01"), 7'500);
  EXPECT_EQ(billed("groq", "llama-3.1-8b-instant", {.input = 1'000'000, .output = 1'000'000}), 130'000);
  EXPECT_EQ(billed("openai", "gpt-4o-mini-tts", {.input = 1}), -1) << "another model than the one before the dash";
  EXPECT_EQ(billed("deepseek", "deepseek-chat", {.input = 1}), -1) << "no more sold";
}

}  // namespace
}  // namespace shoal::ledger
