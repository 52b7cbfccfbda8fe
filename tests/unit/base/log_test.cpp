#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <string_view>
#include <thread>

#include <gtest/gtest.h>

#include "shoal/base/log_format.h"

namespace shoal::base {
namespace {

constexpr std::int64_t kAt = 1'769'860'800'123;  // 2026-01-31T12:00:00.123Z

TEST(Log, JsonLineHasTheFixedNamesFirst) {
  const std::array<LogField, 4> fields = {LogField{"model", "smollm2"}, LogField{"signal", 9}, LogField{"rate", 0.5},
                                          LogField{"again", true}};
  EXPECT_EQ(format_json_line({kAt, LogLevel::kWarn, "worker died", fields}),
            R"({"ts":"2026-01-31T12:00:00.123Z","level":"warn","event":"worker died","model":"smollm2",)"
            R"("signal":9,"rate":0.5,"again":true})");
}

TEST(Log, TextLineQuotesOnlyWhatNeedsIt) {
  const std::array<LogField, 3> fields = {LogField{"a", "x"}, LogField{"b", "x y"}, LogField{"c", ""}};
  EXPECT_EQ(format_text_line({kAt, LogLevel::kInfo, "hello", fields}, false),
            R"(12:00:00.123 INFO  hello  a=x b="x y" c="")");
}

TEST(Log, ColoursTheLevelOnly) {
  EXPECT_EQ(format_text_line({kAt, LogLevel::kError, "x", {}}, true), "12:00:00.123 \x1b[31mERROR\x1b[0m x");
}

TEST(Log, AClientCanForgeNoLine) {
  const std::array<LogField, 1> fields = {LogField{"path", "/x\n12:00:00.123 ERROR fake\x1b[2J"}};
  const LogLine line{kAt, LogLevel::kInfo, "request", fields};
  EXPECT_EQ(format_text_line(line, true).find('\n'), std::string::npos);
  EXPECT_EQ(format_json_line(line).find('\n'), std::string::npos);
  EXPECT_EQ(format_text_line(line, false).find('\x1b'), std::string::npos);
}

TEST(Log, AFieldCannotReplaceAFixedName) {
  const std::array<LogField, 1> fields = {LogField{"level", "none"}};
  EXPECT_NE(format_json_line({kAt, LogLevel::kInfo, "x", fields}).find(R"("level_":"none")"), std::string::npos);
}

TEST(Log, NumbersThatJsonCannotHoldAreNull) {
  const std::array<LogField, 1> fields = {LogField{"rate", 1.0 / 0.0}};
  EXPECT_NE(format_json_line({kAt, LogLevel::kInfo, "x", fields}).find(R"("rate":null)"), std::string::npos);
}

TEST(Log, WritesOneLineToStderrAndHonoursTheLevel) {
  testing::internal::CaptureStderr();
  Log log(LogFormat::kJson, LogLevel::kWarn);
  log.info("hidden");
  log.warn("shown {} {", {{"n", 1}});
  log.set_level(LogLevel::kOff);
  log.error("hidden too");
  const std::string out = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::ranges::count(out, '\n'), 1);
  EXPECT_NE(out.find(R"("event":"shown {} {","n":1})"), std::string::npos);
}

// Through a file descriptor, as it is.
TEST(Log, LinesThatComeTogetherAreAllThereAndInOrder) {
  testing::internal::CaptureStderr();
  std::string expected;
  {
    Log log(LogFormat::kText, LogLevel::kInfo);
    for (int i = 0; i < 5000; ++i) {
      log.info("line", {{"n", i}});
      expected += " INFO  line  n=" + std::to_string(i) + "\n";
    }
  }
  std::string came = testing::internal::GetCapturedStderr();
  std::string without_times;
  for (std::size_t at = 0; at < came.size();) {
    const std::size_t end = came.find('\n', at);
    without_times += came.substr(at, end + 1 - at).substr(std::string_view("12:00:00.123").size());
    at = end + 1;
  }
  EXPECT_EQ(without_times, expected);
}

TEST(Log, AWarningWaitsForNobodyAndWhatWaitedGoesBeforeIt) {
  testing::internal::CaptureStderr();
  Log log(LogFormat::kText, LogLevel::kInfo);
  log.info("first");
  log.info("second");
  log.warn("third");
  const std::string came = testing::internal::GetCapturedStderr();
  const std::size_t second = came.find("second");
  ASSERT_NE(second, std::string::npos);
  EXPECT_LT(came.find("first"), second);
  EXPECT_LT(second, came.find("third"));
  EXPECT_NE(came.find("third"), std::string::npos);
}

TEST(Log, ALineThatWaitsIsWrittenByItself) {
  testing::internal::CaptureStderr();
  Log log(LogFormat::kText, LogLevel::kInfo);
  log.info("first");
  log.info("second");
  // GetCapturedStderr() ends the capture, so the time must pass before: far more than a line ever waits.
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_NE(testing::internal::GetCapturedStderr().find("second"), std::string::npos);
}

}  // namespace
}  // namespace shoal::base
