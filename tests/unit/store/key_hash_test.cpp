#include "shoal/store/key_hash.h"

#include <fstream>
#include <set>
#include <string>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "contract.h"
#include "support/temporary_folder.h"

namespace shoal::store {
namespace {

std::string hex(const KeyHash& hash) {
  std::string text;
  for (const unsigned char byte : hash) {
    text += "0123456789abcdef"[byte >> 4U];
    text += "0123456789abcdef"[byte & 15U];
  }
  return text;
}

void write(const std::filesystem::path& path, const std::string& bytes, mode_t mode) {
  std::ofstream(path, std::ios::binary) << bytes;
  ASSERT_EQ(::chmod(path.c_str(), mode), 0);
}

TEST(MakeKey, Makes32CharactersOfBase32) {
  std::set<std::string> keys;
  std::set<char> characters;
  for (int i = 0; i < 1000; ++i) {
    const std::string key = make_key();
    ASSERT_EQ(key.size(), 9U + 32U);
    EXPECT_TRUE(key.starts_with("sk-shoal-"));
    for (const char c : key.substr(9)) characters.insert(c);
    keys.insert(key);
  }
  EXPECT_EQ(keys.size(), 1000U);
  EXPECT_EQ(std::string(characters.begin(), characters.end()), "0123456789abcdefghjkmnpqrstvwxyz");
}

// Python: hashlib.blake2b(b"sk-shoal-0", key=b"0123456789abcdef0123456789abcdef", digest_size=32).hexdigest()
TEST(KeyHasher, IsKeyedBlake2b) {
  const test::TemporaryFolder folder;
  write(folder.path() / "secret", "0123456789abcdef0123456789abcdef", 0600);
  const KeyHasher hasher = must(KeyHasher::open(folder.path() / "secret"));
  EXPECT_EQ(hex(hasher.hash("sk-shoal-0")), "8c472d4b1e24d9d928f1bd6a83843bc510cd071f037bf3062484a88d65638389");
}

TEST(KeyHasher, MakesASecretThatStaysAndIsItsOwn) {
  const test::TemporaryFolder folder;
  const KeyHasher first = must(KeyHasher::open(folder.path() / "secret"));
  struct stat info{};
  ASSERT_EQ(::stat((folder.path() / "secret").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  EXPECT_EQ(info.st_size, 32);
  EXPECT_EQ(must(KeyHasher::open(folder.path() / "secret")).hash("a"), first.hash("a"));
  EXPECT_NE(first.hash("a"), first.hash("b"));
  EXPECT_NE(must(KeyHasher::open(folder.path() / "other")).hash("a"), first.hash("a"));
  int files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder.path())) ++files;
  EXPECT_EQ(files, 2) << "nothing is left of the making";
}

TEST(KeyHasher, RefusesASecretThatIsNone) {
  const test::TemporaryFolder folder;
  const std::string secret(32, 's');
  write(folder.path() / "group", secret, 0640);
  write(folder.path() / "others", secret, 0602);
  write(folder.path() / "short", secret.substr(1), 0600);
  write(folder.path() / "long", secret + "\n", 0600);
  for (const char* name : {"group", "others", "short", "long"}) {
    const auto refused = KeyHasher::open(folder.path() / name);
    ASSERT_FALSE(refused.ok()) << name;
    EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidConfig) << name;
  }
  EXPECT_EQ(KeyHasher::open(folder.path() / "no folder" / "secret").error().code(), ErrorCode::kIo);
}

}  // namespace
}  // namespace shoal::store
