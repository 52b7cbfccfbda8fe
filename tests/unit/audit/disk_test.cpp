// The machine's own disk does what the journal asks of one.
#include "shoal/audit/disk.h"

#include <cstdlib>
#include <string>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/temporary_folder.h"

namespace shoal::audit {
namespace {

TEST(RealDisk, ReadsWhatItWroteAtItsPlace) {
  const test::TemporaryFolder folder;
  RealDisk disk;
  auto file = disk.open(folder.path() / "a", OpenMode::kCreate);
  ASSERT_TRUE(file.ok()) << file.error().message();
  EXPECT_EQ((*file)->write_at(3, "hello").value(), 5U);
  ASSERT_TRUE((*file)->sync().ok());
  EXPECT_EQ((*file)->size().value(), 8U);
  std::string text(6, 'x');
  EXPECT_EQ((*file)->read_at(4, text).value(), 4U);
  EXPECT_EQ(text, "elloxx");
  EXPECT_EQ((*file)->read_at(100, text).value(), 0U);

  auto again = disk.open(folder.path() / "a", OpenMode::kWrite);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ((*again)->size().value(), 8U);
  EXPECT_EQ((*again)->write_at(0, "y").value(), 1U);
  auto anew = disk.open(folder.path() / "a", OpenMode::kCreate);
  ASSERT_TRUE(anew.ok());
  EXPECT_EQ((*anew)->size().value(), 0U);
}

TEST(RealDisk, NamesThePathAndTheCauseOfWhatFails) {
  const test::TemporaryFolder folder;
  RealDisk disk;
  const auto missing = disk.open(folder.path() / "none", OpenMode::kRead);
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code(), ErrorCode::kNotFound);
  EXPECT_NE(missing.error().message().find("none"), std::string::npos);
  EXPECT_EQ(disk.remove(folder.path() / "none").error().code(), ErrorCode::kNotFound);
  EXPECT_FALSE(disk.list(folder.path() / "none").ok());

  auto full = disk.open("/dev/full", OpenMode::kWrite);
  ASSERT_TRUE(full.ok());
  const auto written = (*full)->write_at(0, "x");
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code(), ErrorCode::kIo);
  EXPECT_NE(written.error().message().find("No space left"), std::string::npos);
}

TEST(RealDisk, MakesFoldersForTheOwnerAndListsRenamesAndRemoves) {
  const test::TemporaryFolder folder;
  RealDisk disk;
  const auto deep = folder.path() / "one" / "two";
  ASSERT_TRUE(disk.make_folder(deep).ok());
  ASSERT_TRUE(disk.make_folder(deep).ok());
  struct stat info{};
  ASSERT_EQ(::stat(deep.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0700U);
  ASSERT_TRUE(disk.open(deep / "a", OpenMode::kCreate).ok());
  ASSERT_EQ(::stat((deep / "a").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
  ASSERT_TRUE(disk.rename(deep / "a", deep / "b").ok());
  ASSERT_TRUE(disk.sync_folder(deep).ok());
  EXPECT_EQ(disk.list(deep).value(), std::vector<std::string>{"b"});
  ASSERT_TRUE(disk.remove(deep / "b").ok());
  EXPECT_TRUE(disk.list(deep).value().empty());
  EXPECT_FALSE(disk.make_folder(folder.path() / "one" / "two" / std::string(300, 'x')).ok());
}

TEST(RealDisk, AFolderIsLockedUntilTheLockIsGone) {
  const test::TemporaryFolder folder;
  RealDisk disk;
  RealDisk other;
  auto lock = disk.lock_folder(folder.path());
  ASSERT_TRUE(lock.ok());
  const auto second = other.lock_folder(folder.path());
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), ErrorCode::kIo);
  EXPECT_NE(second.error().message().find(folder.path().string()), std::string::npos);
  lock->reset();
  EXPECT_TRUE(other.lock_folder(folder.path()).ok());
}

}  // namespace
}  // namespace shoal::audit
