// Wait, keep or escalate: at the K-th token, at the end of an answer, when the time is over, and never before it is
// sure.
#include "shoal/routing/prefix_judge.h"

#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "unit/routing/tables.h"

namespace shoal::routing {
namespace {

types::Token token(double logprob) {
  types::Token out;
  out.logprob = static_cast<float>(logprob);
  return out;
}
double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

// The confidence is sigmoid(3 + 10 * mean) after three tokens, and sigmoid(3 + 5 * mean) at the end.
struct PrefixJudgeTest : testing::Test {
  Table prefix = table_of({.mean = 10}, 3, 3);
  Table whole = table_of({.mean = 5}, 3);
  JudgeOptions options{.commit_tokens = 3, .tables = {.prefix = &prefix, .whole = &whole, .gap = {}}};

  static Verdict feed(PrefixJudge& judge, const std::vector<double>& logprobs, std::size_t answer = 0) {
    Verdict verdict = judge.verdict();
    for (const double logprob : logprobs) verdict = judge.add(answer, token(logprob));
    return verdict;
  }
};

TEST_F(PrefixJudgeTest, ADecisionFallsAtTheKthTokenByTheTableOfThatMany) {
  PrefixJudge judge(options);
  EXPECT_EQ(feed(judge, {-0.1, -0.1}), Verdict::kWait);
  EXPECT_EQ(feed(judge, {-0.1}), Verdict::kKeep);
  EXPECT_NEAR(*judge.confidence(), sigmoid(2), 1e-6);
  EXPECT_EQ(judge.reason(), (types::Reason{"confidence", "0.88", "at least 0.80", "keep"}));
}

TEST_F(PrefixJudgeTest, OneThatIsNotSureEscalatesWithItsConfidence) {
  PrefixJudge judge(options);
  EXPECT_EQ(feed(judge, {0, 0, -0.6}), Verdict::kEscalate);
  EXPECT_NEAR(*judge.confidence(), sigmoid(1), 1e-6);
  EXPECT_EQ(judge.reason(), (types::Reason{"confidence", "0.73", "at least 0.80", "escalate"}));
  EXPECT_EQ(judge.finish(0), Verdict::kEscalate) << "a verdict stays";
}

TEST_F(PrefixJudgeTest, TheThresholdItselfIsSureEnough) {
  prefix = table_of({}, 0, 3);
  options.threshold = 0.5;
  PrefixJudge judge(options);
  EXPECT_EQ(feed(judge, {-1, -1, -1}), Verdict::kKeep);
}

TEST_F(PrefixJudgeTest, AnAnswerThatEndsBeforeHasTheTableOfCompleteOnes) {
  PrefixJudge judge(options);
  feed(judge, {-0.1, -0.1});
  EXPECT_EQ(judge.finish(0), Verdict::kKeep);
  EXPECT_NEAR(*judge.confidence(), sigmoid(2.5), 1e-6);
}

TEST_F(PrefixJudgeTest, AScoreFromElsewhereDecidesBeforeAnyToken) {
  PrefixJudge sure(options);
  EXPECT_EQ(sure.scored(0, 0.8), Verdict::kKeep);
  EXPECT_EQ(*sure.confidence(), 0.8);
  EXPECT_EQ(sure.reason(), (types::Reason{"confidence", "0.80", "at least 0.80", "keep"}));
  EXPECT_EQ(feed(sure, {-9, -9, -9}), Verdict::kKeep) << "its tokens say nothing more";
  EXPECT_EQ(sure.finish(0), Verdict::kKeep);
  PrefixJudge unsure(options);
  EXPECT_EQ(unsure.scored(0, 0.79), Verdict::kEscalate);
  EXPECT_EQ(*unsure.confidence(), 0.79);
  EXPECT_EQ(unsure.scored(0, 1), Verdict::kEscalate) << "a verdict stays";
}

TEST_F(PrefixJudgeTest, AScoreThatIsNotKnownIsKeptOrNotAsAsked) {
  PrefixJudge strict(options);
  EXPECT_EQ(strict.scored(0, std::nullopt, "a certificate"), Verdict::kEscalate);
  EXPECT_FALSE(strict.confidence());
  EXPECT_EQ(strict.reason(), (types::Reason{"confidence", "null", "a certificate", "escalate"}));
  options.keep_unknown = true;
  PrefixJudge lenient(options);
  EXPECT_EQ(lenient.scored(0, std::nullopt, "a certificate"), Verdict::kKeep);
  EXPECT_FALSE(lenient.confidence());
  EXPECT_EQ(lenient.reason(), (types::Reason{"confidence", "null", "a certificate", "keep"}));
}

TEST_F(PrefixJudgeTest, ItGivesUpEarlyOnlyWhereNoRestOfTheAnswerWouldDo) {
  PrefixJudge judge(options);
  // At -0.4: three tokens with two certain ones give sigmoid(3 - 4 / 3) = 0.84; as a complete answer sigmoid(1) = 0.73.
  EXPECT_EQ(feed(judge, {-0.4}), Verdict::kWait);
  // At -0.5 over two: at the third at most sigmoid(3 - 5 / 3) = 0.79, as a complete answer sigmoid(3 - 1.25) = 0.85.
  EXPECT_EQ(feed(judge, {-0.1}), Verdict::kWait) << "it may end here";
  PrefixJudge hopeless(options);
  EXPECT_EQ(feed(hopeless, {-2}), Verdict::kEscalate);
  EXPECT_EQ(hopeless.reason().value, "at most 0.11") << "as two tokens, the second one certain: the mean is -1";
}

TEST_F(PrefixJudgeTest, GivingUpEarlyChangesNoDecision) {
  std::mt19937 random(7);
  std::exponential_distribution<double> surprise(4);
  std::uniform_real_distribution<double> weight(0, 6);
  std::uniform_int_distribution<int> length(1, 9);
  int early = 0;
  for (int round = 0; round < 20'000; ++round) {
    options.commit_tokens = length(random);
    prefix = table_of({weight(random), weight(random), weight(random), 0}, weight(random), options.commit_tokens);
    whole = table_of({weight(random), weight(random), weight(random), weight(random) - 3}, weight(random));
    std::vector<double> logprobs(static_cast<std::size_t>(length(random)));
    Statistic head;
    Statistic all;
    for (double& logprob : logprobs) {
      logprob = -surprise(random);
      all.add(static_cast<float>(logprob));
      if (head.tokens < options.commit_tokens) head.add(static_cast<float>(logprob));
    }
    const bool by_prefix = head.tokens == options.commit_tokens;
    const double sure = by_prefix ? prefix.confidence(head) : whole.confidence(all);
    PrefixJudge judge(options);
    const bool given_up = feed(judge, logprobs) == Verdict::kEscalate && judge.reason().value.starts_with("at most");
    judge.finish(0);
    early += given_up ? 1 : 0;
    ASSERT_EQ(judge.verdict(), sure >= options.threshold ? Verdict::kKeep : Verdict::kEscalate) << round;
    if (given_up) {
      ASSERT_GE(*judge.confidence() + 1e-8, sure) << round;
    }
  }
  EXPECT_GT(early, 1000);
}

TEST_F(PrefixJudgeTest, OfSeveralAnswersTheLeastSureCounts) {
  options.answers = 2;
  PrefixJudge judge(options);
  EXPECT_EQ(feed(judge, {-0.1, -0.1, -0.1}, 0), Verdict::kWait) << "the other one is not judged yet";
  EXPECT_EQ(feed(judge, {0, 0, 0}, 1), Verdict::kKeep);
  EXPECT_NEAR(*judge.confidence(), sigmoid(2), 1e-6);
  PrefixJudge other(options);
  feed(other, {0, 0, 0}, 0);
  EXPECT_EQ(feed(other, {0, 0, -0.6}, 1), Verdict::kEscalate);
  EXPECT_NEAR(*other.confidence(), sigmoid(1), 1e-6);
}

TEST_F(PrefixJudgeTest, MoreTokensAfterItsDecisionDoNotChangeAnAnswer) {
  options.answers = 2;
  PrefixJudge judge(options);
  feed(judge, {0, 0, 0, -9, -9, -9}, 0);
  judge.finish(0);
  EXPECT_EQ(feed(judge, {0, 0, 0}, 1), Verdict::kKeep);
}

TEST_F(PrefixJudgeTest, WhenTheTimeIsOverFewerTokensAreNotSure) {
  PrefixJudge none(options);
  EXPECT_EQ(none.late(), Verdict::kEscalate);
  EXPECT_FALSE(none.confidence());
  EXPECT_EQ(none.reason(), (types::Reason{"commit_ms", "1500", "3 tokens by then", "escalate"}));
  PrefixJudge two(options);
  feed(two, {0, 0});
  EXPECT_EQ(two.late(), Verdict::kEscalate);
  options.keep_unknown = true;
  PrefixJudge kept(options);
  EXPECT_EQ(kept.late(), Verdict::kEscalate) << "what is kept without a table must still be there in time";
}

TEST_F(PrefixJudgeTest, AWholeAnswerIsJudgedWhenItIsWhole) {
  options.streams = false;
  PrefixJudge judge(options);
  EXPECT_EQ(feed(judge, {-0.1, -0.1, -0.1}), Verdict::kWait);
  EXPECT_EQ(judge.late(), Verdict::kWait) << "it came as far as it must in that time";
  EXPECT_EQ(feed(judge, {-1.1}), Verdict::kWait);
  EXPECT_EQ(judge.finish(0), Verdict::kEscalate);
  EXPECT_NEAR(*judge.confidence(), sigmoid(3 - 5 * 1.4 / 4), 1e-5);
  PrefixJudge fine(options);
  feed(fine, {-0.1, -0.1, -0.1, 0});
  EXPECT_EQ(fine.finish(0), Verdict::kKeep);
  EXPECT_NEAR(*fine.confidence(), sigmoid(3 - 5 * 0.3 / 4), 1e-5);
}

TEST_F(PrefixJudgeTest, AWholeAnswerMayFallAtItsPrefix) {
  options.streams = false;
  PrefixJudge judge(options);
  EXPECT_EQ(feed(judge, {0, 0, -0.6}), Verdict::kEscalate);
  options.tables.prefix = nullptr;
  PrefixJudge without(options);
  EXPECT_EQ(feed(without, {-2, -2, -2}), Verdict::kWait) << "what follows may be certain";
  EXPECT_EQ(without.finish(0), Verdict::kEscalate);
}

TEST_F(PrefixJudgeTest, WhereNoTableIsForItTheRouteDecides) {
  options.tables.prefix = nullptr;
  PrefixJudge judge(options);
  EXPECT_EQ(feed(judge, {0, 0, 0}), Verdict::kEscalate);
  EXPECT_FALSE(judge.confidence());
  EXPECT_EQ(judge.reason(), (types::Reason{"confidence", "null", "a table for the first tokens", "escalate"}));
  options.keep_unknown = true;
  PrefixJudge kept(options);
  EXPECT_EQ(feed(kept, {-9, -9, -9}), Verdict::kKeep);
  EXPECT_FALSE(kept.confidence());
  EXPECT_EQ(kept.reason().effect, "keep");
  PrefixJudge empty(options);
  EXPECT_EQ(empty.finish(0), Verdict::kKeep);
  EXPECT_FALSE(empty.confidence()) << "no token says nothing";
  options.keep_unknown = false;
  PrefixJudge nothing(options);
  EXPECT_EQ(nothing.finish(0), Verdict::kEscalate);
}

TEST_F(PrefixJudgeTest, OneAnswerWithoutATableLeavesAllWithoutAConfidence) {
  options.tables.prefix = nullptr;
  options.keep_unknown = true;
  options.answers = 2;
  PrefixJudge judge(options);
  feed(judge, {0, 0, 0}, 0);
  feed(judge, {0}, 1);
  EXPECT_EQ(judge.finish(1), Verdict::kKeep);
  EXPECT_FALSE(judge.confidence());
  EXPECT_EQ(judge.reason().value, "null");
}

TEST_F(PrefixJudgeTest, WhatIsShownIsRoundedDownAndTheThresholdIsShownWhole) {
  prefix = table_of({}, std::log(0.7999 / 0.2001), 3);
  PrefixJudge judge(options);
  feed(judge, {0, 0, 0});
  EXPECT_EQ(judge.reason().value.substr(judge.reason().value.size() - 4), "0.79");
  options.threshold = 0.805;
  PrefixJudge other(options);
  feed(other, {0, 0, 0});
  EXPECT_EQ(other.reason().rule, "at least 0.805");
}

// What a certificate is made from is what the judge does, for every answer, mode and threshold.
TEST_F(PrefixJudgeTest, KeepsUpToTheDecisiveConfidence) {
  std::mt19937 random(7);
  std::uniform_real_distribution<float> logprob(-0.8F, 0.0F);
  std::uniform_real_distribution<double> threshold(0.3, 0.95);
  int kept = 0;
  for (int i = 0; i < 4'000; ++i) {
    options.streams = i % 2 == 0;
    options.tables.prefix = i % 5 == 0 ? nullptr : &prefix;
    options.tables.whole = i % 7 == 0 ? nullptr : &whole;
    options.threshold = threshold(random);
    std::vector<float> logprobs(random() % 7);
    for (float& one : logprobs) one = logprob(random);
    PrefixJudge judge(options);
    for (const float one : logprobs) judge.add(0, token(one));
    const Verdict verdict = judge.finish(0);
    const auto decisive = decisive_confidence(options.tables, options.streams, options.commit_tokens, logprobs);
    EXPECT_EQ(verdict == Verdict::kKeep, decisive && *decisive >= options.threshold) << i;
    kept += verdict == Verdict::kKeep ? 1 : 0;
  }
  EXPECT_GT(kept, 400);
  EXPECT_LT(kept, 3'200);
}

// The confidence of a whole answer is sigmoid(3 + 5 * mean), and 4 less in log-odds where a sum is wrong.
struct ChecksJudgeTest : PrefixJudgeTest {
  ChecksJudgeTest() {
    whole.checks = {{.check = Check::kWrong, .center = 0.25, .spread = 0.5, .weight = -2},
                    {.check = Check::kCut, .center = 0, .spread = 1, .weight = 1}};
    whole.logistic.bias = 3 - 1;  // of what the first adds where it is 0
    options.streams = false;
    options.tables.prefix = nullptr;
    options.prompts = {"What is 2 + 2?"};
  }
};

TEST_F(ChecksJudgeTest, WhatTheySeeCountsAtTheEnd) {
  PrefixJudge good(options);
  good.add(0, token(0), "2 + 2 ");
  EXPECT_EQ(good.add(0, token(0), "= 4"), Verdict::kWait);
  EXPECT_EQ(good.finish(0), Verdict::kKeep);
  EXPECT_NEAR(*good.confidence(), sigmoid(3), 1e-6);
  EXPECT_TRUE(good.checks().empty()) << "they saw nothing";
  PrefixJudge bad(options);
  bad.add(0, token(0), "2 + 2 ");
  bad.add(0, token(0), "= ");
  EXPECT_EQ(bad.finish(0, "5", true), Verdict::kEscalate) << "the last piece belongs to it";
  EXPECT_NEAR(*bad.confidence(), sigmoid(3 - 4 + 1), 1e-6);
  ASSERT_EQ(bad.checks().size(), 2U);
  EXPECT_EQ(bad.checks()[0], (types::Reason{"check wrong", "1.00", "log-odds of being right", "-4.00"}));
  EXPECT_EQ(bad.checks()[1], (types::Reason{"check cut", "1.00", "log-odds of being right", "+1.00"}));
}

TEST_F(ChecksJudgeTest, AreThoseOfTheLeastSureAnswer) {
  options.answers = 2;
  options.threshold = 0.1;
  PrefixJudge judge(options);
  judge.add(0, token(0), "2 + 2 = 5");
  judge.add(1, token(0), "2 + 2 = 4");
  judge.finish(0);
  EXPECT_EQ(judge.finish(1), Verdict::kKeep);
  EXPECT_NEAR(*judge.confidence(), sigmoid(-1), 1e-6);
  EXPECT_EQ(judge.checks().size(), 1U);
}

TEST_F(ChecksJudgeTest, AnEarlyEndAllowsForWhateverTheySee) {
  options.threshold = 0.97;
  options.tables.prefix = &prefix;
  options.streams = true;
  prefix = table_of({}, -9, 3);  // no stream is kept at its third token
  PrefixJudge judge(options);
  // sigmoid(3) is less than the threshold; with an answer that was cut off it would be sigmoid(4).
  EXPECT_EQ(judge.add(0, token(0), "4"), Verdict::kWait);
  EXPECT_EQ(judge.finish(0, "", true), Verdict::kKeep);
  whole.checks[1].weight = 0;
  PrefixJudge sure(options);
  EXPECT_EQ(sure.add(0, token(0), "4"), Verdict::kEscalate);
}

TEST_F(ChecksJudgeTest, TheBenchSaysWhatTheServerDoes) {
  const std::vector<float> logprobs = {-0.1F, -0.4F};
  PrefixJudge judge(options);
  judge.add(0, token(logprobs[0]), "2 + 2 = ");
  judge.add(0, token(logprobs[1]), "5");
  judge.finish(0);
  const Checks seen = AnswerReader().read({.prompt = "What is 2 + 2?"}, "2 + 2 = 5");
  EXPECT_EQ(judge.confidence(), decisive_confidence(options.tables, false, 3, logprobs, &seen)) << "bit for bit";
}

TEST(LastAsked, IsWhatTheUserSaidLast) {
  const std::vector<types::Message> messages = {{.role = types::Role::kUser, .content = "one", .name = ""},
                                                {.role = types::Role::kAssistant, .content = "two", .name = ""},
                                                {.role = types::Role::kUser, .content = "three", .name = ""},
                                                {.role = types::Role::kTool, .content = "four", .name = ""}};
  EXPECT_EQ(last_asked(messages), "three");
  EXPECT_EQ(last_asked({}), "");
}

}  // namespace
}  // namespace shoal::routing
