// Statements about numbers, computed again.
#include "shoal/routing/arithmetic.h"

#include <cmath>
#include <limits>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shoal::routing {
namespace {

struct Case {
  std::string text;
  std::uint32_t read;
  std::uint32_t wrong;
};
void PrintTo(const Case& one, std::ostream* out) {
  *out << one.text;
}

class Read : public testing::TestWithParam<Case> {};
TEST_P(Read, AsAReaderWould) {
  const Arithmetic found = read_arithmetic(GetParam().text);
  EXPECT_EQ(found.read(), GetParam().read);
  EXPECT_EQ(found.wrong(), GetParam().wrong);
}

INSTANTIATE_TEST_SUITE_P(
    Right, Read,
    testing::Values(Case{"She has 16 - 3 = 13 eggs left.", 1, 0}, Case{"16-3=13", 1, 0},
                    Case{"1,350 + 6 * $350 = $3,450", 1, 0}, Case{"9 x $2 = $18", 1, 0}, Case{"8x5=40", 1, 0},
                    Case{"8 \xC3\x97 5 = 40 and 40 \xC3\xB7 8 = 5 and 5 \xE2\x88\x92 8 = -3", 3, 0},
                    Case{"\\(5 \\times 3 = 15\\) and 8 \\cdot 2 = 16, 8 \\div 2 = 4", 3, 0},
                    Case{"20% of 50 = 10", 1, 0}, Case{"300 * 40% = 120", 1, 0}, Case{"30 / 40 = 75%", 1, 0},
                    Case{"0.2 * 100 = 20%", 1, 0}, Case{"(2 + 3) * 4 = 20", 1, 0}, Case{"2(3 + 4) = 14", 1, 0},
                    Case{"(5 + 3 = 8)", 1, 0}, Case{"((5 + 3) = 8", 1, 0}, Case{"((5 + 3) = 8", 1, 0},
                    Case{"2 + 3 * 4 = 14", 1, 0}, Case{"10 - 3 - 2 = 5", 1, 0}, Case{"100 / 10 / 2 = 5", 1, 0},
                    Case{"5 * -3 = -15", 1, 0}, Case{"-3 + 5 = 2", 1, 0}, Case{"- 16 + 3 = 19", 1, 0},
                    Case{"* 4 + 4 = 8\n* 5 + 5 = 10", 2, 0}, Case{".5 * 4 = 2", 1, 0}, Case{"2 * 3 == 6", 1, 0},
                    Case{"total = 2 + 3 = 5", 1, 0}, Case{"1 + 1 = 2. 2 + 2 = 4", 2, 0}, Case{"1. 5 + 3 = 8", 1, 0},
                    Case{"2 * 10 + 5 = 20 + 5 = 25", 2, 0}, Case{"5 + 3 = 8 / 2 = 4", 2, 0},
                    Case{"10 / 3 = 3.33", 1, 0}, Case{"2 / 3 = .7", 1, 0}, Case{"2 / 3 = 0.6", 1, 0}));
INSTANTIATE_TEST_SUITE_P(Wrong, Read,
                         testing::Values(Case{"16 - 3 = 12 eggs", 1, 1}, Case{"9 * 2 = 19", 1, 1},
                                         Case{"2 + 3 * 4 = 20", 1, 1}, Case{"10 - 3 - 2 = 9", 1, 1},
                                         Case{"1,350 + 1 = 2", 1, 1}, Case{"5 + 3 = 9 = 10", 1, 1},
                                         Case{"2 + 2 = 4\n2 + 2 = 5", 2, 1}, Case{"7 / 2 = 3", 1, 1},
                                         Case{"50 * 20% = 11", 1, 1}, Case{"so $<<8*5=41>>41", 1, 1},
                                         Case{"8 * 5 = <<8*5=40>>41", 2, 1}, Case{"2 / 3 = 0.5", 1, 1}));
INSTANTIATE_TEST_SUITE_P(NothingToSee, Read,
                         testing::Values(Case{"", 0, 0}, Case{"x = 5", 0, 0}, Case{"5 = 5", 0, 0},
                                         Case{"2x + 3 = 13", 0, 0}, Case{"x - 3 + 2 = 9", 0, 0},
                                         Case{"y -3 + 2 = 9", 0, 0}, Case{"x + 3 = 10", 0, 0}, Case{"2^3 = 8", 0, 0},
                                         Case{"15 boxes * 20 fireworks = 300", 0, 0}, Case{"1 1/2 * 4 = 6", 0, 0},
                                         Case{"5 / 0 = 0", 0, 0}, Case{"5 + = 5", 0, 0}, Case{"5 + 3 = 10 + y", 0, 0},
                                         Case{"a == b", 0, 0}, Case{"**16** - 3 = 13", 0, 0}, Case{"3/4/2024", 0, 0},
                                         Case{"5 + 3 = <<nothing>>", 0, 0}));

TEST(Arithmetic, TellsNotesFromText) {
  const Arithmetic found = read_arithmetic("9 * $2 = $<<9*2=18>>18, then <<18+1=20>>20 and <<x>>");
  EXPECT_EQ(found.notes.read, 2U);
  EXPECT_EQ(found.notes.wrong, 1U);
  EXPECT_EQ(found.unread_notes, 1U);
  EXPECT_EQ(found.plain.read, 1U);
  EXPECT_EQ(found.plain.wrong, 0U);
}

TEST(Arithmetic, KeepsWhatOthersWeigh) {
  const Arithmetic found = read_arithmetic("10 / 4 = 2.5\n3 - 5 = -2\n6 * 7 + 1 = 43");
  EXPECT_THAT(found.operations, testing::ElementsAre(1, 1, 1, 1));
  EXPECT_EQ(found.broken, 1U);
  EXPECT_EQ(found.negative, 1U);
  EXPECT_EQ(found.largest, 43);
  EXPECT_EQ(found.last, 43);
  EXPECT_TRUE(found.results.has(2.5) && found.results.has(-2) && !found.results.has(10));
  EXPECT_TRUE(found.operands.has(10) && found.operands.has(7));
  EXPECT_FALSE(read_arithmetic("no sums").last);
}

TEST(Arithmetic, RoundsAndChains) {
  EXPECT_EQ(read_arithmetic("10 / 3 = 3.33").plain.rounded, 1U);
  EXPECT_EQ(read_arithmetic("9 / 3 = 3").plain.rounded, 0U);
  EXPECT_EQ(read_arithmetic("2 * 5 + 5 = 10 + 5 = 15").chained, 1U);
  EXPECT_EQ(read_arithmetic("2 * 5 = 10, 10 + 5 = 15").chained, 0U);
  EXPECT_NEAR(read_arithmetic("10 * 10 = 150").worst, 0.5, 1e-12);
  EXPECT_EQ(read_arithmetic("1 * 1 = 99999999999999").worst, 1e9);
}

TEST(Arithmetic, ReadsNumbers) {
  const auto value = [](std::string_view text) { return read_number(text, 0).value; };
  EXPECT_EQ(value("1,350"), 1350);
  EXPECT_EQ(value("1,35"), 1);
  EXPECT_EQ(value("1,3500"), 1);
  EXPECT_EQ(value("12,345,678.25 "), 12345678.25);
  EXPECT_EQ(value("0.1"), 0.1);
  EXPECT_EQ(value("5."), 5);
  EXPECT_EQ(read_number("5.", 0).bytes, 1U);
  EXPECT_EQ(read_number("-5", 0).bytes, 0U);
  EXPECT_EQ(read_number("", 0).bytes, 0U);
  EXPECT_EQ(read_number("7", 3).bytes, 0U);
  NumberSet set;
  EXPECT_EQ(read_numbers("3 and 4, 3 again, 1,000.5", set), 4U);
  EXPECT_EQ(set.size(), 3U);
  EXPECT_TRUE(set.has(1000.5));
}

TEST(Arithmetic, IsSafeWithAnyBytes) {
  const std::string digits(5'000, '9');
  EXPECT_TRUE(std::isfinite(read_number(digits, 0).value));
  EXPECT_EQ(read_number(digits, 0).bytes, digits.size());
  EXPECT_EQ(read_arithmetic(digits + " + 1 = " + digits).read(), 0U);
  std::string sum = "1";
  for (int i = 0; i < 10'000; ++i) sum += " + 1";
  EXPECT_EQ(read_arithmetic(sum + " = 10001").read(), 0U) << "too long to be read, and no fault";
  EXPECT_EQ(read_arithmetic(std::string(50'000, '(') + "1 + 1 = 2").wrong(), 0U);
  EXPECT_EQ(read_arithmetic(std::string(50'000, '-') + "1 = 2").wrong(), 0U);
  EXPECT_EQ(read_arithmetic(std::string(50'000, '<') + "1 + 1 = 2").wrong(), 0U);
  EXPECT_EQ(read_arithmetic(std::string(50'000, '=')).read(), 0U);
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  for (int i = 0; i < 200; ++i) all += all.substr(static_cast<std::size_t>(i), 100) + "=1+";
  EXPECT_GE(read_arithmetic(all).worst, 0);
  NumberSet set;
  for (int i = 0; i < 1'000; ++i) set.add(i);
  EXPECT_EQ(set.size(), NumberSet::kMost);
}

}  // namespace
}  // namespace shoal::routing
