#include "shoal/ledger/usage.h"

#include <limits>

#include <gtest/gtest.h>

namespace shoal::ledger {
namespace {

PriceRow row_of(PriceText text) {
  text.provider = "p";
  text.model = "m";
  text.from = "2026-01-01";
  Result<PriceRow> row = make_price_row(text);
  EXPECT_TRUE(row.ok()) << row.error().message();
  return *std::move(row);
}

Micro billed(const PriceRow& row, const types::Usage& usage) {
  const Result<TokenCounts> counts = disjoint(usage);
  EXPECT_TRUE(counts.ok());
  const Result<Pico> exact = cost(row, *counts);
  EXPECT_TRUE(exact.ok());
  return round_up_to_micro(*exact);
}

PriceRow sonnet() {
  return row_of({.input_usd = "3",
                 .cache_read_usd = "0.3",
                 .cache_write_5m_usd = "3.75",
                 .cache_write_1h_usd = "6",
                 .output_usd = "15"});
}

PriceRow haiku() {
  return row_of({.input_usd = "0.8", .cache_read_usd = "0.08", .cache_write_5m_usd = "1", .output_usd = "4"});
}

// The three goldens are bills that other gateways got wrong: 0.0913 USD for the first, seven times the second.
TEST(Cost, CacheWritesArePricedApart) {
  EXPECT_EQ(billed(sonnet(), {.prompt_tokens = 3 + 12'304, .completion_tokens = 550, .cache_write_5m_tokens = 12'304}),
            Micro{54'399});
}

TEST(Cost, CacheReadsArePricedApart) {
  const types::Usage usage{.prompt_tokens = 4 + 2'455, .completion_tokens = 23, .cached_tokens = 2'455};
  EXPECT_EQ(*cost(haiku(), *disjoint(usage)), Pico(Int128{291'600'000}));
  EXPECT_EQ(billed(haiku(), usage), Micro{292});
}

TEST(Cost, ReasoningIsInsideTheAnswer) {
  const types::Usage usage{.completion_tokens = 977, .reasoning_tokens = 768};
  EXPECT_EQ(billed(row_of({.input_usd = "0", .output_usd = "1"}), usage), Micro{977});
  EXPECT_EQ(billed(row_of({.input_usd = "0", .output_usd = "1", .reasoning_usd = "3"}), usage), Micro{209 + 3 * 768});
}

TEST(Cost, ASmallRateIsNotZero) {
  const PriceRow row = row_of({.input_usd = "0.08", .output_usd = "0"});
  EXPECT_EQ(*cost(row, {.input = 1}), Pico(Int128{80'000}));
  EXPECT_EQ(billed(row, {.prompt_tokens = 100}), Micro{8});
}

TEST(Cost, EachKindHasItsRate) {
  const PriceRow row = row_of({.input_usd = "1",
                               .cache_read_usd = "20",
                               .cache_write_5m_usd = "300",
                               .cache_write_1h_usd = "4000",
                               .output_usd = "50000",
                               .reasoning_usd = "600000",
                               .request_usd = "7"});
  const TokenCounts counts{1, 1, 1, 1, 1, 1};
  EXPECT_EQ(*cost(row, counts), *parse_usd("7.654321"));
  EXPECT_EQ(*cost(row, {}), *parse_usd("7"));
}

TEST(Cost, ALongPromptHasOtherRatesForAllOfItsTokens) {
  const PriceRow row = row_of({.input_usd = "1",
                               .cache_read_usd = "1",
                               .output_usd = "1",
                               .above_prompt_tokens = 200'000,
                               .above_input_usd = "2",
                               .above_cache_read_usd = "3",
                               .above_output_usd = "4"});
  EXPECT_EQ(*cost(row, {.input = 200'000, .output = 10}), Pico(Micro{200'010}));
  EXPECT_EQ(*cost(row, {.input = 200'001, .output = 10}), Pico(Micro{400'042}));
  // Tokens read from a cache and written to it are of the prompt; those of the answer are not.
  EXPECT_EQ(*cost(row, {.input = 1, .cache_read = 200'000}), Pico(Micro{600'002}));
  EXPECT_EQ(*cost(row, {.cache_write_5m = 100'000, .cache_write_1h = 100'001}), Pico(Micro{400'002}));
  EXPECT_EQ(*cost(row, {.input = 1, .output = 300'000}), Pico(Micro{300'001}));
}

TEST(Cost, NonsenseIsAnError) {
  EXPECT_EQ(cost(sonnet(), {.input = -1}).error().code(), ErrorCode::kBadAnswer);
  EXPECT_EQ(cost(sonnet(), {.reasoning = kMaxCount + 1}).error().code(), ErrorCode::kBadAnswer);
  // The dearest row and the largest counts are still no overflow.
  const PriceText text{.input_usd = "1000000", .output_usd = "1000000"};
  const TokenCounts most{kMaxCount, kMaxCount, kMaxCount, kMaxCount, kMaxCount, kMaxCount};
  EXPECT_EQ(cost(row_of(text), most).error().code(), ErrorCode::kBadAnswer);
}

TEST(Disjoint, TakesThePartsOutOfTheirWholes) {
  const types::Usage usage{.prompt_tokens = 100,
                           .completion_tokens = 50,
                           .cached_tokens = 40,
                           .cache_write_5m_tokens = 20,
                           .cache_write_1h_tokens = 10,
                           .reasoning_tokens = 30};
  EXPECT_EQ(*disjoint(usage), (TokenCounts{30, 40, 20, 10, 20, 30}));
  EXPECT_EQ(disjoint(usage)->prompt(), 100);
  EXPECT_EQ(*disjoint({}), TokenCounts());
}

TEST(Disjoint, PartsBeyondTheirWholesAreNonsense) {
  constexpr std::int32_t kLeast = std::numeric_limits<std::int32_t>::min();
  constexpr std::int32_t kMost = std::numeric_limits<std::int32_t>::max();
  for (const types::Usage& usage :
       {types::Usage{.prompt_tokens = 10, .cached_tokens = 11}, types::Usage{.prompt_tokens = -1},
        types::Usage{.prompt_tokens = 10, .cached_tokens = 5, .cache_write_5m_tokens = 5, .cache_write_1h_tokens = 1},
        types::Usage{.completion_tokens = 5, .reasoning_tokens = 6}, types::Usage{.completion_tokens = -5},
        types::Usage{.prompt_tokens = 5, .cached_tokens = -1}, types::Usage{.cache_write_5m_tokens = -1},
        types::Usage{.cache_write_1h_tokens = -1}, types::Usage{.reasoning_tokens = -1},
        types::Usage{.prompt_tokens = kMost, .cached_tokens = kLeast, .cache_write_5m_tokens = kLeast},
        types::Usage{.prompt_tokens = kLeast, .cached_tokens = kMost, .cache_write_5m_tokens = kMost}}) {
    const Result<TokenCounts> counts = disjoint(usage);
    ASSERT_FALSE(counts.ok());
    EXPECT_EQ(counts.error().code(), ErrorCode::kBadAnswer);
  }
  EXPECT_EQ(
      disjoint({.prompt_tokens = 10, .cached_tokens = 11}).error().message(),
      "wanted usage whose parts are in their wholes, got 10 prompt tokens (11 read from a cache, 0 and 0 written) "
      "and 0 completion tokens (0 of reasoning)");
}

TEST(Bound, CountsEachByteAsATokenAtTheDearestRate) {
  // 1,000 bytes, 2 messages of 32, 3 tools of 1,024: 4,136 tokens at 6 (writes for an hour); 2 x 100 tokens at 15.
  const AttemptFacts facts{.body_bytes = 1'000, .messages = 2, .tools = 3, .n = 2, .max_tokens = 100};
  EXPECT_EQ(*bound(sonnet(), facts), Pico(Micro{4'136 * 6 + 200 * 15}));
  EXPECT_EQ(*bound(row_of({.input_usd = "1", .output_usd = "2", .reasoning_usd = "3", .request_usd = "1"}), facts),
            *parse_usd("1") + Pico(Micro{4'136 + 200 * 3}));
}

TEST(Bound, TakesTheRatesOfALongPromptWhenItMayBeOne) {
  PriceText text{.input_usd = "1",
                 .output_usd = "5",
                 .above_prompt_tokens = 1'000,
                 .above_input_usd = "2",
                 .above_output_usd = "3",
                 .message_tokens = 0,
                 .tool_tokens = 0};
  EXPECT_EQ(*bound(row_of(text), {.body_bytes = 1'000, .max_tokens = 1}), Pico(Micro{1'005}));
  // It may also turn out short, so each rate is the dearer of both.
  EXPECT_EQ(*bound(row_of(text), {.body_bytes = 1'001, .max_tokens = 1}), Pico(Micro{2'007}));
}

TEST(Bound, WhatCostsNeedsARule) {
  const auto code = [](const AttemptFacts& facts) { return bound(sonnet(), facts).error().code(); };
  EXPECT_EQ(code({.images = 1}), ErrorCode::kUnknownPrice);
  EXPECT_EQ(code({.audio = true}), ErrorCode::kUnsupportedParameter);
  EXPECT_EQ(code({.prediction = true}), ErrorCode::kUnsupportedParameter);
  EXPECT_EQ(bound(sonnet(), {.images = 1}).error().message(),
            "the price p/m@2026-01-01 has no rule for images; add image_tokens to its [[price]] in the configuration");
}

TEST(Bound, CountsImages) {
  const PriceRow row = row_of({.input_usd = "1", .output_usd = "1", .message_tokens = 0, .image_tokens = 1'600});
  EXPECT_EQ(*bound(row, {.body_bytes = 10, .images = 2}), Pico(Micro{3'210}));
}

TEST(Bound, IsNeverLessThanTheCost) {
  const PriceRow row = row_of({.input_usd = "1.1",
                               .cache_read_usd = "0.3",
                               .cache_write_5m_usd = "3.75",
                               .cache_write_1h_usd = "2.2",
                               .output_usd = "7",
                               .reasoning_usd = "9",
                               .request_usd = "0.001",
                               .above_prompt_tokens = 500,
                               .above_input_usd = "0.9",
                               .above_cache_write_5m_usd = "4",
                               .above_output_usd = "14"});
  for (std::int64_t bytes = 0; bytes < 2'000; bytes += 37) {
    const AttemptFacts facts{.body_bytes = bytes, .n = 2, .max_tokens = bytes / 3};
    const Pico most = *bound(row, facts);
    const std::int64_t answer = facts.n * facts.max_tokens;
    for (const TokenCounts& counts :
         {TokenCounts{.input = bytes, .output = answer}, TokenCounts{.cache_read = bytes, .reasoning = answer},
          TokenCounts{.cache_write_5m = bytes, .reasoning = answer},
          TokenCounts{.cache_write_1h = bytes, .output = answer},
          TokenCounts{.input = bytes / 2, .cache_write_5m = bytes / 4, .reasoning = answer / 2}}) {
      EXPECT_LE(*cost(row, counts), most);
    }
  }
}

TEST(Bound, WhatIsBeyondEveryBudgetIsRefused) {
  const PriceRow row = row_of({.input_usd = "1000000", .output_usd = "1000000"});
  EXPECT_EQ(bound(row, {.body_bytes = 1'000'000'001}).error().code(), ErrorCode::kInvalidRequest);
  EXPECT_EQ(bound(row, {.n = kMaxCount, .max_tokens = kMaxCount}).error().code(), ErrorCode::kInvalidRequest);
  EXPECT_TRUE(bound(row, {.body_bytes = 999'999'000}).ok());
}

TEST(Bound, ExplicitZeroIsAPrice) {
  EXPECT_EQ(*bound(row_of({.input_usd = "0", .output_usd = "0"}), {.body_bytes = 1'000, .max_tokens = 50}), Pico());
}

}  // namespace
}  // namespace shoal::ledger
