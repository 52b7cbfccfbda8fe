// Prices: what a provider takes for a model from a date on, and the table that finds the one that holds. Rows are facts
// with a source; what a request costs is computed from its token counts and the row (usage.h), so that a corrected row
// prices history again. A price that is not known is an error, never zero.
//
//   PriceTable prices;
//   SHOAL_TRY(prices.add(defaults));  // made from default_prices()
//   SHOAL_TRY(prices.add(configured));
//   const PriceRow* row = SHOAL_TRY(prices.find("openai", "gpt-4o-mini", now));
//
// Owned by cli/'s App; rows live as long as their table. Threads: any, after the last add().
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/ledger/money.h"

namespace shoal::ledger {

// Of one token.
struct Rates {
  Pico input;
  Pico cache_read;
  Pico cache_write_5m;
  Pico cache_write_1h;
  Pico output;
  Pico reasoning;

  bool operator==(const Rates&) const = default;
};

// Rates of a request whose prompt has more tokens than that, cached ones counted: they hold for all of its tokens, not
// only for those above. Source: genai-prices, `TieredPrices` ("cliff"); platform.claude.com/docs, "Long context
// pricing".
struct LongPrompt {
  std::int64_t above_prompt_tokens = 0;
  Rates rates;

  bool operator==(const LongPrompt&) const = default;
};

// The most that a prompt counts beyond the bytes of its text. A byte-level tokeniser makes at most a token of a byte,
// and the JSON around a message is longer than the marks of a chat template, so both have room to spare. The largest
// that a provider tells of is a system prompt for the first tool, of 159 to 530 tokens. Source:
// docs.anthropic.com/en/docs/tool-use-pricing-and-tokens.
inline constexpr std::int64_t kMessageTokens = 32;
inline constexpr std::int64_t kToolTokens = 1024;

struct PriceRow {
  std::string provider;
  std::string model;      // exact, or a prefix with '*' at its end
  std::int64_t from = 0;  // unix seconds; it holds from then on, until the next row
  Rates rates;
  Pico per_request;
  std::optional<LongPrompt> long_prompt;
  std::int64_t message_tokens = kMessageTokens;
  std::int64_t tool_tokens = kToolTokens;
  std::int64_t image_tokens = 0;  // the most that one image counts; 0: no rule, so no image may be sent
  std::string source;             // where it was read: a URL
  std::string checked;            // when: "2026-11-22"

  // "openai/gpt-4o-mini@2026-03-01".
  [[nodiscard]] std::string id() const;
};

// A row as people write it. Money in USD as decimal text, rates per million tokens; empty: not said.
struct PriceText {
  std::string provider{};
  std::string model{};
  std::string from{};                // "2026-03-01", from its midnight in UTC
  std::string input_usd{};           // needed
  std::string cache_read_usd{};      // not said: as input
  std::string cache_write_5m_usd{};  // not said: as input
  std::string cache_write_1h_usd{};  // not said: as cache_write_5m
  std::string output_usd{};          // needed
  std::string reasoning_usd{};       // not said: as output
  std::string request_usd{};         // of a request; not said: nothing
  std::int64_t above_prompt_tokens = 0;
  std::string above_input_usd{};  // needed with above_prompt_tokens; and so on
  std::string above_cache_read_usd{};
  std::string above_cache_write_5m_usd{};
  std::string above_cache_write_1h_usd{};
  std::string above_output_usd{};
  std::string above_reasoning_usd{};
  std::int64_t message_tokens = kMessageTokens;
  std::int64_t tool_tokens = kToolTokens;
  std::int64_t image_tokens = 0;
  std::string source{};
  std::string checked{};
};

// Errors: kInvalidConfig, whose param() is the field at fault, with what was wanted and what came.
[[nodiscard]] Result<PriceRow> make_price_row(const PriceText& text);

class PriceTable {
 public:
  PriceTable();
  PriceTable(PriceTable&&) noexcept;
  PriceTable& operator=(PriceTable&&) noexcept;
  ~PriceTable();

  // Rows of one source, the weakest source first. For the same provider and model, those of a later call come before
  // all of an earlier one, from the date on that they hold.
  // Errors: kInvalidConfig when two of them are for the same provider, model and date; nothing is added then.
  [[nodiscard]] Result<void> add(std::vector<PriceRow> rows);

  // The row that holds at `at` (unix seconds): the exact name before a prefix, the longest prefix before others, the
  // latest date. Names are the same whatever their case. Null: there is none.
  [[nodiscard]] const PriceRow* row(std::string_view provider, std::string_view model, std::int64_t at) const;
  // The same, where there must be one: not null. Errors: kUnknownPrice, which says what to write in the configuration.
  [[nodiscard]] Result<const PriceRow*> find(std::string_view provider, std::string_view model, std::int64_t at) const;

  [[nodiscard]] std::size_t size() const { return rows_.size(); }

 private:
  struct Entry;
  struct Provider;

  [[nodiscard]] Error unknown(std::string_view provider, std::string_view model, std::int64_t at) const;

  std::vector<std::unique_ptr<const PriceRow>> rows_;
  std::vector<std::unique_ptr<Provider>> providers_;  // a dozen: looked through
  int layers_ = 0;
};

// The prices that come with Shoal: TOML, one [[price]] table for each row, whose keys are the fields of PriceText.
[[nodiscard]] std::string_view default_prices();

}  // namespace shoal::ledger
