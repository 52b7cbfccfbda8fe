// The distance of two rows of logits, against numbers worked out by hand; and the texts that models are compared over.
#include "shoal/worker/compare.h"

#include <array>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "shoal/worker/sample_texts.h"

namespace shoal::worker {
namespace {

float log_of(double p) {
  return static_cast<float>(std::log(p));
}

TEST(RowDistance, IsTheDivergenceOfTheDistributions) {
  // P = (1/2, 1/4, 1/4), Q = (1/4, 1/4, 1/2): KL = 1/2 ln 2 - 1/4 ln 2.
  const std::array p = {log_of(0.5), log_of(0.25), log_of(0.25)};
  const std::array q = {log_of(0.25), log_of(0.25), log_of(0.5)};
  const RowDistance distance = row_distance(p, q);
  EXPECT_NEAR(distance.kl, 0.25 * std::log(2.0), 1e-6);
  EXPECT_FALSE(distance.same_best);
}

TEST(RowDistance, IsNoneForTheSameDistributionWhateverItsScale) {
  const std::array p = {1.0F, 2.0F, 3.0F};
  const std::array shifted = {1001.0F, 1002.0F, 1003.0F};
  const RowDistance distance = row_distance(p, shifted);
  EXPECT_NEAR(distance.kl, 0, 1e-9);
  EXPECT_TRUE(distance.same_best);
  EXPECT_NEAR(distance.log_sum - distance.source_log_sum, 1000, 1e-9);
  EXPECT_NEAR(distance.source_log_sum, std::log(std::exp(1.0) + std::exp(2.0) + std::exp(3.0)), 1e-9);
}

TEST(RowDistance, AForbiddenTokenAddsNothingAndANumberThatIsNoneIsSeen) {
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  const std::array p = {0.0F, 0.0F, kNever};
  EXPECT_NEAR(row_distance(p, p).kl, 0, 1e-9);
  const std::array broken = {0.0F, std::numeric_limits<float>::quiet_NaN(), 0.0F};
  EXPECT_FALSE(std::isfinite(row_distance(broken, p).kl));
  EXPECT_FALSE(std::isfinite(row_distance(p, broken).kl));
}

TEST(SampleTexts, HaveProseCodeAndConversations) {
  std::size_t bytes = 0;
  std::size_t conversations = 0;
  for (const PromptInput& text : sample_texts()) {
    EXPECT_FALSE(spoken(text).empty());
    bytes += spoken(text).size();
    conversations += std::holds_alternative<std::vector<types::Message>>(text) ? 1 : 0;
  }
  EXPECT_EQ(conversations, 2U);
  EXPECT_GT(bytes, 10'000U);
}

}  // namespace
}  // namespace shoal::worker
