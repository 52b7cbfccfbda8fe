// Runs: what is asked, what is kept, what is tried again, and where a budget ends it.
#include "shoal/evaluation/run.h"

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace shoal::evaluation {
namespace {

namespace fs = std::filesystem;

Suite suite_of(std::size_t rows) {
  Suite out;
  out.name = "s";
  out.grader.kind = GraderKind::kExact;
  for (std::size_t i = 0; i < rows; ++i) {
    SuiteRow row;
    row.id = std::to_string(i);
    row.prompt = "question " + std::to_string(i);
    row.gold.answers = {"yes"};
    out.rows.push_back(std::move(row));
  }
  return out;
}

struct RunTest : testing::Test {
  void SetUp() override { fs::remove_all(folder); }
  void TearDown() override { fs::remove_all(folder); }

  // Says yes to everything, for 0.1 USD.
  Server yes() {
    return {.identity = [](const std::string& route) -> Result<std::string> { return route + "!"; },
            .most_usd = [](const std::string&) -> Result<double> { return 0.25; },
            .ask = [this](const std::string& body) -> Result<Answer> {
              const std::lock_guard lock(mutex);
              ++asked[body];
              return Answer{.text = "yes", .cost_usd = 0.125, .decision = "local"};
            },
            .alive = [] { return true; },
            .interrupted = [] { return false; }};
  }
  std::size_t requests() const {
    std::size_t all = 0;
    for (const auto& [body, times] : asked) all += times;
    return all;
  }
  Result<RunResult> run(const Suite& suite, RunOptions options, const Server& server) {
    if (options.routes.empty()) options.routes = {"a"};
    options.backoff_ms = 1;
    auto journal = AnswerJournal::open(folder);
    EXPECT_TRUE(journal.ok());
    return run_suite(suite, options, server, **journal);
  }

  const fs::path folder = fs::path(testing::TempDir()) / ("run_" + std::to_string(::getpid()));
  std::mutex mutex;
  std::map<std::string, std::size_t> asked;
};

TEST_F(RunTest, AsksEachQuestionOncePerRouteAndNeverAgain) {
  const Suite suite = suite_of(20);
  auto first = run(suite, {.routes = {"a", "b"}}, yes());
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first->asked, 40U);
  EXPECT_EQ(requests(), 40U);
  EXPECT_EQ(asked.size(), 40U);
  EXPECT_EQ(first->ended, Ended::kComplete);
  ASSERT_TRUE(grade_all(suite, 4, *first).ok());
  EXPECT_TRUE(first->routes[1].rows[19].grade->right);
  const auto again = run(suite, {.routes = {"a", "b"}}, yes());
  EXPECT_EQ(again->asked, 0U);
  EXPECT_EQ(again->kept, 40U);
  EXPECT_EQ(requests(), 40U);
  EXPECT_EQ(again->routes[0].rows[7].answer, first->routes[0].rows[7].answer);
  EXPECT_EQ(run(suite, {.routes = {"a"}, .limit = 3, .fresh = true}, yes())->asked, 3U);
}

TEST_F(RunTest, WhatTheAnswerDependsOnIsInItsKey) {
  Suite suite = suite_of(3);
  ASSERT_TRUE(run(suite, {}, yes()).ok());
  suite.ask.max_tokens = 7;
  EXPECT_EQ(run(suite, {}, yes())->asked, 3U) << "another request";
  Server other = yes();
  other.identity = [](const std::string&) -> Result<std::string> { return "new weights"; };
  EXPECT_EQ(run(suite, {}, other)->asked, 3U) << "another model";
  suite.rows[0].gold.answers = {"no"};
  EXPECT_EQ(run(suite, {}, other)->asked, 0U) << "gold is not asked";
}

TEST_F(RunTest, ALineThatWasCutOffIsAskedAgain) {
  const Suite suite = suite_of(5);
  ASSERT_TRUE(run(suite, {.parallel = 1}, yes()).ok());
  fs::resize_file(folder / "answers.jsonl", fs::file_size(folder / "answers.jsonl") - 9);
  EXPECT_EQ(run(suite, {}, yes())->asked, 1U);
  EXPECT_EQ(run(suite, {}, yes())->asked, 0U);
}

TEST_F(RunTest, AQuestionThatIsRepeatedIsAskedOnce) {
  Suite suite = suite_of(4);
  suite.rows[3].prompt = suite.rows[0].prompt;
  const auto result = run(suite, {}, yes());
  EXPECT_EQ(requests(), 3U);
  EXPECT_TRUE(result->routes[0].rows[3].asked);
  EXPECT_EQ(result->routes[0].rows[3].answer.text, "yes");
}

TEST_F(RunTest, FailuresAreTriedAgainThenRecordedAndNeverWrong) {
  const Suite suite = suite_of(6);
  std::atomic<int> calls = 0;
  Server flaky = yes();
  flaky.ask = [&](const std::string& body) -> Result<Answer> {
    ++calls;
    if (body.find("question 2") != std::string::npos) return Error(ErrorCode::kOverloaded, "full");
    if (body.find("question 3") != std::string::npos) return Error(ErrorCode::kContextLengthExceeded, "long");
    return Answer{.text = "yes"};
  };
  auto result = run(suite, {.attempts = 3}, flaky);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(calls, 4 + 3 + 1);
  EXPECT_EQ(result->errors, 2U);
  ASSERT_TRUE(grade_all(suite, 2, *result).ok());
  EXPECT_EQ(result->routes[0].rows[2].answer.error, "overloaded: full");
  EXPECT_FALSE(result->routes[0].rows[2].grade);
  EXPECT_EQ(run(suite, {}, yes())->asked, 2U) << "what failed is asked again";
}

TEST_F(RunTest, AServerThatIsGoneEndsTheRun) {
  Server gone = yes();
  gone.ask = [](const std::string&) -> Result<Answer> { return Error(ErrorCode::kUnreachable, "gone"); };
  gone.alive = [] { return false; };
  const auto result = run(suite_of(6), {.attempts = 2}, gone);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), ErrorCode::kUnreachable);
}

TEST_F(RunTest, ABudgetIsNeverPassed) {
  const auto result = run(suite_of(50), {.parallel = 8, .max_usd = 1.0}, yes());
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->ended, Ended::kBudget);
  // 7 at 0.125: the next might cost 0.25 and pass 1.
  EXPECT_EQ(result->asked, 7U);
  EXPECT_LE(result->spent_usd, 1.0);
  EXPECT_FALSE(result->routes[0].rows[49].asked);
  EXPECT_EQ(run(suite_of(50), {}, yes())->kept, 7U) << "it goes on";
}

TEST_F(RunTest, RequestsUnderWayAreInTheBudgetToo) {
  Server slow = yes();
  slow.ask = [](const std::string&) -> Result<Answer> {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return Answer{.text = "yes", .cost_usd = 0.25};
  };
  const auto result = run(suite_of(50), {.parallel = 8, .max_usd = 1.0}, slow);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->asked, 4U);
  EXPECT_EQ(result->spent_usd, 1.0);
}

TEST_F(RunTest, AnInterruptKeepsWhatIsThere) {
  Server server = yes();
  std::atomic<int> looks = 0;
  server.interrupted = [&] { return ++looks > 10; };
  const auto result = run(suite_of(50), {.parallel = 1}, server);
  EXPECT_EQ(result->ended, Ended::kInterrupted);
  EXPECT_EQ(result->asked, 10U);
}

TEST_F(RunTest, TwoRunsDoNotShareAFolder) {
  const auto first = AnswerJournal::open(folder);
  ASSERT_TRUE(first.ok());
  const auto second = AnswerJournal::open(folder);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), ErrorCode::kAlreadyExists);
}

TEST_F(RunTest, ALineThatLostItsAnswerIsNoWrongAnswer) {
  const Suite suite = suite_of(3);
  ASSERT_TRUE(run(suite, {.parallel = 1}, yes()).ok());
  std::string all;
  {
    std::ifstream in(folder / "answers.jsonl");
    all.assign(std::istreambuf_iterator<char>(in), {});
  }
  const std::string good = R"("answer":"yes")";
  for (const std::string broken :
       {R"("answer":5)", R"("answer":null)", R"("error":"")", R"("anxwer":"yes")", "\"answer\":\"\xFF\""}) {
    std::string spoilt = all;
    spoilt.replace(spoilt.find(good), good.size(), broken);
    std::ofstream(folder / "answers.jsonl", std::ios::trunc) << spoilt;
    EXPECT_EQ(AnswerJournal::open(folder).value()->damaged(), 1U) << broken;
    EXPECT_EQ(run(suite, {}, yes())->asked, 1U) << broken;
  }
}

TEST_F(RunTest, NumbersThatAreNoneDoNoHarm) {
  fs::create_directories(folder);
  std::ofstream(folder / "answers.jsonl") << R"({"key":"k","answer":"a","prompt_tokens":1e300,"completion_tokens":"x"})"
                                          << "\n";
  const auto journal = AnswerJournal::open(folder);
  const auto found = (*journal)->find("k");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->prompt_tokens, 0);
  EXPECT_EQ(found->completion_tokens, 0);
}

TEST_F(RunTest, AnAttemptThatMayHaveCostSomethingIsInTheBudget) {
  Server failing = yes();
  std::atomic<int> calls = 0;
  failing.ask = [&](const std::string&) -> Result<Answer> {
    ++calls;
    return Error(ErrorCode::kUpstreamFailed, "it broke in the middle");
  };
  const auto result = run(suite_of(5), {.parallel = 1, .max_usd = 0.5, .attempts = 20}, failing);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(calls, 2) << "at 0.25 each";
  EXPECT_EQ(result->ended, Ended::kBudget);
  calls = 0;
  failing.ask = [&](const std::string&) -> Result<Answer> {
    ++calls;
    return Error(ErrorCode::kOverloaded, "the queue is full");
  };
  EXPECT_EQ(run(suite_of(1), {.parallel = 1, .max_usd = 0.5, .attempts = 6}, failing)->spent_usd, 0);
  EXPECT_EQ(calls, 6) << "what was refused costs nothing";
}

TEST_F(RunTest, TheServersOwnBudgetEndsTheRun) {
  Server poor = yes();
  std::atomic<int> calls = 0;
  poor.ask = [&](const std::string&) -> Result<Answer> {
    if (++calls > 3) return Error(ErrorCode::kBudgetExhausted, "the budget of this key is used up");
    return Answer{.text = "yes"};
  };
  const auto result = run(suite_of(50), {.parallel = 1}, poor);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), ErrorCode::kBudgetExhausted);
  EXPECT_EQ(calls, 4) << "the others are not failed one by one";
  EXPECT_EQ(run(suite_of(50), {}, yes())->kept, 3U);
}

TEST_F(RunTest, GradingCanBeInterrupted) {
  const Suite suite = suite_of(20);
  auto result = run(suite, {}, yes());
  std::atomic<int> looks = 0;
  ASSERT_TRUE(grade_all(suite, 1, *result, [&] { return ++looks > 5; }).ok());
  EXPECT_EQ(result->ended, Ended::kInterrupted);
  EXPECT_TRUE(result->routes[0].rows[4].grade);
  EXPECT_FALSE(result->routes[0].rows[5].grade);
  EXPECT_EQ(result->routes[0].rows[5].ungraded, "interrupted before it was graded");
}

}  // namespace
}  // namespace shoal::evaluation
