// Sums of files are those of the standard, whatever the size of the blocks that they are read in.
#include "shoal/base/sha256.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <unistd.h>

namespace shoal::base {
namespace {

// Source: FIPS 180-2, appendices B.1, B.3 and C.1.
TEST(Sha256, OfFilesIsThatOfTheStandard) {
  const auto file = std::filesystem::temp_directory_path() / ("shoal-sum-" + std::to_string(getpid()));
  std::ofstream(file) << "abc";
  EXPECT_EQ(*sha256_of_file(file), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(*sha512_base64_of_file(file),
            "3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==");
  std::ofstream(file) << std::string(1'000'000, 'a');
  EXPECT_EQ(*sha256_of_file(file), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  std::filesystem::remove(file);
  EXPECT_EQ(sha256_of_file(file).error().code(), ErrorCode::kIo);
}

}  // namespace
}  // namespace shoal::base
