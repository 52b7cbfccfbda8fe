#include "shoal/ledger/calendar.h"

#include <gtest/gtest.h>

namespace shoal::ledger {
namespace {

std::int64_t date(const char* text) {
  return parse_date(text).value();
}

TEST(Calendar, ReadsAndWritesDates) {
  EXPECT_EQ(date("1970-01-01"), 0);
  EXPECT_EQ(date("2026-11-22"), 1'795'305'600);
  EXPECT_EQ(date("2024-02-29"), 1'709'164'800);
  EXPECT_EQ(date_text(1'795'305'600), "2026-11-22");
  EXPECT_EQ(date_text(1'795'305'600 + 86'399), "2026-11-22");
  EXPECT_EQ(date_text(1'795'305'600 - 1), "2026-11-21");
  EXPECT_EQ(date_text(-1), "1969-12-31");
}

TEST(Calendar, WhatIsNoDateIsNone) {
  for (const char* text : {"", "2026-11-2", "2026-11-022", "2026/11/22", "2026-13-01", "2026-00-01", "2026-02-29",
                           "2026-11-00", "2026-11-31", "-026-11-22", "2026-+1-22", "2026-11- 2", "x026-11-22"}) {
    EXPECT_EQ(parse_date(text), std::nullopt) << text;
  }
}

TEST(Calendar, DaysAndMonthsEndWhereTheNextBegins) {
  const std::int64_t leap_day = date("2024-02-29");
  for (const std::int64_t at : {leap_day, leap_day + 1, leap_day + 86'399}) {
    EXPECT_EQ(day_of(at).start, leap_day);
    EXPECT_EQ(day_of(at).end, date("2024-03-01"));
    EXPECT_EQ(month_of(at).start, date("2024-02-01"));
    EXPECT_EQ(month_of(at).end, date("2024-03-01"));
  }
  EXPECT_EQ(month_of(date("2026-12-31")).end, date("2027-01-01"));
  EXPECT_EQ(day_of(-1).start, -86'400);
}

}  // namespace
}  // namespace shoal::ledger
