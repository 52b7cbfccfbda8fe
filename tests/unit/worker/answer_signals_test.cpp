// Mean, worst token and worst window of an answer equal what a loop over all windows says.
#include "shoal/worker/answer_signals.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace shoal::worker {
namespace {

types::Token token(float value) {
  types::Token t;
  t.logprob = -value;
  t.entropy = value;
  t.margin = 1 / (1 + value);
  t.self_certainty = 20 - value;
  return t;
}

// Over every window of the length, or the whole.
double worst_window(const std::vector<double>& values) {
  const std::size_t length = std::min<std::size_t>(values.size(), types::kSignalWindow);
  double worst = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i + length <= values.size(); ++i) {
    const auto from = values.begin() + static_cast<std::ptrdiff_t>(i);
    worst = std::min(
        worst, std::accumulate(from, from + static_cast<std::ptrdiff_t>(length), 0.0) / static_cast<double>(length));
  }
  return worst;
}

void expect_summary(const types::SignalSummary& found, const std::vector<double>& values, double sign) {
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  EXPECT_NEAR(found.mean, sign * mean, 1e-5);
  EXPECT_NEAR(found.worst, sign * *std::min_element(values.begin(), values.end()), 1e-6);
  EXPECT_NEAR(found.worst_window, sign * worst_window(values), 1e-5);
}

TEST(AnswerMeter, EqualToALoopOverAllWindows) {
  std::mt19937 random(3);
  std::gamma_distribution<float> draw(1, 2);
  for (const std::size_t n : {1U, 2U, 15U, 16U, 17U, 40U, 1000U}) {
    AnswerMeter meter;
    std::vector<double> logprob, entropy, margin, certainty;
    for (std::size_t i = 0; i < n; ++i) {
      const types::Token t = token(draw(random));
      meter.add(t);
      logprob.push_back(t.logprob);
      entropy.push_back(-t.entropy);
      margin.push_back(t.margin);
      certainty.push_back(t.self_certainty);
    }
    const types::AnswerSignals found = meter.signals();
    EXPECT_EQ(found.tokens, static_cast<std::int32_t>(n));
    expect_summary(found.logprob, logprob, 1);
    expect_summary(found.entropy, entropy, -1);
    expect_summary(found.margin, margin, 1);
    expect_summary(found.self_certainty, certainty, 1);
  }
}

TEST(AnswerMeter, AnImpossibleTokenLeavesTheWindowAgain) {
  AnswerMeter meter;
  types::Token impossible = token(1);
  impossible.logprob = -std::numeric_limits<float>::infinity();
  meter.add(impossible);
  for (int i = 0; i < 40; ++i) meter.add(token(1));
  const types::AnswerSignals found = meter.signals();
  EXPECT_EQ(found.logprob.worst, -std::numeric_limits<float>::infinity());
  EXPECT_EQ(found.logprob.worst_window, -std::numeric_limits<float>::infinity()) << "the first window has it";
  EXPECT_FALSE(std::isnan(found.logprob.mean));
  EXPECT_EQ(found.entropy.worst_window, 1);
}

TEST(AnswerMeter, NothingHasNoSignals) {
  const types::AnswerSignals none = AnswerMeter().signals();
  EXPECT_EQ(none.tokens, 0);
  EXPECT_EQ(none.entropy.mean, 0);
}

TEST(AnswerMeter, AZeroHasNoSign) {
  AnswerMeter meter;
  meter.add(types::Token{});
  EXPECT_FALSE(std::signbit(meter.signals().entropy.mean));
}

}  // namespace
}  // namespace shoal::worker
