#include "shoal/base/text.h"

#include <cstdlib>

#include <gtest/gtest.h>

#include "shoal/base/secret.h"

namespace shoal::base {
namespace {

TEST(Text, EscapesWhatCouldForgeALineOrDriveATerminal) {
  EXPECT_EQ(escape_control("a\nb\tc"), "a\\nb\\tc");
  EXPECT_EQ(escape_control("\x1b[31mred"), "\\x1b[31mred");
  EXPECT_EQ(escape_control("\xc2\x9b"
                           "31m"),
            "\\u009b31m");  // C1 CSI
  EXPECT_EQ(escape_control("\xe2\x80\xae"
                           "exe.txt"),
            "\\u202eexe.txt");  // right-to-left override
  EXPECT_EQ(escape_control("\xe2\x80\xa8"), "\\u2028");
}

TEST(Text, LeavesOrdinaryTextAlone) {
  EXPECT_EQ(escape_control("Grüße, 世界 🌍"), "Grüße, 世界 🌍");
}

TEST(Text, EscapesBytesThatAreNotUtf8) {
  EXPECT_EQ(escape_control("\xff"), "\\xff");
  EXPECT_EQ(escape_control("\xc0\xaf"), "\\xc0\\xaf");                    // overlong
  EXPECT_EQ(escape_control("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // surrogate
  EXPECT_EQ(escape_control("\xe2\x82"), "\\xe2\\x82");                    // cut short
  EXPECT_EQ(escape_control("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // above U+10FFFF
}

TEST(Text, JsonStringsAreAlwaysValid) {
  EXPECT_EQ(json_string("a\"b\\c\n\xff"), R"("a\"b\\c\u000a\ufffd")");
}

TEST(Text, BytesForPeople) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1024), "1.0 KiB");
  EXPECT_EQ(human_bytes(10 * 1024), "10 KiB");
  EXPECT_EQ(human_bytes(1024 * 1024 - 1), "1.0 MiB");
  EXPECT_EQ(human_bytes(UINT64_MAX), "16 EiB");
}

TEST(Text, DurationsForPeople) {
  EXPECT_EQ(human_duration(-5), "0 ms");
  EXPECT_EQ(human_duration(999), "999 ms");
  EXPECT_EQ(human_duration(59'999), "59.9 s");
  EXPECT_EQ(human_duration(125'000), "2 min 5 s");
  EXPECT_EQ(human_duration(11'520'000), "3 h 12 min");
  EXPECT_EQ(human_duration(352'800'000), "4 d 2 h");
}

TEST(Secret, DigestsAreSha256) {
  // The first byte of FIPS 180-2's example for "abc".
  EXPECT_EQ(digest_secret("abc")[0], 0xBA);
  EXPECT_TRUE(equal_digests(digest_secret("abc"), digest_secret("abc")));
  EXPECT_FALSE(equal_digests(digest_secret("abc"), digest_secret("abd")));
}

}  // namespace
}  // namespace shoal::base
