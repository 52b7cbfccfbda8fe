// Money: exact amounts in integers, never floats. Pico is what is computed with, 10^-12 USD in 128 bits: a rate of 0.08
// USD per million tokens is 80,000 pico a token, and nothing at all in micro-dollars. Micro is what is shown and
// billed.
//
//   Pico rate = SHOAL_TRY(parse_usd_per_million("0.075"));  // of one token
//   Micro billed = round_up_to_micro(rate * tokens);
//
// Owned by value. Threads: any; pure.
#pragma once

#include <cassert>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "shoal/base/result.h"

namespace shoal::ledger {

using Int128 = __int128;

// Micro-dollars.
struct Micro {
  std::int64_t value = 0;

  auto operator<=>(const Micro&) const = default;
};

// Pico-dollars. No sum or product overflows silently: one that would, aborts. What comes from outside is kept far below
// by kMaxAmount, kMaxRate and the limits of those who count tokens.
class Pico {
 public:
  constexpr Pico() = default;
  constexpr explicit Pico(Int128 value) : value_(value) {}
  constexpr explicit Pico(Micro micro) : value_(Int128{micro.value} * 1'000'000) {}

  [[nodiscard]] constexpr Int128 value() const { return value_; }

  constexpr auto operator<=>(const Pico&) const = default;

  constexpr Pico& operator+=(Pico other) {
    [[maybe_unused]] const bool overflows = __builtin_add_overflow(value_, other.value_, &value_);
    assert(!overflows);
    return *this;
  }
  constexpr Pico& operator-=(Pico other) {
    [[maybe_unused]] const bool overflows = __builtin_sub_overflow(value_, other.value_, &value_);
    assert(!overflows);
    return *this;
  }
  constexpr Pico& operator*=(std::int64_t count) {
    [[maybe_unused]] const bool overflows = __builtin_mul_overflow(value_, Int128{count}, &value_);
    assert(!overflows);
    return *this;
  }
  friend constexpr Pico operator+(Pico a, Pico b) { return a += b; }
  friend constexpr Pico operator-(Pico a, Pico b) { return a -= b; }
  friend constexpr Pico operator*(Pico amount, std::int64_t count) { return amount *= count; }

 private:
  Int128 value_ = 0;
};

// The most that one amount may be: a billion USD. 10^17 of them fit into a Pico.
inline constexpr Pico kMaxAmount(Int128{1'000'000'000} * 1'000'000'000'000);
// The most that one token may cost: a million USD per million tokens.
inline constexpr Pico kMaxRate(Int128{1'000'000'000'000});

// "5.00", "0.075": digits, and a point with up to 12 digits after it; no sign, no exponent, no blanks.
// Errors: kInvalidConfig for anything else, and over kMaxAmount.
[[nodiscard]] Result<Pico> parse_usd(std::string_view text);
// A rate in USD per million tokens, as price lists have it, with up to 6 digits after the point: what one token costs.
// Errors: as parse_usd(), and over kMaxRate.
[[nodiscard]] Result<Pico> parse_usd_per_million(std::string_view text);

// The exact amount in USD, with as many digits as it needs and two at least: "5.00", "0.0000002916".
[[nodiscard]] std::string usd(Pico amount);
[[nodiscard]] std::string usd(Micro amount);

// The next whole micro-dollar, up. REQUIRES: 0 <= amount, and the result fits.
[[nodiscard]] Micro round_up_to_micro(Pico amount);

}  // namespace shoal::ledger
