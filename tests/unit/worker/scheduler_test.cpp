// The scheduler over a fake model that counts: token i + 1 follows token i, so every answer can be predicted.
#include "shoal/worker/scheduler.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <limits>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "fake_model.h"
#include "moved_clock.h"

namespace shoal::worker {
namespace {

class SchedulerTest : public testing::Test {
 protected:
  SchedulerTest() : model(small_shape()) {}

  void post(std::uint64_t id, ipc::Body body, std::int64_t deadline_ns = std::numeric_limits<std::int64_t>::max()) {
    ipc::Frame frame;
    frame.header.request = id;
    frame.header.deadline_ns = deadline_ns;
    frame.body = std::move(body);
    scheduler.post(std::move(frame));
  }
  static ipc::Generate ask(std::vector<std::int32_t> prompt, std::int32_t max_tokens, std::uint32_t credits = 1000) {
    ipc::Generate request;
    request.prompt = std::move(prompt);
    request.max_tokens = max_tokens;
    request.credits = credits;
    request.sampling.temperature = 0;
    return request;
  }
  // The tokens that another model answers, alone.
  std::vector<std::int32_t> answer_of(FakeModel& other, const ipc::Generate& request, bool speculates) {
    std::vector<std::int32_t> answer;
    const auto take = [&answer](std::uint64_t, const ipc::Body& b) {
      if (const auto* token = std::get_if<ipc::TokenFrame>(&b)) answer.push_back(token->token.id);
    };
    Scheduler alone(other, clock, take, {.seed = 1, .cold_cache_bytes = 0, .speculates = speculates});
    ipc::Frame frame;
    frame.header.request = 1;
    frame.header.deadline_ns = std::numeric_limits<std::int64_t>::max();
    frame.body = request;
    alone.post(frame);
    frame.body = ipc::Drain{};
    alone.post(frame);
    alone.run();
    return answer;
  }
  // Runs until everything is answered.
  void drain() {
    post(0, ipc::Drain{});
    scheduler.run();
  }
  void take(std::uint64_t request, const ipc::Body& body) {
    if (const auto* token = std::get_if<ipc::TokenFrame>(&body)) tokens[request].push_back(token->token.id);
    if (const auto* done = std::get_if<ipc::Finished>(&body)) finished[request] = *done;
    if (const auto* bad = std::get_if<ipc::Failed>(&body)) failed[request] = *bad;
    if (on_frame) on_frame(request, body);
  }

  MovedClock clock;
  FakeModel model;
  std::map<std::uint64_t, std::vector<std::int32_t>> tokens;
  std::map<std::uint64_t, ipc::Finished> finished;
  std::map<std::uint64_t, ipc::Failed> failed;
  std::function<void(std::uint64_t, const ipc::Body&)> on_frame;
  Scheduler scheduler{model, clock, [this](std::uint64_t r, const ipc::Body& b) { take(r, b); }, {1, 0, true}};
};

TEST_F(SchedulerTest, CountsOnFromThePrompt) {
  post(1, ask({5, 6, 7}, 4));
  drain();
  EXPECT_EQ(tokens[1], (std::vector<std::int32_t>{8, 9, 10, 11}));
  EXPECT_EQ(finished[1].usage.prompt_tokens, 3);
  EXPECT_EQ(finished[1].usage.completion_tokens, 4);
  EXPECT_EQ(finished[1].reason, types::FinishReason::kLength);
  EXPECT_EQ(finished[1].text, "");
}

TEST_F(SchedulerTest, StopsAtTheEndTokenWithoutSendingIt) {
  post(1, ask({996}, 20));
  drain();
  EXPECT_EQ(tokens[1], (std::vector<std::int32_t>{997, 998}));
  EXPECT_EQ(finished[1].reason, types::FinishReason::kStop);
  EXPECT_EQ(finished[1].usage.completion_tokens, 3) << "the end token was computed too";
}

TEST_F(SchedulerTest, IgnoreEosNeverChoosesTheEnd) {
  auto request = ask({998}, 3);
  request.ignore_eos = true;
  post(1, request);
  drain();
  ASSERT_EQ(tokens[1].size(), 3U);
  EXPECT_EQ(std::ranges::count(tokens[1], kEnd), 0);
}

TEST_F(SchedulerTest, ALongPromptIsChunkedAndOthersDecodeInTheSameSteps) {
  post(1, ask({1}, 12));
  std::vector<std::int32_t> prompt(30);
  for (std::size_t i = 0; i < prompt.size(); ++i) prompt[i] = static_cast<std::int32_t>(100 + i);
  post(2, ask(prompt, 2));
  drain();
  EXPECT_EQ(tokens[1].size(), 12U);
  EXPECT_EQ(tokens[2], (std::vector<std::int32_t>{130, 131}));
  int mixed = 0;
  for (const auto& batch : model.batches) {
    const bool one = std::ranges::any_of(batch, [](const auto& t) { return t.sequence == 0; });
    const bool two = std::ranges::any_of(batch, [](const auto& t) { return t.sequence == 1; });
    mixed += one && two;
  }
  EXPECT_GE(mixed, 4) << "30 tokens in chunks of 7 beside one decoding token";
}

TEST_F(SchedulerTest, TellsOfWorkInsideAStepAndNotOfHeartbeats) {
  model.on_node = [this] { clock.moved_ns += 600'000'000; };
  std::vector<std::string> told;
  on_frame = [&told](std::uint64_t, const ipc::Body& body) {
    if (const auto* stats = std::get_if<ipc::Stats>(&body)) told.push_back(std::to_string(stats->work));
    if (std::holds_alternative<ipc::Pong>(body)) told.emplace_back("pong");
    if (std::holds_alternative<ipc::TokenFrame>(body)) told.emplace_back("token");
  };
  post(0, ipc::Ping{});
  post(1, ask({1, 2}, 1));
  drain();
  EXPECT_EQ(told, (std::vector<std::string>{"pong", "1", "2", "3", "token"}));
}

TEST_F(SchedulerTest, AdmitsOnlyWhatTheCacheHoldsToTheEnd) {
  for (std::uint64_t id = 1; id <= 6; ++id)
    post(id, ask({static_cast<std::int32_t>(id * 50)}, 39));  // 40 cells each, of 64
  drain();
  for (std::uint64_t id = 1; id <= 6; ++id) EXPECT_EQ(tokens[id].size(), 39U) << id;
}

TEST_F(SchedulerTest, TwoThatFillTheCacheToItsLastCellRunTogether) {
  post(1, ask({1}, 39));
  post(2, ask({200}, 23));  // 40 + 24 of 64
  drain();
  const bool together = std::ranges::any_of(
      model.batches, [](const auto& batch) { return batch.size() == 2 && batch[0].sequence != batch[1].sequence; });
  EXPECT_TRUE(together);
}

TEST_F(SchedulerTest, ManyMoreThanRunAreQueuedAndTheRestIsRefused) {
  for (std::uint64_t id = 1; id <= 1025; ++id) post(id, ask({1}, 1));
  drain();
  EXPECT_EQ(finished.size(), 1024U);
  EXPECT_EQ(failed.size(), 1U);
  EXPECT_EQ(failed[1025].code, ErrorCode::kOverloaded);
}

TEST_F(SchedulerTest, TheSoonestDeadlineGoesFirst) {
  const std::int64_t near = clock.monotonic_ns() + FairQueue::kNearNs / 2;
  std::vector<std::uint64_t> order;
  on_frame = [&order](std::uint64_t r, const ipc::Body& b) {
    if (std::holds_alternative<ipc::Finished>(b)) order.push_back(r);
  };
  post(1, ask({1}, 39));
  post(2, ask({2}, 39), near + 2);
  post(3, ask({3}, 39), near + 1);
  drain();
  EXPECT_EQ(order, (std::vector<std::uint64_t>{3, 2, 1}));
}

TEST_F(SchedulerTest, WhoSendsManyWaitsBehindTheOneOfAnother) {
  std::vector<std::uint64_t> order;
  on_frame = [&order](std::uint64_t r, const ipc::Body& b) {
    if (std::holds_alternative<ipc::Finished>(b)) order.push_back(r);
  };
  for (std::uint64_t id = 1; id <= 6; ++id) {
    auto request = ask({static_cast<std::int32_t>(id * 50)}, 39);
    request.principal = id < 6 ? 1 : 2;
    post(id, request, clock.monotonic_ns() + 600'000'000'000 + static_cast<std::int64_t>(id));
  }
  drain();
  EXPECT_EQ(order, (std::vector<std::uint64_t>{1, 6, 2, 3, 4, 5}));
}

TEST_F(SchedulerTest, AnswersToOnePromptReadItOnceAndComputeItOnce) {
  model.hashes = true;
  for (std::uint64_t id = 1; id <= 3; ++id) post(id, ask({5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, 5));
  post(4, ask({5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17}, 5));
  drain();
  EXPECT_EQ(model.tokenized, 2);
  EXPECT_EQ(tokens[1].size(), 5U);
  EXPECT_EQ(tokens[1], tokens[2]);
  EXPECT_EQ(tokens[1], tokens[3]);
  EXPECT_NE(tokens[1], tokens[4]);
  EXPECT_EQ(finished[1].usage.cached_tokens, 0);
  EXPECT_EQ(finished[2].usage.cached_tokens, 11) << "all but the last, whose logits it wants";
  EXPECT_EQ(finished[4].usage.cached_tokens, 11);
}

TEST_F(SchedulerTest, GuessesMakeAnswersShorterInStepsAndChangeNothingElse) {
  model.cycle = 7;  // 10 ... 16, and again from 10
  model.on_decode = [this] { clock.moved_ns += 1'000'000; };
  const auto steps = [this](std::uint64_t id, const ipc::Generate& request) {
    const std::size_t before = model.batches.size();
    post(id, request);
    drain();
    return model.batches.size() - before;
  };
  const std::size_t taken = steps(1, ask({10}, 39));
  EXPECT_LT(taken, 30U);
  std::vector<std::int32_t> expected;
  for (std::int32_t i = 1; i <= 39; ++i) expected.push_back(10 + i % 7);
  EXPECT_EQ(tokens[1], expected);
  EXPECT_EQ(finished[1].usage.completion_tokens, 39);
}

TEST_F(SchedulerTest, AWrongGuessLeavesNothingBehind) {
  model.hashes = true;  // what follows three tokens depends on all before: every guess is wrong
  model.on_decode = [this] { clock.moved_ns += 1'000'000; };
  const auto request = ask({1, 2, 3, 4, 1, 2, 3, 5, 1, 2, 3}, 25);
  post(1, request);
  drain();
  FakeModel plain(small_shape());
  plain.hashes = true;
  EXPECT_EQ(tokens[1], answer_of(plain, request, /*speculates=*/false));
}

TEST_F(SchedulerTest, WhatCannotBeTakenBackIsNotGuessed) {
  ModelShape shape = small_shape();
  shape.rewind = Rewind::kNever;
  shape.keeps_prefixes = shape.one_cache = shape.shares_cells = false;
  FakeModel recurrent(shape);
  recurrent.cycle = 7;
  recurrent.on_decode = [this] { clock.moved_ns += 1'000'000; };
  EXPECT_EQ(answer_of(recurrent, ask({10}, 30), /*speculates=*/true).size(), 30U);
  EXPECT_EQ(recurrent.batches.size(), 30U);
}

TEST_F(SchedulerTest, PausedWithoutCreditsAndOthersGoOn) {
  post(1, ask({1}, 5, 2));
  post(2, ask({10}, 5));
  on_frame = [this](std::uint64_t r, const ipc::Body& b) {
    if (r == 2 && std::holds_alternative<ipc::Finished>(b)) {
      EXPECT_EQ(tokens[1].size(), 2U);
      post(1, ipc::Credit{10});
    }
  };
  drain();
  EXPECT_EQ(tokens[1], (std::vector<std::int32_t>{2, 3, 4, 5, 6}));
}

TEST_F(SchedulerTest, CreditsAndCancelsReachARequestThatIsQueued) {
  post(1, ask({1}, 39));
  post(2, ask({200}, 30, 1));
  post(3, ask({300}, 30));
  post(2, ipc::Credit{100});
  post(3, ipc::Cancel{});
  drain();
  EXPECT_EQ(tokens[2].size(), 30U);
  EXPECT_FALSE(tokens.contains(3) || finished.contains(3) || failed.contains(3));
}

TEST_F(SchedulerTest, CancelInterruptsTheStepAndFreesThePlace) {
  post(1, ask({1}, 30));
  post(2, ask({50}, 30));
  model.on_decode = [this] {
    if (model.batches.size() == 3) {
      post(1, ipc::Cancel{});
      EXPECT_TRUE(model.interrupted);
      model.next_status = DecodeStatus::kInterrupted;
    }
  };
  drain();
  EXPECT_FALSE(finished.contains(1));
  EXPECT_FALSE(failed.contains(1));
  std::vector<std::int32_t> expected;
  for (std::int32_t i = 51; i <= 80; ++i) expected.push_back(i);
  EXPECT_EQ(tokens[2], expected) << "the survivor's token is sent again, not lost and not doubled";
}

TEST(FairQueueTest, WhoComesFirstForADeadlineMovesNobodyBack) {
  FairQueue queue;
  const auto push = [&queue](std::uint64_t request, std::uint64_t principal, std::int64_t deadline_ns) {
    auto s = std::make_unique<Sequence>(types::SamplingParams(), 0, std::vector<std::string>());
    s->request = request;
    s->principal = principal;
    s->deadline.at_ns = deadline_ns;
    s->prompt_tokens = 1000;
    queue.push(std::move(s));
  };
  const auto next = [&queue] { return queue.pop(*queue.front(0))->request; };
  constexpr std::int64_t kFar = std::numeric_limits<std::int64_t>::max();
  for (std::uint64_t request = 1; request <= 5; ++request) push(request, 7, kFar);
  push(6, 7, FairQueue::kNearNs / 2);
  EXPECT_EQ(next(), 6U);
  push(7, 8, kFar);  // of somebody else, who has had nothing yet
  EXPECT_EQ(next(), 1U);
  EXPECT_EQ(next(), 7U);
  EXPECT_EQ(next(), 2U);
}

TEST_F(SchedulerTest, ACancelOfWhatIsNotComputedInterruptsNobody) {
  post(1, ask({1}, 10));
  post(2, ask({50}, 10));
  post(3, ask({70}, 10));  // waits: two compute at a time
  bool checked = false;
  model.on_decode = [&] {
    if (model.batches.size() != 3) return;
    post(3, ipc::Cancel{});
    post(77, ipc::Cancel{});
    EXPECT_FALSE(model.interrupted);
    checked = true;
  };
  drain();
  EXPECT_TRUE(checked);
  EXPECT_EQ(tokens[1].size(), 10U);
  EXPECT_EQ(tokens[2].size(), 10U);
  EXPECT_FALSE(finished.contains(3));
}

TEST_F(SchedulerTest, AfterAnInterruptedStepTheOthersComeToTheEndOfTheNext) {
  post(1, ask({1}, 30));
  post(2, ask({50}, 30));
  // In each step from the third on, the one that is computed beside the second goes away, and another comes.
  std::vector<bool> interrupted;
  model.on_decode = [&] {
    if (interrupted.size() == 4 || model.batches.size() < 3) return;
    const std::uint64_t beside = interrupted.empty() ? 1 : 2 + interrupted.size();
    post(beside, ipc::Cancel{});
    interrupted.push_back(model.interrupted);
    if (model.interrupted) model.next_status = DecodeStatus::kInterrupted;
    if (interrupted.size() == 4) return post(0, ipc::Drain{});
    post(2 + interrupted.size(), ask({200}, 30));
  };
  scheduler.run();
  EXPECT_EQ(tokens[2].size(), 30U);
  EXPECT_EQ(interrupted, (std::vector<bool>{true, false, true, false}));
}

TEST_F(SchedulerTest, AStepForOneThatIsCancelledDoesNotBegin) {
  std::size_t steps = 0;
  std::vector<std::int32_t> got;
  std::function<void(ipc::Body)> say;
  const auto take = [&](std::uint64_t, const ipc::Body& b) {
    if (const auto* token = std::get_if<ipc::TokenFrame>(&b)) got.push_back(token->token.id);
  };
  // The first time at the end of a round; the second when the next step is planned, and what came before it was read.
  int flushed = 0;
  const auto flush = [&] {
    if (got.size() != 5 || ++flushed != 2) return;
    steps = model.batches.size();
    say(ipc::Cancel{});
  };
  Scheduler alone(model, clock, take, {.seed = 1, .cold_cache_bytes = 0, .speculates = false, .flush = flush});
  say = [&alone](ipc::Body body) {
    ipc::Frame frame;
    frame.header.request = 1;
    frame.header.deadline_ns = std::numeric_limits<std::int64_t>::max();
    frame.body = std::move(body);
    alone.post(std::move(frame));
  };
  ipc::Generate stream = ask({1}, 30);
  stream.streams = true;
  say(stream);
  say(ipc::Drain{});
  alone.run();
  EXPECT_EQ(got.size(), 5U);
  EXPECT_EQ(model.batches.size(), steps);
}

TEST_F(SchedulerTest, AnEmbeddingWhoseCancelCameWithItIsNotComputed) {
  post(1, ipc::Embed{0, {std::string("ab")}});
  post(2, ipc::Embed{0, {std::string("cd")}});
  post(1, ipc::Cancel{});
  drain();
  ASSERT_EQ(model.embedded.size(), 1U);
  EXPECT_EQ(model.embedded[0], (std::vector<std::vector<std::int32_t>>{{'c', 'd'}}));
}

TEST_F(SchedulerTest, AnEmbeddingThatIsInterruptedIsComputedAgainUnlessItsOwnClientWent) {
  std::map<std::uint64_t, int> vectors;
  on_frame = [&](std::uint64_t r, const ipc::Body& b) {
    if (!std::holds_alternative<ipc::Embedding>(b)) return;
    if (++vectors[r]; r == 1) post(2, ipc::Embed{0, {std::string("cd")}});
  };
  model.on_embed = [this] {
    if (model.embedded.size() == 1) post(3, ipc::Cancel{});
    if (model.embedded.size() == 3) {
      post(2, ipc::Cancel{});
      post(0, ipc::Drain{});
    }
  };
  post(1, ipc::Embed{0, {std::string("ab")}});
  post(3, ipc::Embed{0, {std::string("ef")}});
  scheduler.run();
  EXPECT_EQ(vectors, (std::map<std::uint64_t, int>{{1, 1}}));
  EXPECT_EQ(model.embedded.size(), 3U);
  EXPECT_TRUE(failed.empty());
}

TEST_F(SchedulerTest, APassedDeadlineIsAnError) {
  post(1, ask({1}, 30), clock.monotonic_ns() - 1);
  drain();
  EXPECT_EQ(failed[1].code, ErrorCode::kDeadlineExceeded);
  EXPECT_TRUE(tokens[1].empty());
}

TEST_F(SchedulerTest, WhatCannotFitIsRefusedWithTheNumbers) {
  post(1, ask(std::vector<std::int32_t>(40, 1), 1));
  post(2, ask({1}, 40));
  post(3, ask({1}, -1));
  post(4, ask(std::vector<std::int32_t>(39, 1), 1));
  drain();
  EXPECT_EQ(failed[1].code, ErrorCode::kContextLengthExceeded);
  EXPECT_NE(failed[1].message.find("40"), std::string::npos);
  EXPECT_EQ(failed[2].param, "max_tokens");
  EXPECT_EQ(tokens[3].size(), 32U) << "without a limit: its share of the cache, 64 / 2";
  EXPECT_EQ(tokens[4].size(), 1U) << "one token less than the context leaves room for one";
}

TEST_F(SchedulerTest, AFailedStepFailsItsRequestsAndTheNextAnswers) {
  post(1, ask({1}, 5));
  model.next_status = DecodeStatus::kFailed;
  post(2, ask({1}, 5, 1000));
  on_frame = [this](std::uint64_t r, const ipc::Body& b) {
    if (r == 2 && std::holds_alternative<ipc::Failed>(b)) post(3, ask({7}, 2));
  };
  drain();
  EXPECT_EQ(failed[1].code, ErrorCode::kInternal);
  EXPECT_EQ(failed[2].code, ErrorCode::kInternal);
  EXPECT_TRUE(tokens.empty() && finished.empty());
}

TEST_F(SchedulerTest, AFailedStepOfARecurrentModelFailsThoseThatTookNoPartInIt) {
  ModelShape shape = small_shape();
  shape.rewind = Rewind::kNever;
  shape.keeps_prefixes = shape.one_cache = shape.shares_cells = false;
  FakeModel recurrent(shape);
  std::map<std::uint64_t, ErrorCode> errors;
  ipc::Frame frame;
  std::function<void()> cancel_first;
  const auto note = [&](std::uint64_t r, const ipc::Body& b) {
    if (const auto* bad = std::get_if<ipc::Failed>(&b)) errors[r] = bad->code;
    if (r == 2 && std::holds_alternative<ipc::Failed>(b))
      cancel_first();  // were it still there, it would wait for ever
    if (r == 2 && std::holds_alternative<ipc::TokenFrame>(b)) recurrent.next_status = DecodeStatus::kFailed;
  };
  Scheduler both(recurrent, clock, note, {1, 0, true});
  cancel_first = [&] {
    frame.header.request = 1;
    frame.body = ipc::Cancel{};
    both.post(frame);
  };
  frame.header.deadline_ns = std::numeric_limits<std::int64_t>::max();
  frame.header.request = 1;
  frame.body = ask({1}, 5, /*credits=*/0);  // has no credits to go on with
  both.post(frame);
  frame.header.request = 2;
  frame.body = ask({1}, 5);
  both.post(frame);
  frame.body = ipc::Drain{};
  both.post(frame);
  both.run();
  EXPECT_EQ(errors, (std::map<std::uint64_t, ErrorCode>{{1, ErrorCode::kInternal}, {2, ErrorCode::kInternal}}));
}

TEST_F(SchedulerTest, LogitsThatAreNotFiniteAreAnError) {
  model.poison = true;
  post(1, ask({1}, 5));
  drain();
  EXPECT_EQ(failed[1].code, ErrorCode::kNumericFault);
}

TEST_F(SchedulerTest, PingsAreAnsweredThroughTheModel) {
  int pongs = 0;
  on_frame = [&pongs](std::uint64_t, const ipc::Body& b) { pongs += std::holds_alternative<ipc::Pong>(b); };
  post(0, ipc::Ping{});
  post(0, ipc::Ping{});
  drain();
  EXPECT_EQ(pongs, 2);
  ASSERT_EQ(model.batches.size(), 2U);
  EXPECT_EQ(model.batches[0][0].sequence, 2) << "in the scratch sequence";
}

TEST_F(SchedulerTest, EachStepUsesTheThreadsOfTheLeaseAndLessIsTold) {
  std::vector<std::uint32_t> steps;
  std::vector<std::string> told;
  model.on_decode = [&] {
    steps.push_back(model.threads);
    if (steps.size() == 2) post(0, ipc::Lease{1, 8});
    if (steps.size() == 3) post(0, ipc::Lease{3, 9});
  };
  on_frame = [&](std::uint64_t, const ipc::Body& b) {
    if (const auto* held = std::get_if<ipc::LeaseHeld>(&b))
      told.push_back(fmt::format("{} of {} after {} steps", held->threads, held->number, steps.size()));
    if (std::holds_alternative<ipc::Finished>(b)) told.emplace_back("finished");
  };
  post(1, ask({5}, 5));
  post(0, ipc::Lease{2, 7});
  drain();
  EXPECT_EQ(steps, (std::vector<std::uint32_t>{2, 2, 1, 3, 3}));
  EXPECT_EQ(told, (std::vector<std::string>{"1 of 8 after 2 steps", "finished", "0 of 9 after 5 steps"}));
}

TEST_F(SchedulerTest, CoresThatNothingNeedsAreGivenBackAndNotUsedAgain) {
  std::vector<std::string> told;
  on_frame = [&](std::uint64_t request, const ipc::Body& b) {
    if (std::holds_alternative<ipc::Finished>(b)) told.push_back(fmt::format("finished {}", request));
    const auto* held = std::get_if<ipc::LeaseHeld>(&b);
    if (held == nullptr) return;
    told.push_back(fmt::format("{} of {}", held->threads, held->number));
    if (held->number != 1) return;
    post(2, ask({5}, 1));
    post(0, ipc::Tokenize{false, "ab"});
    post(0, ipc::Drain{});
  };
  const auto more = [&](std::uint64_t, const ipc::Body& b) {
    if (!std::holds_alternative<ipc::Tokens>(b)) return;
    told.emplace_back("tokens");  // still answered
    post(0, ipc::Lease{4, 2});
  };
  on_frame = [first = on_frame, more](std::uint64_t request, const ipc::Body& b) {
    first(request, b);
    more(request, b);
  };
  post(0, ipc::Lease{4, 1});
  post(1, ask({5}, 1));
  scheduler.run();
  EXPECT_EQ(told, (std::vector<std::string>{"finished 1", "0 of 1", "tokens", "finished 2", "0 of 2"}));
}

// Nothing is computed, but everything is heard.
TEST_F(SchedulerTest, WithoutCoresItHandlesCancelsDeadlinesAndText) {
  std::mutex mutex;
  std::condition_variable changed;
  std::set<std::string> seen;
  on_frame = [&](std::uint64_t request, const ipc::Body& b) {
    const std::lock_guard lock(mutex);
    seen.insert(fmt::format("{} {}", request, b.index()));
    changed.notify_all();
  };
  const auto index = [](const ipc::Body& body) { return body.index(); };
  const auto wait_for = [&](std::uint64_t request, const ipc::Body& body) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(30),
                            [&] { return seen.contains(fmt::format("{} {}", request, index(body))); });
  };
  clock.moved_ns = 0;
  post(0, ipc::Lease{0, 1});
  post(1, ask({5}, 3));
  post(2, ask({6}, 3));
  post(3, ask({7}, 3), clock.monotonic_ns() - 1);
  post(4, ipc::Embed{0, {std::vector<std::int32_t>{1}}});
  post(5, ipc::Embed{0, {std::vector<std::int32_t>{1}}});
  post(6, ipc::Embed{0, {std::vector<std::int32_t>{1}}}, clock.monotonic_ns() - 1);
  post(0, ipc::Ping{});
  post(1, ipc::Cancel{});
  post(4, ipc::Cancel{});
  post(7, ipc::Tokenize{false, "ab"});
  std::jthread running([&] { scheduler.run(); });
  EXPECT_TRUE(wait_for(7, ipc::Tokens{}));
  EXPECT_TRUE(wait_for(3, ipc::Failed{}));
  EXPECT_TRUE(wait_for(6, ipc::Failed{}));
  {
    const std::lock_guard lock(mutex);
    EXPECT_TRUE(model.batches.empty());
    EXPECT_TRUE(model.embedded.empty());
    EXPECT_FALSE(seen.contains(fmt::format("0 {}", index(ipc::Pong{}))));
  }
  post(0, ipc::Lease{1, 2});
  EXPECT_TRUE(wait_for(2, ipc::Finished{}));
  EXPECT_TRUE(wait_for(5, ipc::Embedding{}));
  EXPECT_TRUE(wait_for(0, ipc::Pong{}));
  EXPECT_TRUE(wait_for(0, ipc::LeaseHeld{}));
  post(0, ipc::Drain{});
  running.join();
  EXPECT_FALSE(seen.contains(fmt::format("1 {}", index(ipc::Finished{}))));
  EXPECT_EQ(model.embedded.size(), 1U);
}

TEST(LeaseTest, WithoutOneAllThreadsAreUsedAndNothingIsTold) {
  Lease lease(4);
  EXPECT_FALSE(lease.settle(true));
  EXPECT_EQ(lease.threads(), 4U);
  EXPECT_FALSE(lease.settle(false));
  EXPECT_FALSE(lease.settle(true));
  EXPECT_EQ(lease.threads(), 4U);
  lease.take({9, 1});
  EXPECT_FALSE(lease.settle(true));
  EXPECT_EQ(lease.threads(), 4U) << "not more than there are";
}

TEST(LeaseTest, AGrantThatComesTooLateIsGivenBack) {
  Lease lease(4);
  lease.take({2, 1});
  const auto held = lease.settle(false);
  ASSERT_TRUE(held);
  EXPECT_EQ(held->threads, 0U);
  EXPECT_EQ(held->number, 1U);
  EXPECT_FALSE(lease.settle(true));
  EXPECT_EQ(lease.threads(), 0U) << "what was given back needs another lease";
}

TEST(LeaseTest, OfALargerAndASmallerOneReadTogetherTheSmallerIsConfirmed) {
  Lease lease(4);
  lease.take({1, 1});
  EXPECT_FALSE(lease.settle(true));
  lease.take({4, 2});
  lease.take({1, 3});
  const auto held = lease.settle(true);
  ASSERT_TRUE(held);
  EXPECT_EQ(held->threads, 1U);
  EXPECT_EQ(held->number, 3U);
}

TEST_F(SchedulerTest, TheLogprobIsThatOfTheTokenThatWasChosen) {
  auto request = ask({5}, 1);
  request.top_logprobs = 2;
  request.sampling.logit_bias = {{20, 100.0F}};
  std::vector<types::Token> sent;
  on_frame = [&sent](std::uint64_t, const ipc::Body& b) {
    if (const auto* frame = std::get_if<ipc::TokenFrame>(&b)) sent.push_back(frame->token);
  };
  post(1, request);
  drain();
  ASSERT_EQ(sent.size(), 1U);
  const double log_z = std::log(std::exp(10.0) + kVocabulary - 1);  // one logit is 10, the others are 0
  EXPECT_EQ(sent[0].id, 20);
  EXPECT_NEAR(sent[0].logprob, -log_z, 1e-4);
  ASSERT_EQ(sent[0].top.size(), 2U);
  EXPECT_EQ(sent[0].top[0].id, 6);
  EXPECT_NEAR(sent[0].top[0].logprob, 10 - log_z, 1e-4);
}

TEST_F(SchedulerTest, TheRepetitionPenaltyCountsThePrompt) {
  auto request = ask({6, 5}, 1);
  request.sampling.repetition_penalty = 2;
  request.sampling.logit_bias = {{700, 6.0F}};  // between 10 and 10 / 2
  post(1, request);
  drain();
  EXPECT_EQ(tokens[1], std::vector<std::int32_t>{700});
}

TEST_F(SchedulerTest, TimesAreMicrosecondsOfEachStage) {
  model.on_decode = [this] { clock.moved_ns += 1'000'000; };
  std::vector<std::uint32_t> steps_us;
  on_frame = [&steps_us](std::uint64_t, const ipc::Body& b) {
    if (const auto* frame = std::get_if<ipc::TokenFrame>(&b)) steps_us.push_back(frame->token.decode_us);
  };
  post(1, ask({1}, 39));
  post(2, ask({200}, 30));  // waits: 40 + 31 cells are more than 64
  drain();
  EXPECT_EQ(finished[1].timings.queue_us, 0U);
  EXPECT_EQ(finished[1].timings.prefill_us, 1'000U);
  EXPECT_EQ(finished[1].timings.decode_us, 38'000U);
  EXPECT_EQ(finished[2].timings.queue_us, 39'000U);
  EXPECT_EQ(finished[2].timings.prefill_us, 1'000U);
  EXPECT_EQ(finished[2].timings.decode_us, 29'000U);
  EXPECT_EQ(steps_us, std::vector<std::uint32_t>(69, 1'000));
}

TEST_F(SchedulerTest, StatsSayWhatWasDone) {
  model.on_decode = [this] { clock.moved_ns += 300'000'000; };
  std::vector<ipc::Stats> stats;
  on_frame = [&stats](std::uint64_t, const ipc::Body& b) {
    if (const auto* told = std::get_if<ipc::Stats>(&b)) stats.push_back(*told);
  };
  post(1, ask({1, 2, 3}, 30));
  post(2, ask({200}, 39));
  drain();
  ASSERT_GE(stats.size(), 2U);
  EXPECT_EQ(stats[1].work, 6U) << "two steps of three nodes";
  EXPECT_EQ(stats[1].tokens_decoded, 2U);
  EXPECT_EQ(stats[1].running, 1U);
  EXPECT_EQ(stats[1].queued, 1U);
  EXPECT_EQ(stats[1].kv_used, 33U);
}

TEST_F(SchedulerTest, ADrainingWorkerTakesNothingNew) {
  post(0, ipc::Drain{});
  post(1, ask({1}, 5));
  scheduler.run();
  EXPECT_EQ(failed[1].code, ErrorCode::kShuttingDown);
}

TEST_F(SchedulerTest, TextAndTokensComeInPartsThatFitAFrame) {
  std::string text(300'000, 'a');
  text.back() = 'z';
  std::vector<std::int32_t> ids;
  std::string back;
  int parts = 0;
  int ends = 0;
  on_frame = [&](std::uint64_t, const ipc::Body& body) {
    if (const auto* part = std::get_if<ipc::Tokens>(&body)) {
      ids.insert(ids.end(), part->ids.begin(), part->ids.end());
      ends += part->last;
    } else if (const auto* piece = std::get_if<ipc::Text>(&body)) {
      back += piece->bytes;
      ends += piece->last;
    } else {
      return;
    }
    EXPECT_TRUE(ipc::encode(1, 0, body).ok());
    ++parts;
  };
  post(1, ipc::Tokenize{true, text});
  post(2, ipc::Tokenize{true, std::string()});
  drain();
  EXPECT_EQ(ids.size(), text.size());
  EXPECT_EQ(ends, 2) << "an empty text has an end too";
  EXPECT_GT(parts, 4);
  parts = ends = 0;
  post(3, ipc::Detokenize{false, ids});
  post(4, ipc::Detokenize{false, {}});
  post(5, ipc::Detokenize{false, {1, kVocabulary}});
  drain();
  EXPECT_EQ(back, text);
  EXPECT_EQ(ends, 2);
  EXPECT_GT(parts, 2);
  EXPECT_EQ(failed[5].param, "tokens");
}

TEST_F(SchedulerTest, WithoutTokensThePromptIsComputedAndNothingMore) {
  post(1, ask({5, 6}, 0));
  drain();
  EXPECT_FALSE(tokens.contains(1));
  EXPECT_EQ(finished[1].usage.prompt_tokens, 2);
  EXPECT_EQ(finished[1].usage.completion_tokens, 0);
  EXPECT_EQ(finished[1].reason, types::FinishReason::kLength);
}

TEST_F(SchedulerTest, AnEmptyPromptIsRefused) {
  post(1, ask({}, 5));
  drain();
  EXPECT_EQ(failed[1].code, ErrorCode::kInvalidRequest);
  EXPECT_EQ(failed[1].param, "prompt");
}

}  // namespace
}  // namespace shoal::worker
