// The checksum is the one of the RFC, with and without the processor's instruction.
#include "shoal/audit/crc32c.h"

#include <random>
#include <string>

#include <gtest/gtest.h>

namespace shoal::audit {
namespace {

// RFC 3720, appendix B.4.
TEST(Crc32c, GivesTheSumsOfTheRfc) {
  std::string rising(32, '\0');
  std::string falling(32, '\0');
  for (std::size_t i = 0; i < rising.size(); ++i) {
    rising[i] = static_cast<char>(i);
    falling[i] = static_cast<char>(31 - i);
  }
  for (const auto sum : {crc32c, crc32c_portable}) {
    EXPECT_EQ(sum(0, std::string(32, '\0')), 0x8A9136AAU);
    EXPECT_EQ(sum(0, std::string(32, '\xff')), 0x62A8AB43U);
    EXPECT_EQ(sum(0, rising), 0x46DD794EU);
    EXPECT_EQ(sum(0, falling), 0x113FDB5CU);
    EXPECT_EQ(sum(0, "123456789"), 0xE3069283U);
    EXPECT_EQ(sum(0, ""), 0U);
  }
}

TEST(Crc32c, GoesOnFromASumAndIsTheSameByTable) {
  std::mt19937 random(7);
  std::string text(200, '\0');
  for (char& c : text) c = static_cast<char>(random());
  for (std::size_t length = 0; length <= text.size(); ++length) {
    const std::string_view part = std::string_view(text).substr(0, length);
    EXPECT_EQ(crc32c(0, part), crc32c_portable(0, part)) << length;
    EXPECT_EQ(crc32c(crc32c(0, part), std::string_view(text).substr(length)), crc32c(0, text)) << length;
  }
}

}  // namespace
}  // namespace shoal::audit
