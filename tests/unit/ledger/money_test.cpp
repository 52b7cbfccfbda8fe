#include "shoal/ledger/money.h"

#include <limits>

#include <gtest/gtest.h>

namespace shoal::ledger {
namespace {

Pico pico(const char* text) {
  Result<Pico> parsed = parse_usd(text);
  EXPECT_TRUE(parsed.ok()) << text;
  return parsed.ok() ? *parsed : Pico();
}

TEST(Money, DecimalTextIsReadExactly) {
  EXPECT_EQ(pico("5.00"), Pico(Int128{5'000'000'000'000}));
  EXPECT_EQ(pico("0.000000000001"), Pico(Int128{1}));
  EXPECT_EQ(pico("0"), Pico());
  EXPECT_EQ(pico("007.10"), pico("7.1"));
  EXPECT_EQ(pico("1000000000"), kMaxAmount);
  EXPECT_EQ(pico("123456789.123456789012"), Pico(Int128{123'456'789} * 1'000'000'000'000 + 123'456'789'012));
}

TEST(Money, ARateOfEightCentsAMillionIsNotZero) {
  EXPECT_EQ(*parse_usd_per_million("0.08"), Pico(Int128{80'000}));
  EXPECT_EQ(*parse_usd_per_million("0.000001"), Pico(Int128{1}));
  EXPECT_EQ(*parse_usd_per_million("3.75"), Pico(Int128{3'750'000}));
  EXPECT_EQ(*parse_usd_per_million("1000000"), kMaxRate);
}

TEST(Money, WhatIsNoDecimalNumberIsRefusedWithWhatWasWanted) {
  for (const char* text : {"", ".", "5.", ".5", "-1", "+1", "1e3", " 1", "1 ", "1,5", "1.2.3", "0x1", "NaN", "١"}) {
    const Result<Pico> parsed = parse_usd(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_EQ(parsed.error().code(), ErrorCode::kInvalidConfig);
    EXPECT_FALSE(parse_usd_per_million(text).ok()) << text;
  }
  EXPECT_EQ(parse_usd("five\n").error().message(), "wanted an amount in USD such as \"5.00\", got \"five\\n\"");
  EXPECT_EQ(parse_usd_per_million("x").error().message(),
            "wanted a price in USD per million tokens such as \"0.15\", got \"x\"");
}

TEST(Money, WhatDoesNotFitIsRefusedAndNotRounded) {
  EXPECT_NE(parse_usd("0.0000000000001").error().message().find("more than 12 digits"), std::string::npos);
  EXPECT_NE(parse_usd_per_million("0.0000001").error().message().find("more than 6 digits"), std::string::npos);
  for (const char* text :
       {"1000000000.000000000001", "1000000001", "99999999999999999999999999999999999999999999999999"}) {
    EXPECT_NE(parse_usd(text).error().message().find("too much"), std::string::npos) << text;
  }
  EXPECT_FALSE(parse_usd_per_million("1000000.000001").ok());
  EXPECT_FALSE(parse_usd_per_million("1000001").ok());
}

TEST(Money, IsShownExactly) {
  EXPECT_EQ(usd(Pico()), "0.00");
  EXPECT_EQ(usd(Pico(Int128{1})), "0.000000000001");
  EXPECT_EQ(usd(pico("0.075")), "0.075");
  EXPECT_EQ(usd(pico("5")), "5.00");
  EXPECT_EQ(usd(pico("1234.5")), "1234.50");
  EXPECT_EQ(usd(Pico() - pico("0.5")), "-0.50");
  EXPECT_EQ(usd(Micro{54'399}), "0.054399");
  EXPECT_EQ(usd(Micro{-1}), "-0.000001");
  const Int128 most = ~(Int128{1} << 127);
  EXPECT_EQ(usd(Pico(-most - 1)), "-170141183460469231731687303.715884105728");
}

TEST(Money, TextAndAmountAreTheSameThing) {
  for (const char* text : {"0.00", "0.10", "12.345678901234", "999999999.999999999999", "0.000001"}) {
    EXPECT_EQ(usd(pico(text)), text);
  }
}

TEST(Money, RoundsUpToWholeMicroDollars) {
  EXPECT_EQ(round_up_to_micro(Pico()), Micro{0});
  EXPECT_EQ(round_up_to_micro(Pico(Int128{1})), Micro{1});
  EXPECT_EQ(round_up_to_micro(Pico(Int128{999'999})), Micro{1});
  EXPECT_EQ(round_up_to_micro(Pico(Int128{1'000'000})), Micro{1});
  EXPECT_EQ(round_up_to_micro(Pico(Int128{1'000'001})), Micro{2});
  EXPECT_EQ(round_up_to_micro(kMaxAmount), Micro{1'000'000'000'000'000});
  EXPECT_EQ(Pico(Micro{-3}), Pico(Int128{-3'000'000}));
}

TEST(MoneyDeathTest, AnOverflowAborts) {
  const Pico most(~(Int128{1} << 127));
  Pico out;
  EXPECT_DEATH(out = most + Pico(Int128{1}), "overflows");
  EXPECT_DEATH(out = Pico() - most - Pico(Int128{2}), "overflows");
  EXPECT_DEATH(out = most * 2, "overflows");
  Micro micro;
  EXPECT_DEATH(micro = round_up_to_micro(Pico() - Pico(Int128{1})), "amount");
  EXPECT_DEATH(micro = round_up_to_micro(most), "max");
}

}  // namespace
}  // namespace shoal::ledger
