#include <algorithm>

#include <fmt/format.h>

#include "shoal/base/text.h"
#include "shoal/ledger/calendar.h"
#include "shoal/ledger/prices.h"

namespace shoal::ledger {
namespace {

constexpr std::int64_t kMaxTokens = 1'000'000'000;  // of any limit in a row

// Reads the fields of one row and names the one at fault.
class Reader {
 public:
  explicit Reader(const PriceText& text) : text_(text) {}

  [[nodiscard]] Error fault(std::string_view field, std::string_view why) const {
    return Error(ErrorCode::kInvalidConfig, fmt::format("price of {}/{}: {}: {}", base::escape_control(text_.provider),
                                                        base::escape_control(text_.model), field, why))
        .with_param(std::string(field));
  }

  // A rate that may be left out.
  [[nodiscard]] Result<Pico> rate_or(std::string_view field, const std::string& text, Pico fallback) const {
    return text.empty() ? fallback : named(field, parse_usd_per_million(text));
  }
  // A rate that may not.
  [[nodiscard]] Result<Pico> rate(std::string_view field, const std::string& text) const {
    return named(field, parse_usd_per_million(text));
  }
  [[nodiscard]] Result<Pico> amount_or_zero(std::string_view field, const std::string& text) const {
    return text.empty() ? Pico() : named(field, parse_usd(text));
  }
  [[nodiscard]] Result<std::int64_t> tokens(std::string_view field, std::int64_t value) const {
    if (value >= 0 && value <= kMaxTokens) return value;
    return fault(field, fmt::format("wanted a number of tokens from 0 to {}, got {}", kMaxTokens, value));
  }
  [[nodiscard]] Result<std::int64_t> date(std::string_view field, const std::string& text) const {
    if (const std::optional<std::int64_t> at = parse_date(text)) return *at;
    return fault(field, fmt::format("wanted a date such as \"2026-03-01\", got \"{}\"", base::escape_control(text)));
  }

 private:
  [[nodiscard]] Result<Pico> named(std::string_view field, Result<Pico> parsed) const {
    if (parsed.ok()) return parsed;
    return fault(field, parsed.error().message());
  }

  const PriceText& text_;
};

Result<void> check_names(const Reader& read, const PriceText& text) {
  if (text.provider.empty()) return read.fault("provider", "wanted the name of a provider, got nothing");
  if (text.model.empty()) return read.fault("model", "wanted the name of a model, or a prefix with * at its end");
  if (text.model.find('*') < text.model.size() - 1) {
    return read.fault("model", "wanted one * at most, at the end");
  }
  return {};
}

Result<Rates> read_rates(const Reader& read, const PriceText& text) {
  Rates rates;
  rates.input = SHOAL_TRY(read.rate("input_usd", text.input_usd));
  rates.cache_read = SHOAL_TRY(read.rate_or("cache_read_usd", text.cache_read_usd, rates.input));
  rates.cache_write_5m = SHOAL_TRY(read.rate_or("cache_write_5m_usd", text.cache_write_5m_usd, rates.input));
  rates.cache_write_1h = SHOAL_TRY(read.rate_or("cache_write_1h_usd", text.cache_write_1h_usd, rates.cache_write_5m));
  rates.output = SHOAL_TRY(read.rate("output_usd", text.output_usd));
  rates.reasoning = SHOAL_TRY(read.rate_or("reasoning_usd", text.reasoning_usd, rates.output));
  return rates;
}

Result<std::optional<LongPrompt>> read_long_prompt(const Reader& read, const PriceText& text) {
  LongPrompt out;
  out.above_prompt_tokens = SHOAL_TRY(read.tokens("above_prompt_tokens", text.above_prompt_tokens));
  if (out.above_prompt_tokens == 0) {
    const std::pair<std::string_view, const std::string&> lost[] = {
        {"above_input_usd", text.above_input_usd},
        {"above_cache_read_usd", text.above_cache_read_usd},
        {"above_cache_write_5m_usd", text.above_cache_write_5m_usd},
        {"above_cache_write_1h_usd", text.above_cache_write_1h_usd},
        {"above_output_usd", text.above_output_usd},
        {"above_reasoning_usd", text.above_reasoning_usd}};
    for (const auto& [field, value] : lost) {
      if (!value.empty())
        return read.fault(field, "wanted above_prompt_tokens with it: the tokens above which it holds");
    }
    return std::optional<LongPrompt>();
  }
  Rates& rates = out.rates;
  rates.input = SHOAL_TRY(read.rate("above_input_usd", text.above_input_usd));
  rates.cache_read = SHOAL_TRY(read.rate_or("above_cache_read_usd", text.above_cache_read_usd, rates.input));
  rates.cache_write_5m =
      SHOAL_TRY(read.rate_or("above_cache_write_5m_usd", text.above_cache_write_5m_usd, rates.input));
  rates.cache_write_1h =
      SHOAL_TRY(read.rate_or("above_cache_write_1h_usd", text.above_cache_write_1h_usd, rates.cache_write_5m));
  rates.output = SHOAL_TRY(read.rate("above_output_usd", text.above_output_usd));
  rates.reasoning = SHOAL_TRY(read.rate_or("above_reasoning_usd", text.above_reasoning_usd, rates.output));
  return std::optional<LongPrompt>(out);
}

}  // namespace

std::string PriceRow::id() const {
  return fmt::format("{}/{}@{}", provider, model, date_text(from));
}

Result<PriceRow> make_price_row(const PriceText& text) {
  const Reader read(text);
  SHOAL_TRY(check_names(read, text));
  PriceRow row;
  row.provider = text.provider;
  row.model = text.model;
  row.from = SHOAL_TRY(read.date("from", text.from));
  row.rates = SHOAL_TRY(read_rates(read, text));
  row.per_request = SHOAL_TRY(read.amount_or_zero("request_usd", text.request_usd));
  row.long_prompt = SHOAL_TRY(read_long_prompt(read, text));
  row.message_tokens = SHOAL_TRY(read.tokens("message_tokens", text.message_tokens));
  row.tool_tokens = SHOAL_TRY(read.tokens("tool_tokens", text.tool_tokens));
  row.image_tokens = SHOAL_TRY(read.tokens("image_tokens", text.image_tokens));
  row.source = text.source;
  row.checked = text.checked;
  if (!text.checked.empty()) SHOAL_TRY(read.date("checked", text.checked));
  return row;
}

}  // namespace shoal::ledger
