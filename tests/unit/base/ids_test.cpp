#include "shoal/base/ids.h"

#include <set>

#include <gtest/gtest.h>

namespace shoal::base {
namespace {

TEST(Ids, AreTwentySixCharactersOfCrockfordsAlphabet) {
  for (int i = 0; i < 100; ++i) {
    const std::string id = random_id();
    EXPECT_EQ(id.size(), 26U);
    EXPECT_EQ(id.find_first_not_of("0123456789abcdefghjkmnpqrstvwxyz"), std::string::npos) << id;
  }
}

TEST(Ids, DoNotRepeat) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(random_id());
  EXPECT_EQ(seen.size(), 1000U);
}

}  // namespace
}  // namespace shoal::base
