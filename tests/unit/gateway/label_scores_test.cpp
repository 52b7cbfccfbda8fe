// The distribution over labels is one, by each of its measures; and many prompts are scored a few at a time.
#include "shoal/gateway/label_scores.h"

#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

#include "fakes/fake_engine.h"

namespace shoal::gateway {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

types::LabelLogprobs label(std::vector<float> logprobs) {
  return {std::vector<std::int32_t>(logprobs.size(), 1), std::move(logprobs)};
}

std::vector<double> probabilities(const std::vector<types::LabelScore>& scores) {
  std::vector<double> all;
  for (const types::LabelScore& score : scores) all.push_back(score.probability);
  EXPECT_NEAR(std::accumulate(all.begin(), all.end(), 0.0), 1, 1e-12);
  return all;
}

TEST(Distribution, IsTheSoftmaxOfTheSums) {
  const auto scores = distribution({label({-1}), label({-0.5F, -1.5F}), label({-4})}, false, nullptr);
  const auto p = probabilities(scores);
  const double sum = std::exp(-1) + std::exp(-2) + std::exp(-4);
  EXPECT_NEAR(p[0], std::exp(-1) / sum, 1e-9);
  EXPECT_NEAR(p[1], std::exp(-2) / sum, 1e-9);
  EXPECT_EQ(scores[1].logprob, -2);
  EXPECT_FALSE(scores[1].content_free_logprob);
}

TEST(Distribution, TheMeanDoesNotPunishLength) {
  const auto p = probabilities(distribution({label({-1}), label({-1, -1, -1, -1})}, true, nullptr));
  EXPECT_NEAR(p[0], 0.5, 1e-9);
}

TEST(Distribution, CalibratedIsTheRatioToTheContentFreePrompt) {
  const std::vector<types::LabelLogprobs> content_free = {label({-0.5F}), label({-3})};
  const auto scores = distribution({label({-1}), label({-3})}, false, &content_free);
  const auto p = probabilities(scores);
  const double a = std::exp(-1) / std::exp(-0.5);
  EXPECT_NEAR(p[0], a / (a + 1), 1e-9);
  EXPECT_EQ(scores[0].content_free_logprob, -0.5);
}

TEST(Distribution, TheImpossibleHasNone) {
  EXPECT_EQ(probabilities(distribution({label({kNever}), label({-3})}, false, nullptr))[0], 0);
  EXPECT_EQ(probabilities(distribution({label({kNever}), label({kNever})}, false, nullptr))[0], 0.5);
  const std::vector<types::LabelLogprobs> content_free = {label({kNever}), label({-3})};
  EXPECT_EQ(probabilities(distribution({label({kNever}), label({-3})}, false, &content_free))[0], 0);
  EXPECT_EQ(probabilities(distribution({label({-700}), label({-5000})}, false, nullptr))[0], 1);
}

TEST(CalibrateByBatch, DividesByTheMeanOverTheInputs) {
  const auto input = [](double p, double q) {
    std::vector<types::LabelScore> out(3);
    out[0].probability = p;
    out[1].probability = q;
    return out;  // the third cannot come at all
  };
  std::vector<std::vector<types::LabelScore>> inputs = {input(0.9, 0.1), input(0.7, 0.3)};
  calibrate_by_batch(inputs);
  // Means of 0.8 and 0.2: 0.9 / 0.8 against 0.1 / 0.2, and 0.7 / 0.8 against 0.3 / 0.2.
  EXPECT_NEAR(probabilities(inputs[0])[0], 1.125 / 1.625, 1e-12);
  EXPECT_NEAR(probabilities(inputs[1])[0], 0.875 / 2.375, 1e-12);
  EXPECT_EQ(inputs[1][2].probability, 0);
  inputs.clear();
  calibrate_by_batch(inputs);
  EXPECT_TRUE(inputs.empty());
}

struct ScoreAll : testing::Test {
  std::vector<engine::ScoreRequest> requests(std::size_t count) {
    std::vector<engine::ScoreRequest> all(count);
    for (std::size_t i = 0; i < count; ++i) {
      all[i].labels = {std::string(i + 1, 'x')};
      all[i].cancel = cancel.get_token();
    }
    return all;
  }
  Result<std::vector<engine::ScoreResult>> run(std::vector<engine::ScoreRequest> all) {
    Result<std::vector<engine::ScoreResult>> out = Error(ErrorCode::kInternal, "never ran");
    base::spawn(io, "test", [&](base::Yield yield) { out = score_all(engine, std::move(all), yield); });
    io.run();
    return out;
  }

  boost::asio::io_context io;
  fakes::FakeEngine engine;
  std::stop_source cancel;
};

TEST_F(ScoreAll, ResultsAreInOrder) {
  const auto results = run(requests(40));
  ASSERT_TRUE(results.ok());
  ASSERT_EQ(results->size(), 40U);
  for (std::size_t i = 0; i < 40; ++i) EXPECT_EQ((*results)[i].labels[0].logprobs[0], -static_cast<float>(i + 1));
}

TEST_F(ScoreAll, TheFirstErrorEndsAll) {
  engine.score_error = Error(ErrorCode::kContextLengthExceeded, "too long");
  const auto results = run(requests(40));
  ASSERT_FALSE(results.ok());
  EXPECT_EQ(results.error().code(), ErrorCode::kContextLengthExceeded);
  EXPECT_LT(engine.score_requests.size(), 40U) << "the rest is not asked for any more";
}

TEST_F(ScoreAll, AClientThatWentAwayStopsIt) {
  cancel.request_stop();
  const auto results = run(requests(3));
  ASSERT_FALSE(results.ok());
  EXPECT_EQ(results.error().code(), ErrorCode::kCancelled);
  EXPECT_TRUE(engine.score_requests.empty());
}

}  // namespace
}  // namespace shoal::gateway
