#include "shoal/device/speed.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

namespace shoal::device {
namespace {

class SpeedTest : public testing::Test {
 protected:
  SpeedTest() {
    std::string name = (std::filesystem::temp_directory_path() / "shoal-speed.XXXXXX").string();
    root_ = ::mkdtemp(name.data());
  }
  ~SpeedTest() override { std::filesystem::remove_all(root_); }

  std::filesystem::path root_;
  Machine machine_{2, std::uint64_t{1} << 30};
};

TEST_F(SpeedTest, IsMeasuredAndComesBackForTheSameMachineOnly) {
  const auto speed = measure_speed(machine_);
  ASSERT_TRUE(speed.ok());
  // No machine that runs this is slower than a megabyte or faster than a hundred terabytes a second.
  EXPECT_GT(speed->bytes_per_second, 1e6);
  EXPECT_LT(speed->bytes_per_second, 1e14);
  EXPECT_GT(speed->flops_per_second, 1e6);
  EXPECT_LT(speed->flops_per_second, 1e15);
  const auto file = root_ / "speed";
  EXPECT_FALSE(read_speed(file, machine_));
  ASSERT_TRUE(write_speed(file, machine_, *speed).ok());
  const auto again = read_speed(file, machine_);
  ASSERT_TRUE(again);
  EXPECT_NEAR(again->bytes_per_second, speed->bytes_per_second, 1);
  EXPECT_NEAR(again->flops_per_second, speed->flops_per_second, 1);
  const Speed best = faster_than_kept(file, machine_, {speed->bytes_per_second * 2, speed->flops_per_second / 2});
  EXPECT_NEAR(best.bytes_per_second, speed->bytes_per_second * 2, 1);
  EXPECT_NEAR(best.flops_per_second, speed->flops_per_second, 1);
  Machine other = machine_;
  other.cores = 3;
  EXPECT_FALSE(read_speed(file, other)) << "a container that got another core";
}

TEST_F(SpeedTest, ADamagedFileIsNoSpeedAndAFolderThatIsNotThereIsSaid) {
  const auto file = root_ / "speed";
  ASSERT_TRUE(write_speed(file, machine_, {1e9, 2e9}).ok());
  std::string who;
  std::getline(std::ifstream(file) >> std::ws, who);
  for (const char* text : {"", "\n", "many few", "-1 5", "1e9"}) {
    std::ofstream(file) << who << "\n" << text;
    EXPECT_FALSE(read_speed(file, machine_)) << text;
  }
  EXPECT_EQ(write_speed(root_ / "none" / "speed", machine_, {1, 1}).error().code(), ErrorCode::kIo);
}

TEST_F(SpeedTest, TooLittleMemoryIsSaid) {
  EXPECT_EQ(measure_speed({2, std::uint64_t{64} << 20}).error().code(), ErrorCode::kInsufficientMemory);
}

}  // namespace
}  // namespace shoal::device
