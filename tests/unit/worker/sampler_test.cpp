// Each knob does what its definition says, on a row small enough to compute by hand.
#include "shoal/worker/sampler.h"

#include <cmath>
#include <limits>
#include <map>

#include <gtest/gtest.h>

namespace shoal::worker {
namespace {

const std::vector<float> kRow = {std::log(0.5F), std::log(0.3F), std::log(0.15F), std::log(0.05F)};

std::map<std::int32_t, double> draw(const types::SamplingParams& params, int count = 20'000) {
  Sampler sampler(params, 7);
  std::map<std::int32_t, double> share;
  for (int i = 0; i < count; ++i) share[sampler.choose(kRow, {}, 0)] += 1.0 / count;
  return share;
}

TEST(Sampler, DrawsInProportion) {
  const auto share = draw({});
  EXPECT_NEAR(share.at(0), 0.5, 0.02);
  EXPECT_NEAR(share.at(1), 0.3, 0.02);
  EXPECT_NEAR(share.at(3), 0.05, 0.01);
}

TEST(Sampler, TemperatureSharpensAndFlattens) {
  types::SamplingParams params;
  params.temperature = 0.5F;  // p^2, normalised
  EXPECT_NEAR(draw(params).at(0), 0.25 / (0.25 + 0.09 + 0.0225 + 0.0025), 0.02);
  params.temperature = 0;
  EXPECT_EQ(draw(params).size(), 1U);
}

TEST(Sampler, TopKTopPMinPKeepWhatTheySay) {
  types::SamplingParams params;
  params.top_k = 2;
  EXPECT_EQ(draw(params).size(), 2U);
  EXPECT_NEAR(draw(params).at(0), 0.5 / 0.8, 0.02);
  params = {};
  params.top_p = 0.75F;  // 0.5 + 0.3 reaches it
  EXPECT_EQ(draw(params).size(), 2U);
  params.top_p = 0.45F;
  EXPECT_EQ(draw(params).size(), 1U);
  params = {};
  params.min_p = 0.25F;  // of 0.5: 0.125
  EXPECT_EQ(draw(params).size(), 3U);
  params.min_p = 1;
  const std::vector<float> rising = {0, 1, 2, 3};
  EXPECT_EQ(Sampler(params, 7).choose(rising, {}, 3), 3) << "the best is always left";
}

TEST(Sampler, BiasAndForbiddenTokens) {
  types::SamplingParams params;
  params.temperature = 0;
  params.logit_bias = {{3, 100.0F}, {99, 5.0F}, {-1, 5.0F}};
  EXPECT_EQ(Sampler(params, 1).choose(kRow, {}, 0), 3);
  const std::vector<std::int32_t> forbidden = {0};
  params.logit_bias.clear();
  EXPECT_EQ(Sampler(params, 1).choose(kRow, forbidden, 0), 1);
}

TEST(Sampler, GreedyPassesOverForbiddenTokensInOrder) {
  types::SamplingParams params;
  params.temperature = 0;
  Sampler sampler(params, 1);
  const auto choose = [&](const std::vector<float>& row, std::vector<std::int32_t> forbidden, std::int32_t best) {
    return sampler.choose(row, forbidden, best);
  };
  EXPECT_EQ(choose(kRow, {3}, 0), 0);
  EXPECT_EQ(choose(kRow, {0, 1}, 0), 2);
  EXPECT_EQ(choose(kRow, {1, 0, 99, -1}, 0), 2);
  EXPECT_EQ(choose({5, 7, 7, 7}, {1}, 1), 2) << "ties go to the lowest id";
  params.top_k = 1;
  params.temperature = 2;
  EXPECT_EQ(Sampler(params, 1).choose(kRow, std::vector<std::int32_t>{0}, 0), 1);
}

TEST(Sampler, PenaltiesCountWhatTheyShould) {
  types::SamplingParams params;
  params.temperature = 0;
  params.frequency_penalty = 0.3F;  // ln(0.5 / 0.3) = 0.51: two repetitions are enough, one is not
  Sampler frequency(params, 1);
  frequency.accept_prompt(0);
  frequency.accept_prompt(0);
  EXPECT_EQ(frequency.choose(kRow, {}, 0), 0) << "the prompt does not count";
  frequency.accept(0);
  EXPECT_EQ(frequency.choose(kRow, {}, 0), 0);
  frequency.accept(0);
  EXPECT_EQ(frequency.choose(kRow, {}, 0), 1);
  params = {};
  params.temperature = 0;
  params.presence_penalty = 0.6F;
  Sampler presence(params, 1);
  presence.accept(0);
  EXPECT_EQ(presence.choose(kRow, {}, 0), 1);
  params = {};
  params.temperature = 0;
  params.repetition_penalty = 2.0F;
  Sampler repetition(params, 1);
  repetition.accept_prompt(0);
  EXPECT_EQ(repetition.choose(kRow, {}, 0), 1) << "the prompt counts";
  Sampler answered(params, 1);
  answered.accept(0);
  EXPECT_EQ(answered.choose(kRow, {}, 0), 1) << "and the answer";
}

TEST(Sampler, TheSeedDecides) {
  types::SamplingParams params;
  params.seed = 42;
  std::vector<std::int32_t> a, b, c;
  Sampler first(params, 1), second(params, 2);
  params.seed = 43;
  Sampler third(params, 1);
  for (int i = 0; i < 50; ++i) {
    a.push_back(first.choose(kRow, {}, 0));
    b.push_back(second.choose(kRow, {}, 0));
    c.push_back(third.choose(kRow, {}, 0));
  }
  EXPECT_EQ(a, b);
  EXPECT_NE(a, c);
}

TEST(Sampler, DrawsInProportionFromAVocabularyOfManyBlocks) {
  std::vector<float> row(3001, -std::numeric_limits<float>::infinity());
  const std::map<std::int32_t, double> wanted = {{0, 0.3}, {1023, 0.2}, {1024, 0.1}, {2050, 0.25}, {2999, 0.15}};
  for (const auto& [id, p] : wanted) row[static_cast<std::size_t>(id)] = 5 + std::log(static_cast<float>(p));
  for (const float temperature : {1.0F, 0.5F}) {
    types::SamplingParams params;
    params.temperature = temperature;
    Sampler sampler(params, 11);
    std::map<std::int32_t, double> share;
    constexpr int kDraws = 20'000;
    for (int i = 0; i < kDraws; ++i) share[sampler.choose(row, {}, 0)] += 1.0 / kDraws;
    double total = 0;
    for (const auto& [id, p] : wanted) total += std::pow(p, 1 / temperature);
    for (const auto& [id, p] : wanted) EXPECT_NEAR(share[id], std::pow(p, 1 / temperature) / total, 0.02) << id;
    EXPECT_EQ(share.size(), wanted.size()) << "an impossible token was drawn";
  }
}

TEST(Sampler, TopPFindsTheHeadOfALargeFlatVocabulary) {
  std::vector<float> flat(5000, 0.0F);
  types::SamplingParams params;
  params.top_p = 0.5F;
  Sampler sampler(params, 3);
  std::map<std::int32_t, int> seen;
  for (int i = 0; i < 400; ++i) ++seen[sampler.choose(flat, {}, 0)];
  for (const auto& [id, count] : seen) EXPECT_LT(id, 2500) << "ties keep the order of ids";
  EXPECT_GT(seen.size(), 200U);
}

}  // namespace
}  // namespace shoal::worker
