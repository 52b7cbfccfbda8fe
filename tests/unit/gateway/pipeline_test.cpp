#include "shoal/gateway/pipeline.h"

#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "fakes/fake_engine.h"
#include "unit/gateway/recorder.h"

namespace shoal::gateway {
namespace {

using fakes::ends;
using fakes::FakeEngine;
using fakes::Gate;
using fakes::says;
using fakes::Wait;
using types::FinishReason;

struct PipelineTest : testing::Test {
  void run(AnswerRequest request, Recorder& sink) {
    Pipeline pipeline(engine, nullptr, clock, log, options);
    if (request.prompts.empty()) request.prompts.push_back({std::string("p")});
    base::spawn(io, "request", [&](base::Yield yield) {
      request.cancel = stop.get_token();
      pipeline.answer(std::move(request), sink, yield);
      ended = true;
    });
    io.run();
    EXPECT_TRUE(ended);
    EXPECT_EQ(engine.running, 0) << "every generation is destroyed";
  }
  static AnswerRequest request(bool stream) {
    AnswerRequest r;
    r.params.stream = stream;
    return r;
  }
  std::shared_ptr<Gate> gate() { return std::make_shared<Gate>(io.get_executor()); }

  base::asio::io_context io{1};
  FakeEngine engine;
  base::SystemClock clock;
  base::Log log = base::Log::null();
  PipelineOptions options{.default_model = "m"};
  std::stop_source stop;
  bool ended = false;
};

using Said = std::vector<std::string>;

TEST_F(PipelineTest, AWholeAnswer) {
  engine.answers = {{{says("Hi"), says(" you"), ends(FinishReason::kStop, 7, 3, "!")}, {}, {}}};
  Recorder sink(false);
  run(request(false), sink);
  EXPECT_EQ(sink.said, (Said{"0:Hi", "0: you", "0.stop!", "commit m local", "done"}));
  EXPECT_EQ(sink.receipt.usage.prompt_tokens, 7);
  EXPECT_EQ(sink.receipt.usage.completion_tokens, 3);
  EXPECT_EQ(sink.receipt.usage.cached_tokens, 1);
  EXPECT_EQ(sink.receipt.timings.queue_us, 1000U);
  EXPECT_EQ(sink.receipt.timings.prefill_us, 2000U);
  EXPECT_EQ(sink.receipt.timings.decode_us, 3000U);
}

TEST_F(PipelineTest, AStreamCommitsAtItsFirstToken) {
  engine.answers = {{{says("Hi"), ends(FinishReason::kLength, 7, 1)}, {}, {}}};
  Recorder sink(true);
  run(request(true), sink);
  EXPECT_EQ(sink.said, (Said{"commit m local", "0:Hi", "0.length", "done"}));
  EXPECT_TRUE(engine.requests.at(0).streams);
}

TEST_F(PipelineTest, ARefusedStartFailsBeforeCommit) {
  engine.answers = {{{}, {}, Error(ErrorCode::kContextLengthExceeded, "9001 and 2048")}};
  Recorder sink(true);
  run(request(true), sink);
  EXPECT_EQ(sink.said, (Said{"fail context_length_exceeded"}));
  EXPECT_EQ(sink.last_error->message(), "9001 and 2048");
}

TEST_F(PipelineTest, AFailureBeforeTheFirstTokenIsBeforeCommit) {
  engine.answers = {{{Error(ErrorCode::kWorkerCrashed, "died")}, {}, {}}};
  Recorder sink(true);
  run(request(true), sink);
  EXPECT_EQ(sink.said, (Said{"fail worker_crashed"}));
}

TEST_F(PipelineTest, ALateFailureIsAfterCommit) {
  engine.answers = {{{says("Hi"), Error(ErrorCode::kWorkerCrashed, "died")}, {}, {}}};
  Recorder sink(true);
  run(request(true), sink);
  EXPECT_EQ(sink.said, (Said{"commit m local", "0:Hi", "fail worker_crashed"}));
}

TEST_F(PipelineTest, NoModelAndNoDefaultIsNotFound) {
  options.default_model = "";
  Recorder sink(false);
  run(request(false), sink);
  EXPECT_EQ(sink.said, (Said{"fail model_not_found"}));
  EXPECT_EQ(sink.last_error->param(), "model");
  EXPECT_TRUE(engine.requests.empty());
}

TEST_F(PipelineTest, TheNamedModelWinsOverTheDefault) {
  engine.answers = {{{ends(FinishReason::kStop, 7, 0)}, {}, {}}};
  Recorder sink(false);
  AnswerRequest r = request(false);
  r.model = "other";
  run(std::move(r), sink);
  EXPECT_EQ(engine.requests.at(0).model, "other");
  EXPECT_EQ(sink.receipt.model, "other");
}

TEST_F(PipelineTest, AModelThatLoadsIsCommittedAfterTheHoldAndNamedInThePings) {
  options.hold_ms = 1;
  options.ping_interval_ms = 1;
  auto loading = gate();
  engine.answers = {{{says("Hi"), ends(FinishReason::kStop, 7, 1)}, loading, {}}};
  Recorder sink(true);
  int pings = 0;
  sink.on_ping = [&] {
    if (++pings == 2) loading->open();
  };
  run(request(true), sink);
  ASSERT_GE(sink.said.size(), 6U);
  EXPECT_EQ(sink.said[0], "open") << "no model is named before one answers";
  EXPECT_EQ(sink.said[1], "ping loading m");
  EXPECT_EQ(sink.said[2], "ping loading m");
  EXPECT_EQ(sink.said[3], "commit m local");
  EXPECT_EQ(sink.said.back(), "done");
}

TEST_F(PipelineTest, ASilentDecodeIsPingedWithoutALoadNote) {
  options.hold_ms = 1;
  options.ping_interval_ms = 1;
  auto slow = gate();
  engine.answers = {{{Wait{slow}, says("Hi"), ends(FinishReason::kStop, 7, 1)}, {}, {}}};
  Recorder sink(true);
  sink.on_ping = [&] { slow->open(); };
  run(request(true), sink);
  EXPECT_EQ(sink.said[0], "open");
  EXPECT_EQ(sink.said[1], "ping ping");
}

TEST_F(PipelineTest, AWholeAnswerIsNeverPinged) {
  options.hold_ms = 0;
  options.ping_interval_ms = 0;
  auto slow = gate();
  engine.answers = {{{Wait{slow}, says("Hi"), ends(FinishReason::kStop, 7, 1)}, {}, {}}};
  Recorder sink(false);
  base::asio::post(io, [&] { slow->open(); });
  run(request(false), sink);
  EXPECT_EQ(sink.said, (Said{"0:Hi", "0.stop", "commit m local", "done"}));
}

TEST_F(PipelineTest, EveryParameterReachesTheEngine) {
  engine.answers = {{{ends(FinishReason::kStop, 7, 1)}, {}, {}}};
  Recorder sink(false);
  AnswerRequest r = request(false);
  r.principal = {5, "five"};
  r.params.max_tokens = 9;
  r.params.stop = {"END"};
  r.params.top_logprobs = 3;
  r.params.ignore_eos = true;
  r.params.sampling.temperature = 0.25F;
  r.params.sampling.top_k = 4;
  run(std::move(r), sink);
  const auto& asked = engine.requests.at(0);
  EXPECT_EQ(asked.principal, 5U);
  EXPECT_EQ(asked.max_tokens, 9);
  EXPECT_EQ(asked.stop, Said{"END"});
  EXPECT_EQ(asked.top_logprobs, 3);
  EXPECT_TRUE(asked.ignore_eos);
  EXPECT_FALSE(asked.streams);
  EXPECT_EQ(asked.sampling.temperature, 0.25F);
  EXPECT_EQ(asked.sampling.top_k, 4);
  EXPECT_FALSE(asked.sampling.seed.has_value());
}

TEST_F(PipelineTest, NAnswersHaveSeedsOfTheirOwnAndCountThePromptOnce) {
  engine.answers = {{{says("a"), ends(FinishReason::kStop, 7, 2)}, {}, {}}};
  Recorder sink(false);
  AnswerRequest r = request(false);
  r.params.n = 3;
  r.params.sampling.seed = 40;
  run(std::move(r), sink);
  ASSERT_EQ(engine.requests.size(), 3U);
  EXPECT_EQ(engine.requests[0].sampling.seed, 40U);
  EXPECT_EQ(engine.requests[1].sampling.seed, 41U);
  EXPECT_EQ(engine.requests[2].sampling.seed, 42U);
  EXPECT_EQ(sink.receipt.usage.prompt_tokens, 7);
  EXPECT_EQ(sink.receipt.usage.completion_tokens, 6);
}

TEST_F(PipelineTest, PromptsAndAnswersAreNumberedPromptFirst) {
  engine.answers = {{{ends(FinishReason::kStop, 7, 1)}, {}, {}}};
  Recorder sink(false);
  AnswerRequest r = request(false);
  r.params.n = 2;
  r.prompts = {{std::string("a")}, {std::string("b")}};
  run(std::move(r), sink);
  std::vector<std::string> prompts;
  for (const auto& one : engine.requests) prompts.push_back(std::get<std::string>(one.prompt.input));
  EXPECT_EQ(prompts, (Said{"a", "a", "b", "b"}));
  EXPECT_EQ(sink.receipt.usage.prompt_tokens, 14);
}

TEST_F(PipelineTest, OneFailureEndsAllAnswers) {
  engine.answers = {{{says("a"), Error(ErrorCode::kWorkerCrashed, "died")}, {}, {}}, {{says("b")}, {}, {}}};
  Recorder sink(true);
  AnswerRequest r = request(true);
  r.params.n = 2;
  run(std::move(r), sink);
  EXPECT_EQ(sink.said.back(), "fail worker_crashed");
  EXPECT_EQ(engine.cancelled, 1);
}

TEST_F(PipelineTest, AClientThatGoesCancelsTheComputation) {
  engine.answers = {{{says("Hi")}, {}, {}}};  // goes on for ever
  Recorder sink(true);
  sink.on_say = [&](const std::string& what) {
    if (what == "0:Hi") base::asio::post(io, [&] { stop.request_stop(); });
  };
  run(request(true), sink);
  EXPECT_EQ(engine.cancelled, 1);
  EXPECT_EQ(sink.said.back(), "fail cancelled");
}

TEST_F(PipelineTest, AClientThatGoesWhileTheModelLoadsLeavesNothingRunning) {
  auto loading = gate();
  engine.answers = {{{says("Hi")}, loading, {}}};
  Recorder sink(true);
  // After the request has begun to wait: first the client goes, then the model is there.
  base::asio::post(io, [&] {
    base::asio::post(io, [&] {
      stop.request_stop();
      base::asio::post(io, [&] { loading->open(); });
    });
  });
  run(request(true), sink);
  EXPECT_EQ(sink.said.back(), "fail cancelled");
}

TEST_F(PipelineTest, ASinkThatCannotWriteEndsTheRequest) {
  engine.answers = {{{says("Hi")}, {}, {}}};
  Recorder sink(true);
  sink.broken = true;
  run(request(true), sink);
  EXPECT_EQ(sink.said, (Said{"commit m local", "fail cancelled"}));
  EXPECT_EQ(engine.cancelled, 1);
}

TEST_F(PipelineTest, TheSoonerDeadlineCounts) {
  engine.answers = {{{ends(FinishReason::kStop, 7, 1)}, {}, {}}};
  options.request_timeout_ms = 1'000'000;
  AnswerRequest r = request(false);
  r.deadline.at_ns = 123;
  Recorder sink(false);
  run(std::move(r), sink);
  EXPECT_EQ(engine.requests.at(0).deadline.at_ns, 123);
  io.restart();
  ended = false;
  Recorder second(false);
  run(request(false), second);
  EXPECT_FALSE(engine.requests.at(1).deadline.never()) << "the pipeline's own limit applies";
}

TEST_F(PipelineTest, AClientThatDoesNotReadCostsNoCpu) {
  std::vector<fakes::Step> steps(100, says("x"));
  steps.emplace_back(ends(FinishReason::kStop, 7, 100));
  engine.answers = {{steps, {}, {}}};
  Recorder sink(true);
  auto stuck = gate();
  sink.stuck = stuck;
  AnswerRequest r = request(true);
  r.params.n = 4;
  r.prompts.push_back({std::string("p")});
  Pipeline pipeline(engine, nullptr, clock, log, options);
  base::spawn(io, "request", [&](base::Yield yield) { pipeline.answer(std::move(r), sink, yield); });
  std::size_t handlers = 0;
  while (io.poll_one() > 0 && handlers < 10'000) ++handlers;
  EXPECT_LT(handlers, 10'000U) << "the readers wake each other";
  EXPECT_LT(engine.events, 40) << "and pauses the worker: 8 answers of 100 tokens, 16 of them may wait";
  stuck->open();
  io.run();
  EXPECT_EQ(sink.said.back(), "done");
}

TEST_F(PipelineTest, ManyFastAnswersAndASlowReaderLoseNoToken) {
  std::vector<fakes::Step> steps;
  for (int i = 0; i < 200; ++i) steps.emplace_back(says("x"));
  steps.emplace_back(ends(FinishReason::kStop, 7, 200));
  engine.answers = {{steps, {}, {}}};
  Recorder sink(false);
  AnswerRequest r = request(false);
  r.params.n = 8;
  run(std::move(r), sink);
  std::map<std::string, int> pieces;
  for (const auto& what : sink.said) ++pieces[what];
  for (int i = 0; i < 8; ++i) EXPECT_EQ(pieces[std::to_string(i) + ":x"], 200) << i;
}

}  // namespace
}  // namespace shoal::gateway
