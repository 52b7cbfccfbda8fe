#include "shoal/telemetry/metrics.h"

#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoal/base/clock.h"
#include "shoal/telemetry/process_metrics.h"

namespace shoal::telemetry {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Registry, RendersFamiliesByNameWithHelpTypeAndEscapes) {
  Registry registry;
  registry.gauges("shoal_b", "A gauge.").with({}).set(-1.5);
  registry.counters("shoal_a_total", "A\\B\nC.", {"model", "outcome"}).with({"q\"\\\n", "ok"}).add(3);
  EXPECT_EQ(registry.render(),
            "# HELP shoal_a_total A\\\\B\\nC.\n"
            "# TYPE shoal_a_total counter\n"
            "shoal_a_total{model=\"q\\\"\\\\\\n\",outcome=\"ok\"} 3\n"
            "# HELP shoal_b A gauge.\n"
            "# TYPE shoal_b gauge\n"
            "shoal_b -1.5\n");
}

TEST(Registry, HistogramBucketsAreCumulativeAndAnUpperBoundIsInclusive) {
  Registry registry;
  const double bounds[] = {0.1, 1};
  auto& histogram = registry.histograms("shoal_seconds", "S.", bounds, {"m"}).with({"x"});
  for (const double value : {0.05, 0.1, 0.5, 7.0}) histogram.observe(value);
  const std::string text = registry.render();
  EXPECT_THAT(text, HasSubstr("shoal_seconds_bucket{m=\"x\",le=\"0.1\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("shoal_seconds_bucket{m=\"x\",le=\"1\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("shoal_seconds_bucket{m=\"x\",le=\"+Inf\"} 4\n"));
  EXPECT_THAT(text, HasSubstr("shoal_seconds_sum{m=\"x\"} 7.65\n"));
  EXPECT_THAT(text, HasSubstr("shoal_seconds_count{m=\"x\"} 4\n"));
}

TEST(Registry, TheSameNameIsTheSameFamily) {
  Registry registry;
  registry.counters("shoal_x_total", "X.", {"m"}).with({"a"}).add();
  registry.counters("shoal_x_total", "X.", {"m"}).with({"a"}).add();
  EXPECT_THAT(registry.render(), HasSubstr("shoal_x_total{m=\"a\"} 2\n"));
}

TEST(Registry, LabelValuesPastTheLimitAreCountedAsOther) {
  Registry registry;
  auto& family = registry.counters("shoal_x_total", "X.", {"m"});
  for (std::size_t i = 0; i < kMaxSeriesPerFamily + 5; ++i) family.with({std::to_string(i)}).add();
  EXPECT_THAT(registry.render(), HasSubstr("shoal_x_total{m=\"other\"} 5\n"));
  EXPECT_THAT(registry.render(), Not(HasSubstr("m=\"1003\"")));
}

TEST(Registry, ThreadsMayCountAndRenderAtOnce) {
  Registry registry;
  auto& family = registry.counters("shoal_x_total", "X.", {"m"});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) family.with({std::to_string(i % 7)}).add();
    });
  }
  for (int i = 0; i < 20; ++i) EXPECT_THAT(registry.render(), HasSubstr("shoal_x_total"));
  for (auto& thread : threads) thread.join();
  double total = 0;
  for (int i = 0; i < 7; ++i) total += family.with({std::to_string(i)}).value();
  EXPECT_EQ(total, 4000);
}

TEST(ProcessMetrics, AreReadWhenRendered) {
  Registry registry;
  add_process_metrics(registry);
  (void)registry.render();
  EXPECT_GT(registry.gauges("shoal_process_resident_bytes", "").with({}).value(), 1e5);
  EXPECT_GT(registry.gauges("shoal_process_open_fds", "").with({}).value(), 2);
  const auto now = static_cast<double>(base::SystemClock().unix_seconds());
  const double started = registry.gauges("shoal_process_start_time_seconds", "").with({}).value();
  EXPECT_LE(started, now + 2);
  EXPECT_GE(started, now - 3600);
}

}  // namespace
}  // namespace shoal::telemetry
