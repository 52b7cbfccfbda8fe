#include "shoal/device/machine.h"

#include <cstdlib>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

namespace shoal::device {
namespace {

class MachineTest : public testing::Test {
 protected:
  MachineTest() {
    std::string name = (std::filesystem::temp_directory_path() / "shoal-device.XXXXXX").string();
    root_ = ::mkdtemp(name.data());
    std::filesystem::create_directories(root_ / "a/b");
    files_ = {root_ / "membership", root_};
    write("membership", "0::/a/b\n");
  }
  ~MachineTest() override { std::filesystem::remove_all(root_); }

  void write(const std::string& name, const std::string& text) const { std::ofstream(root_ / name) << text; }

  std::filesystem::path root_;
  MachineFiles files_;
};

TEST_F(MachineTest, TheLowestLimitOfOurGroupAndThoseAboveCounts) {
  write("a/b/memory.max", "50000000\n");
  write("a/memory.max", "40000000\n");
  write("memory.max", "max\n");
  EXPECT_EQ(probe_machine(files_).memory_bytes, 40'000'000U);
}

TEST_F(MachineTest, AQuotaOfHalfACoreIsOneCore) {
  write("a/b/cpu.max", "50000 100000\n");
  EXPECT_EQ(probe_machine(files_).cores, 1U);
}

TEST_F(MachineTest, WithoutLimitsTheMachineIsOurs) {
  const Machine bare = probe_machine({root_ / "none", root_});
  write("a/b/cpu.max", "max 100000\n");
  write("a/b/memory.max", "max\n");
  const Machine unlimited = probe_machine(files_);
  EXPECT_EQ(unlimited.cores, bare.cores);
  EXPECT_EQ(unlimited.memory_bytes, bare.memory_bytes);
  EXPECT_GE(bare.cores, 1U);
  EXPECT_GT(bare.memory_bytes, 0U);
}

TEST_F(MachineTest, NonsenseIsNoLimit) {
  const Machine bare = probe_machine({root_ / "none", root_});
  write("a/b/cpu.max", "100000 0\n");
  write("a/b/memory.max", "\n");
  EXPECT_EQ(probe_machine(files_).cores, bare.cores);
  EXPECT_EQ(probe_machine(files_).memory_bytes, bare.memory_bytes);
}

TEST_F(MachineTest, TheProcessorIsCalledAsTheKernelCallsIt) {
  write("cpuinfo", "processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC: a chip\nmodel name\t: another\n");
  EXPECT_EQ(processor_name(root_ / "cpuinfo"), "AMD EPYC: a chip");
  EXPECT_EQ(processor_name(root_ / "none"), "unknown");
}

}  // namespace
}  // namespace shoal::device
