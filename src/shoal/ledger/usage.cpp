#include "shoal/ledger/usage.h"

#include <algorithm>
#include <cassert>

#include <fmt/format.h>

namespace shoal::ledger {
namespace {

Pico dearest_input(const Rates& rates) {
  return std::max({rates.input, rates.cache_read, rates.cache_write_5m, rates.cache_write_1h});
}

Pico dearest_output(const Rates& rates) {
  return std::max(rates.output, rates.reasoning);
}

}  // namespace

Result<TokenCounts> disjoint(const types::Usage& usage) {
  const std::int64_t written = std::int64_t{usage.cache_write_5m_tokens} + usage.cache_write_1h_tokens;
  const TokenCounts counts{.input = std::int64_t{usage.prompt_tokens} - usage.cached_tokens - written,
                           .cache_read = usage.cached_tokens,
                           .cache_write_5m = usage.cache_write_5m_tokens,
                           .cache_write_1h = usage.cache_write_1h_tokens,
                           .output = std::int64_t{usage.completion_tokens} - usage.reasoning_tokens,
                           .reasoning = usage.reasoning_tokens};
  if (std::min({counts.input, counts.cache_read, counts.cache_write_5m, counts.cache_write_1h, counts.output,
                counts.reasoning}) < 0) {
    return Error(
        ErrorCode::kBadAnswer,
        fmt::format("wanted usage whose parts are in their wholes, got {} prompt tokens ({} read from a cache, {} "
                    "and {} written) and {} completion tokens ({} of reasoning)",
                    usage.prompt_tokens, usage.cached_tokens, usage.cache_write_5m_tokens, usage.cache_write_1h_tokens,
                    usage.completion_tokens, usage.reasoning_tokens));
  }
  return counts;
}

Result<Pico> cost(const PriceRow& row, const TokenCounts& counts) {
  for (const std::int64_t count : {counts.input, counts.cache_read, counts.cache_write_5m, counts.cache_write_1h,
                                   counts.output, counts.reasoning}) {
    if (count < 0 || count > kMaxCount) {
      return Error(ErrorCode::kBadAnswer, fmt::format("wanted a count from 0 to {}, got {}", kMaxCount, count));
    }
  }
  const bool is_long = row.long_prompt && counts.prompt() > row.long_prompt->above_prompt_tokens;
  const Rates& rates = is_long ? row.long_prompt->rates : row.rates;
  // At most 6 x 10^12 tokens x 10^12 pico: far less than the 10^38 that 128 bits hold.
  const Pico total = rates.input * counts.input + rates.cache_read * counts.cache_read +
                     rates.cache_write_5m * counts.cache_write_5m + rates.cache_write_1h * counts.cache_write_1h +
                     rates.output * counts.output + rates.reasoning * counts.reasoning + row.per_request;
  if (total > kMaxAmount) {
    return Error(ErrorCode::kBadAnswer, fmt::format("usage that would cost {} USD", usd(total)));
  }
  return total;
}

Result<Pico> bound(const PriceRow& row, const AttemptFacts& facts) {
  for (const std::int64_t count :
       {facts.body_bytes, facts.messages, facts.tools, facts.images, facts.n, facts.max_tokens}) {
    // Whoever fills the facts has measured them or sends them: none of them can be more, so a wrong one is our fault.
    assert(count >= 0 && count <= kMaxCount);
  }
  if (facts.audio) {
    return Error(ErrorCode::kUnsupportedParameter, "audio has no bound of what it costs").with_param("messages");
  }
  if (facts.prediction) {
    return Error(ErrorCode::kUnsupportedParameter, "a predicted output has no bound of what it costs")
        .with_param("prediction");
  }
  if (facts.images > 0 && row.image_tokens == 0) {
    return Error(
        ErrorCode::kUnknownPrice,
        fmt::format("the price {} has no rule for images; add image_tokens to its [[price]] in the configuration",
                    row.id()));
  }
  const Int128 prompt = Int128{facts.body_bytes} + Int128{facts.messages} * row.message_tokens +
                        Int128{facts.tools} * row.tool_tokens + Int128{facts.images} * row.image_tokens;
  const Int128 answers = Int128{facts.n} * facts.max_tokens;
  const bool may_be_long = row.long_prompt && prompt > row.long_prompt->above_prompt_tokens;
  const auto most = [&](Pico standard, Pico above) { return may_be_long ? std::max(standard, above) : standard; };
  const Rates above = row.long_prompt ? row.long_prompt->rates : Rates{};
  const auto too_much = [] {
    return Error(ErrorCode::kInvalidRequest, fmt::format("a request that may cost more than {} USD", usd(kMaxAmount)));
  };
  if (prompt > kMaxCount || answers > kMaxCount) return too_much();
  const Pico total = most(dearest_input(row.rates), dearest_input(above)) * static_cast<std::int64_t>(prompt) +
                     most(dearest_output(row.rates), dearest_output(above)) * static_cast<std::int64_t>(answers) +
                     row.per_request;
  if (total > kMaxAmount) return too_much();
  return total;
}

}  // namespace shoal::ledger
