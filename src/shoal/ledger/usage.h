// What was used, and what it costs: token counts that do not overlap, priced by one row. And before that, the most that
// an attempt can cost, which is what a budget reserves.
//
//   Pico reserved = SHOAL_TRY(bound(row, facts));
//   ...
//   Pico spent = SHOAL_TRY(cost(row, SHOAL_TRY(disjoint(usage))));
//
// Owned by value. Threads: any; pure.
#pragma once

#include <cstdint>
#include <string_view>

#include "shoal/base/result.h"
#include "shoal/ledger/money.h"
#include "shoal/ledger/prices.h"
#include "shoal/types/completion.h"

namespace shoal::ledger {

// Each token is in one of them.
struct TokenCounts {
  std::int64_t input = 0;  // of the prompt, neither read from a cache nor written to one
  std::int64_t cache_read = 0;
  std::int64_t cache_write_5m = 0;
  std::int64_t cache_write_1h = 0;
  std::int64_t output = 0;  // of the answer, without reasoning
  std::int64_t reasoning = 0;

  [[nodiscard]] std::int64_t prompt() const { return input + cache_read + cache_write_5m + cache_write_1h; }
  bool operator==(const TokenCounts&) const = default;
};

// The most tokens of one kind that cost() takes.
inline constexpr std::int64_t kMaxCount = 1'000'000'000'000;

// The other way to say a Usage. Errors: kBadAnswer when a count is negative, or a part is more than its whole.
[[nodiscard]] Result<TokenCounts> disjoint(const types::Usage& usage);

// Exact. Errors: kBadAnswer for a negative count, one over kMaxCount, and a sum over kMaxAmount.
[[nodiscard]] Result<Pico> cost(const PriceRow& row, const TokenCounts& counts);

// What is known of an attempt before it is sent.
struct AttemptFacts {
  std::int64_t body_bytes = 0;  // of what is sent, without the data of images
  std::int64_t messages = 0;
  std::int64_t tools = 0;
  std::int64_t images = 0;
  std::int64_t n = 1;           // answers
  std::int64_t max_tokens = 0;  // of each answer, reasoning counted; always sent
  bool audio = false;
  bool prediction = false;  // a predicted output: what of it is rejected is billed as output
};

// The most that the attempt can cost: what it can count as prompt, all at the dearest rate that can apply (cache write,
// long prompt), n x max_tokens at the dearest rate of answers, and the fee. Errors: kUnknownPrice for images when the
// row has no rule for them; kUnsupportedParameter with param() for audio and predictions, for which no row has one;
// kInvalidRequest over kMaxAmount.
[[nodiscard]] Result<Pico> bound(const PriceRow& row, const AttemptFacts& facts);

}  // namespace shoal::ledger
