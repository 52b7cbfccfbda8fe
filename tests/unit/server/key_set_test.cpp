#include "shoal/server/key_set.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/temporary_folder.h"

namespace shoal::server {
namespace {

constexpr std::string_view kFirst = "first-key-0123456789";
constexpr std::string_view kSecond = "second-key-012345678";

TEST(KeySet, KnowsItsKeysAndTellsThemApart) {
  auto keys = KeySet::parse("# made by hand\n\n  first-key-0123456789 \r\nsecond-key-012345678", "keys");
  ASSERT_TRUE(keys.ok()) << keys.error().message();
  EXPECT_EQ(keys->size(), 2U);
  const types::Principal* const first = keys->principal_of(kFirst);
  const types::Principal* const second = keys->principal_of(kSecond);
  ASSERT_TRUE(first && second);
  EXPECT_NE(first->number, second->number);
  EXPECT_NE(first->id, second->id);
  EXPECT_NE(first->number, 0U);
  const auto other = KeySet::parse("second-key-012345678\n", "keys");
  EXPECT_EQ(other->principal_of(kSecond)->id, second->id) << "not its place in the file";
}

TEST(KeySet, RefusesEverythingElse) {
  auto keys = KeySet::parse("first-key-0123456789\n", "keys");
  ASSERT_TRUE(keys.ok());
  for (const std::string& wrong :
       {std::string(), std::string("first-key-012345678"), std::string("first-key-01234567890"),
        std::string("FIRST-KEY-0123456789"), std::string("# made by hand")}) {
    EXPECT_FALSE(keys->principal_of(wrong)) << wrong;
  }
}

TEST(KeySet, FaultsNameTheLineAndNeverTheKey) {
  const auto message = [](std::string_view text) {
    auto keys = KeySet::parse(text, "/etc/keys");
    EXPECT_FALSE(keys.ok());
    EXPECT_EQ(keys.error().code(), ErrorCode::kInvalidConfig);
    return keys.error().message();
  };
  const std::string is_short = message("first-key-0123456789\nsecret\n");
  EXPECT_NE(is_short.find("/etc/keys:2:"), std::string::npos) << is_short;
  EXPECT_EQ(is_short.find("secret"), std::string::npos) << is_short;
  EXPECT_NE(message(std::string(300, 'x')).find("has 300"), std::string::npos);
  EXPECT_NE(message("a key with blanks in it").find("blanks"), std::string::npos);
  EXPECT_NE(message("# nothing\n").find("no key"), std::string::npos);
  EXPECT_NE(message("").find("no key"), std::string::npos);
}

TEST(KeySet, KeysOfTheStoreAreGoodUntilTheyAreRevoked) {
  const test::TemporaryFolder folder;
  const auto hasher = store::KeyHasher::open(folder.path() / "key_secret");
  ASSERT_TRUE(hasher.ok());
  store::Key good;
  good.principal = "good";
  good.hash = hasher->hash(kFirst);
  store::Key revoked;
  revoked.principal = "revoked";
  revoked.hash = hasher->hash(kSecond);
  revoked.revoked_ms = 1;

  KeySet keys;
  keys.add(*hasher, std::vector{good, revoked});
  EXPECT_EQ(keys.size(), 1U);
  ASSERT_TRUE(keys.principal_of(kFirst));
  EXPECT_EQ(keys.principal_of(kFirst)->id, "good");
  EXPECT_NE(keys.principal_of(kFirst)->number, 0U);
  EXPECT_FALSE(keys.principal_of(kSecond));

  KeySet last_one_gone;
  last_one_gone.add(*hasher, std::vector{revoked});
  EXPECT_FALSE(last_one_gone.open()) << "who revokes the last key does not want everybody in";
  KeySet none_ever;
  none_ever.add(*hasher, {});
  EXPECT_TRUE(none_ever.open());
}

TEST(KeySet, WithoutKeysIsOpen) {
  EXPECT_TRUE(KeySet().open());
  EXPECT_FALSE(KeySet().principal_of("anything-at-all-0123"));
}

}  // namespace
}  // namespace shoal::server
