#include "shoal/ledger/money.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "shoal/base/text.h"

namespace shoal::ledger {
namespace {

constexpr std::size_t kPicoDigits = 12;
constexpr Int128 kPicoPerMicro = 1'000'000;
constexpr std::size_t kMaxShown = 40;  // bytes of a wrong text that a message repeats

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// A decimal number times 10^`places`. `wanted` goes on "wanted ".
Result<Pico> parse_decimal(std::string_view text, std::size_t places, Pico limit, std::string_view wanted) {
  const auto fault = [&](std::string_view why) {
    return Error(ErrorCode::kInvalidConfig,
                 fmt::format("wanted {}, got \"{}\"{}", wanted, base::escape_control(text.substr(0, kMaxShown)), why));
  };
  const std::size_t point = std::min(text.find('.'), text.size());
  const std::string_view whole = text.substr(0, point);
  const std::string_view fraction = text.substr(std::min(point + 1, text.size()));
  if (whole.empty() || !std::ranges::all_of(whole, is_digit) || !std::ranges::all_of(fraction, is_digit) ||
      (point < text.size() && fraction.empty())) {
    return fault("");
  }
  if (fraction.size() > places) return fault(fmt::format(": more than {} digits after the point", places));
  Int128 value = 0;
  for (const std::string_view digits : {whole, fraction}) {
    for (const char c : digits) {
      value = value * 10 + (c - '0');
      if (value > limit.value()) return fault(": too much");
    }
  }
  for (std::size_t i = fraction.size(); i < places; ++i) {
    value *= 10;
    if (value > limit.value()) return fault(": too much");
  }
  return Pico(value);
}

}  // namespace

Result<Pico> parse_usd(std::string_view text) {
  return parse_decimal(text, kPicoDigits, kMaxAmount, "an amount in USD such as \"5.00\"");
}

Result<Pico> parse_usd_per_million(std::string_view text) {
  // A USD per million tokens is a micro-dollar a token: a million pico-dollars, and so six digits after the point.
  return parse_decimal(text, 6, kMaxRate, "a price in USD per million tokens such as \"0.15\"");
}

std::string usd(Pico amount) {
  const bool negative = amount.value() < 0;
  // Digits from the right: the least negative value has no positive counterpart, so its digits come from remainders.
  std::string digits;
  for (Int128 left = amount.value(); left != 0 || digits.size() <= kPicoDigits; left /= 10) {
    const auto digit = static_cast<int>(left % 10);
    digits += static_cast<char>('0' + (digit < 0 ? -digit : digit));
  }
  std::ranges::reverse(digits);
  digits.insert(digits.size() - kPicoDigits, 1, '.');
  while (digits.back() == '0' && digits[digits.size() - 3] != '.') digits.pop_back();
  return negative ? "-" + digits : digits;
}

std::string usd(Micro amount) {
  return usd(Pico(amount));
}

Micro round_up_to_micro(Pico amount) {
  assert(amount.value() >= 0);
  const Int128 micros = amount.value() / kPicoPerMicro + (amount.value() % kPicoPerMicro == 0 ? 0 : 1);
  assert(micros <= std::numeric_limits<std::int64_t>::max());
  return {static_cast<std::int64_t>(micros)};
}

}  // namespace shoal::ledger
