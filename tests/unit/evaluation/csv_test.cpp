#include "shoal/evaluation/csv.h"

#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shoal::evaluation {
namespace {

using Rows = std::vector<std::vector<std::string>>;

Rows rows_of(std::string_view text) {
  const auto parsed = parse_csv(text);
  EXPECT_TRUE(parsed.ok()) << parsed.error().message();
  Rows out;
  for (const CsvRecord& record : *parsed) out.push_back(record.fields);
  return out;
}

TEST(Csv, ReadsFieldsWithEverythingInThem) {
  EXPECT_EQ(rows_of("a,b\n\"x, \"\"y\"\"\nz\",2\n"), (Rows{{"a", "b"}, {"x, \"y\"\nz", "2"}}));
  EXPECT_EQ(rows_of("a,,\n,\"\",b"), (Rows{{"a", "", ""}, {"", "", "b"}}));
  EXPECT_EQ(rows_of("5\" disk,x"), (Rows{{"5\" disk", "x"}}));
}

TEST(Csv, LineEndsAreOfAnyKind) {
  const Rows wanted = {{"a", "b"}, {"c", "d"}};
  EXPECT_EQ(rows_of("a,b\r\nc,d\r\n"), wanted);
  EXPECT_EQ(rows_of("a,b\rc,d"), wanted);
  EXPECT_EQ(rows_of("\xEF\xBB\xBF\"a\",b\n\n\nc,d\n"), wanted);
  EXPECT_TRUE(rows_of("").empty());
  EXPECT_EQ(rows_of("a,"), (Rows{{"a", ""}}));
}

TEST(Csv, CountsLinesInsideFields) {
  const auto parsed = parse_csv("a\r\n\"1\r\n2\n3\"\r\nb\n");
  ASSERT_TRUE(parsed.ok());
  ASSERT_EQ(parsed->size(), 3U);
  EXPECT_EQ((*parsed)[1].line, 2U);
  EXPECT_EQ((*parsed)[2].line, 5U);
}

TEST(Csv, SaysWhereAQuoteIsWrong) {
  EXPECT_EQ(parse_csv("a,b\nc,\"d").error().message(),
            "line 2, column 3: the quoted field that begins here does not end");
  EXPECT_THAT(parse_csv("\"x\ny\" z,1").error().message(),
              testing::StartsWith("line 2, column 3: text after the closing quote"));
}

TEST(Csv, BytesThatAreNoTextAreReplacedAndCounted) {
  std::string text = "a\xFF\xC3(\xC3\xA4";
  EXPECT_EQ(repair_utf8(text), 2U);
  EXPECT_EQ(text, "a\xEF\xBF\xBD\xEF\xBF\xBD(\xC3\xA4");
  EXPECT_EQ(repair_utf8(text), 0U);
}

}  // namespace
}  // namespace shoal::evaluation
