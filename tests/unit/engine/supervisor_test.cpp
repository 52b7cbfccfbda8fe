// The life of requests and workers as the gateway sees it, with a worker that does as it is told.
#include "shoal/engine/supervisor.h"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <string>
#include <vector>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "shoal/engine/worker_command.h"
#include "shoal/ipc/frames.h"
#include "shoal/ipc/worker_args.h"

#include "unit/engine/harness.h"

namespace shoal::engine {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST_F(SupervisorTest, TheFirstRequestStartsTheWorkerAndStreamsToTheEnd) {
  run([&](base::Yield yield) {
    EXPECT_EQ(status("a").state, types::ModelState::kStopped);
    auto started = supervisor().start(ask("a", "tokens=3"), yield);
    ASSERT_TRUE(started.ok()) << started.error().message();
    EXPECT_EQ((*started)->prompt_tokens(), 3);
    Answer out;
    read(**started, out, yield);
    EXPECT_EQ(out.text, " t t t!");
    EXPECT_EQ(out.tokens, 3);
    const WorkerStatus row = status("a");
    EXPECT_EQ(row.state, types::ModelState::kReady);
    EXPECT_GT(row.pid, 0);
    EXPECT_GT(row.resident_bytes, 0U);
    EXPECT_EQ(row.slots, 4U);
    EXPECT_EQ(row.context_length, 512U);
    EXPECT_EQ(row.tokens_decoded, 3U);
    EXPECT_EQ(row.cpu_backend, "fake");
    EXPECT_EQ(row.running + row.queued, 0U);
    // After the end there is nothing more.
    EXPECT_FALSE((*started)->next(yield, base::Deadline{}).ok());
  });
  EXPECT_THAT(registry_.render(), AllOf(HasSubstr("shoal_engine_requests_total{model=\"a\",outcome=\"ok\"} 1\n"),
                                        HasSubstr("shoal_engine_tokens_total{model=\"a\",kind=\"completion\"} 3\n"),
                                        HasSubstr("shoal_engine_time_to_first_token_seconds_count{model=\"a\"} 1\n")));
}

TEST_F(SupervisorTest, AWorkerIsToldWhetherSomebodyReadsAlong) {
  run([&](base::Yield yield) {
    GenerateRequest request = ask("a", "tokens=1");
    EXPECT_TRUE(answer(request, yield).finished);
    EXPECT_EQ(models_.count("a", "stream"), 0);
    request.streams = true;
    EXPECT_TRUE(answer(request, yield).finished);
    EXPECT_EQ(models_.count("a", "stream"), 1);
  });
}

TEST_F(SupervisorTest, RequestsThatArriveWhileItLoadsShareOneWorker) {
  int finished = 0;
  for (int i = 0; i < 8; ++i) {
    side([&](base::Yield yield) { finished += answer("a", "tokens=2", yield).finished ? 1 : 0; });
  }
  run([](base::Yield) {});
  EXPECT_EQ(finished, 8);
  EXPECT_EQ(models_.count("a", "start"), 1);
}

TEST_F(SupervisorTest, AWorkerInheritsNeitherEnvironmentNorDescriptors) {
  ASSERT_EQ(::setenv("SHOAL_TEST_SECRET", "key", 1), 0);
  const int open_fd = ::fcntl(STDERR_FILENO, F_DUPFD, 100);  // without FD_CLOEXEC
  run([&](base::Yield yield) { EXPECT_TRUE(answer("a", "tokens=1", yield).finished); });
  ::close(open_fd);
  ::unsetenv("SHOAL_TEST_SECRET");
  EXPECT_EQ(models_.count("a", "start"), 1);
  EXPECT_EQ(models_.count("a", "environment"), 0);
  EXPECT_EQ(models_.count("a", "descriptor"), 0);
}

TEST_F(SupervisorTest, AWorkerIsToldItsOptions) {
  const auto told = [&] { return worker_args(options_, models_.at("a")); };
  options_.sandbox = SandboxMode::kRequired;
  options_.slots = 3;
  options_.cores = 6;
  options_.threads = 5;
  options_.ubatch_tokens = 64;
  options_.worker_memory_limit_mib = 700;
  EXPECT_EQ(told().parent_pid, ::getpid());
  EXPECT_TRUE(told().sandbox_required);
  EXPECT_FALSE(told().use_mmap);
  EXPECT_EQ(told().slots, 3U);
  EXPECT_EQ(told().threads, 5U);
  options_.threads = 7;
  EXPECT_EQ(told().threads, 6U) << "more threads than cores would wait for each other";
  EXPECT_EQ(told().ubatch, 64U);
  EXPECT_EQ(told().memory_limit_mib, 700U);
  EXPECT_EQ(told().context_length, 3U * 512) << "what the slots can use of a model trained on 512";
  models_.at("a").info.context_length = 100'000;
  EXPECT_EQ(told().context_length, 8192U);
  options_.context_tokens = 1000;
  options_.sandbox = SandboxMode::kNone;
  options_.use_mmap = true;
  EXPECT_TRUE(told().keep_prefixes);
  EXPECT_FALSE(told().exact);
  options_.exact = true;
  options_.keep_prefixes = false;
  EXPECT_TRUE(told().speculates);
  options_.speculates = false;
  options_.cold_cache_mib = 7;
  EXPECT_EQ(told().context_length, 1000U);
  EXPECT_FALSE(told().sandbox_required);
  EXPECT_TRUE(told().use_mmap);
  EXPECT_TRUE(told().exact);
  EXPECT_FALSE(told().keep_prefixes);
  EXPECT_FALSE(told().speculates);
  EXPECT_EQ(told().cold_cache_mib, 7U);
}

TEST_F(SupervisorTest, AWorkerHoldsAllCoresWhileItWorksAndNoneAfter) {
  options_.cores = 3;
  run([&](base::Yield yield) {
    EXPECT_TRUE(answer("a", "tokens=2", yield).finished);
    ASSERT_TRUE(eventually(yield, [&] { return status("a").threads == 0; }));
    EXPECT_EQ(models_.count("a", "threads 3"), 1);
    EXPECT_EQ(models_.count("a", "threads 0"), 1);
    auto held = supervisor().start(ask("a", "hang=1"), yield);
    ASSERT_TRUE(held.ok());
    EXPECT_EQ(status("a").threads, 3U);
    EXPECT_THAT(registry_.render(), HasSubstr("shoal_engine_threads{model=\"a\"} 3\n"));
  });
}

TEST_F(SupervisorTest, WorkersThatAreBusyShareTheCores) {
  options_.cores = 3;
  run([&](base::Yield yield) {
    auto first = supervisor().start(ask("a", "hang=1"), yield);
    ASSERT_TRUE(first.ok());
    {
      auto second = supervisor().start(ask("b", "hang=1"), yield);
      ASSERT_TRUE(second.ok());
      ASSERT_TRUE(eventually(yield, [&] { return status("a").threads == 2 && status("b").threads == 1; }));
    }
    ASSERT_TRUE(eventually(yield, [&] { return status("a").threads == 3 && status("b").threads == 0; }));
  });
}

TEST_F(SupervisorTest, MoreBusyWorkersThanCoresAllComeToTheirEnd) {
  models_.add("c");
  options_.cores = 2;
  options_.core_late_ms = 60'000;
  std::uint32_t most = 0;
  int finished = 0;
  for (const char* model : {"a", "b", "c"}) {
    side([&, model](base::Yield yield) {
      auto started = supervisor().start(ask(model, "tokens=20000"), yield);
      ASSERT_TRUE(started.ok());
      for (bool over = false; !over;) {
        auto event = (*started)->next(yield, base::Deadline{});
        ASSERT_TRUE(event.ok()) << event.error().message();
        over = std::holds_alternative<FinishEvent>(**event);
        most = std::max(most, status("a").threads + status("b").threads + status("c").threads);
      }
      ++finished;
    });
  }
  run([](base::Yield) {});
  EXPECT_EQ(finished, 3);
  EXPECT_EQ(most, 2U);
  int turns = 0;
  for (const char* model : {"a", "b", "c"}) turns += models_.count(model, "threads 0");
  EXPECT_GT(turns, 3) << "they took turns, and did not run one after the other";
  EXPECT_THAT(registry_.render(), HasSubstr("shoal_engine_core_wait_seconds_count{model=\"a\"}"));
}

TEST_F(SupervisorTest, TheCoresOfAWorkerThatDiesGoToTheNext) {
  options_.cores = 1;
  options_.max_failures = 1;
  models_.add("a", "lease=ignore");
  Answer out;
  run([&](base::Yield yield) {
    auto first = supervisor().start(ask("a", "hang=1"), yield);
    ASSERT_TRUE(first.ok());
    side([&](base::Yield inner) { out = answer("b", "tokens=1", inner); });
    ASSERT_TRUE(eventually(yield, [&] { return status("b").state == types::ModelState::kReady; }));
    ASSERT_EQ(::kill(status("a").pid, SIGKILL), 0);
    ASSERT_TRUE(eventually(yield, [&] { return out.finished; }));
  });
}

TEST_F(SupervisorTest, ACacheIsQuantisedOnlyWhereABlockDividesTheHeads) {
  const auto told = [&] { return worker_args(options_, models_.at("a")).kv_type; };
  ModelShape& shape = models_.at("a").shape;
  options_.kv_type = types::KvType::kQ8;
  EXPECT_EQ(told(), types::KvType::kF16) << "a model whose shape is not known";
  shape.key_length = shape.value_length = 64;
  EXPECT_EQ(told(), types::KvType::kQ8);
  shape.value_length = 48;
  EXPECT_EQ(told(), types::KvType::kF16);
  shape.value_length = 64;
  shape.key_length = 80;
  EXPECT_EQ(told(), types::KvType::kF16);
  options_.kv_type = types::KvType::kF16;
  EXPECT_EQ(told(), types::KvType::kF16);
}

TEST_F(SupervisorTest, AnUnknownModelIsRefusedWithTheNearestName) {
  run([&](base::Yield yield) {
    const Answer out = answer("aa", "", yield);
    EXPECT_EQ(out.code(), "model_not_found");
    EXPECT_EQ(out.error->suggestion(), "a");
  });
}

TEST_F(SupervisorTest, AModelThatDoesNotGenerateSaysSo) {
  models_.at("a").info.generates = false;
  models_.at("b").info.embeds = false;
  run([&](base::Yield yield) {
    EXPECT_EQ(answer("a", "", yield).code(), "unsupported_parameter");
    const auto embedded =
        supervisor().embed({.model = "b", .principal = 0, .deadline = {}, .cancel = {}, .inputs = {"x"}}, yield);
    ASSERT_FALSE(embedded.ok());
    EXPECT_EQ(embedded.error().code(), ErrorCode::kUnsupportedParameter);
  });
}

TEST_F(SupervisorTest, ARequestFailsTypedWhenItsWorkerIsKilledAndTheNextOneIsAnswered) {
  run([&](base::Yield yield) {
    Answer out = answer("a", "tokens=9 crash_at=3", yield);
    EXPECT_EQ(out.tokens, 3);
    EXPECT_EQ(out.code(), "worker_crashed");
    EXPECT_THAT(out.error->message(), HasSubstr("killed by signal 9"));
    EXPECT_TRUE(answer("a", "tokens=2", yield).finished);
    EXPECT_EQ(status("a").restarts, 1U);
  });
}

TEST_F(SupervisorTest, AWorkerThatCrashedComesBackWithoutARequest) {
  run([&](base::Yield yield) {
    ASSERT_TRUE(supervisor().load("a", yield).ok());
    const auto pid = status("a").pid;
    ASSERT_EQ(::kill(pid, SIGKILL), 0);
    EXPECT_TRUE(
        eventually(yield, [&] { return status("a").restarts == 1 && status("a").state == types::ModelState::kReady; }));
    EXPECT_NE(status("a").pid, pid);
  });
}

TEST_F(SupervisorTest, OtherModelsFeelNothingOfACrash) {
  Answer other;
  side([&](base::Yield yield) { other = answer("b", "tokens=500", yield); });
  run([&](base::Yield yield) {
    const auto pid = [&] { return status("b").pid; };
    ASSERT_TRUE(eventually(yield, [&] { return pid() > 0; }));
    EXPECT_EQ(answer("a", "tokens=9 crash_at=1", yield).code(), "worker_crashed");
  });
  EXPECT_TRUE(other.finished);
  EXPECT_EQ(other.tokens, 500);
  EXPECT_EQ(models_.count("b", "start"), 1);
}

TEST_F(SupervisorTest, ARequestWithoutATokenMovesToTheRestartedWorkerUnseen) {
  run([&](base::Yield yield) {
    const Answer out = answer("a", "tokens=2 crash_at=0 crash_once=" + models_.file("crashed"), yield);
    EXPECT_TRUE(out.finished) << out.code();
    EXPECT_EQ(models_.count("a", "start"), 2);
  });
  EXPECT_THAT(registry_.render(), HasSubstr("shoal_engine_resubmitted_total{model=\"a\"} 1\n"));
}

TEST_F(SupervisorTest, APromptThatKillsItsWorkerIsTriedTwiceOnly) {
  run([&](base::Yield yield) {
    EXPECT_EQ(answer("a", "crash_at=0", yield).code(), "worker_crashed");
    EXPECT_EQ(status("a").restarts >= 1, true);
    EXPECT_TRUE(answer("a", "tokens=1", yield).finished);
    EXPECT_EQ(models_.count("a", "start"), 3);
  });
}

TEST_F(SupervisorTest, ARequestThatOnlyWaitedForASlotIsNotHeldToBlameForACrash) {
  models_.add("a", "slots=1");
  std::unique_ptr<Generation> computing;
  std::unique_ptr<Generation> queued;
  run([&](base::Yield yield) {
    computing = supervisor().start(ask("a", "hang=1"), yield).value();
    queued = supervisor().start(ask("a", "hang=1"), yield).value();
    for (std::uint64_t kills = 1; kills <= 2; ++kills) {
      ASSERT_EQ(::kill(status("a").pid, SIGKILL), 0);
      ASSERT_TRUE(eventually(yield, [&] { return status("a").restarts == kills && status("a").running == 1; }));
    }
    const auto lost = computing->next(yield, base::Deadline{});
    ASSERT_FALSE(lost.ok());
    EXPECT_EQ(lost.error().code(), ErrorCode::kWorkerCrashed);
    const auto alive = queued->next(yield, base::Deadline::after_ms(clock(), 5));
    EXPECT_TRUE(alive.ok());
  });
}

TEST_F(SupervisorTest, AModelThatNeverLoadsIsGivenUpWithTheReasonUntilLoadIsCalled) {
  models_.add("a", "die=3 die_times=5");
  run([&](base::Yield yield) {
    const Answer out = answer("a", "tokens=1", yield);
    EXPECT_EQ(out.code(), "model_failed");
    EXPECT_THAT(out.error->message(), HasSubstr("exited with status 3"));
    EXPECT_EQ(models_.count("a", "start"), 5);
    EXPECT_EQ(status("a").state, types::ModelState::kFailed);
    EXPECT_EQ(answer("a", "tokens=1", yield).code(), "model_failed");
    EXPECT_EQ(models_.count("a", "start"), 5);  // not tried again by a request
    EXPECT_TRUE(supervisor().load("a", yield).ok());
    EXPECT_TRUE(answer("a", "tokens=1", yield).finished);
  });
}

TEST_F(SupervisorTest, AReloadLetsAModelThatWasGivenUpTryAgain) {
  models_.add("a", "die=3 die_times=1");
  options_.max_failures = 1;
  run([&](base::Yield yield) {
    EXPECT_EQ(answer("a", "tokens=1", yield).code(), "model_failed");
    supervisor().forgive_failures();
    EXPECT_TRUE(answer("a", "tokens=1", yield).finished);
  });
}

TEST_F(SupervisorTest, AFailureOutsideTheWindowIsForgotten) {
  frozen_ = true;
  options_.max_failures = 2;
  run([&](base::Yield yield) {
    EXPECT_EQ(answer("a", "tokens=9 crash_at=1", yield).code(), "worker_crashed");
    ASSERT_TRUE(supervisor().load("a", yield).ok());  // forgives the first
    EXPECT_EQ(answer("a", "tokens=9 crash_at=1", yield).code(), "worker_crashed");
    EXPECT_TRUE(answer("a", "tokens=1", yield).finished);
    fake_clock_.advance_ms(options_.failure_window_ms + 1);
    EXPECT_EQ(answer("a", "tokens=9 crash_at=1", yield).code(), "worker_crashed");
    EXPECT_TRUE(answer("a", "tokens=1", yield).finished);
    EXPECT_EQ(answer("a", "tokens=9 crash_at=1", yield).code(), "worker_crashed");
    EXPECT_TRUE(eventually(yield, [&] { return status("a").state == types::ModelState::kFailed; }));
  });
}

TEST_F(SupervisorTest, ADamagedModelIsGivenUpAtOnceInTheWorkersWords) {
  models_.add("a", "fail=model_invalid");
  run([&](base::Yield yield) {
    const Answer out = answer("a", "", yield);
    EXPECT_EQ(out.code(), "model_invalid");
    EXPECT_THAT(out.error->message(), HasSubstr("not a model?at all"));  // no line breaks from a worker
    EXPECT_EQ(models_.count("a", "start"), 1);
  });
}

TEST_F(SupervisorTest, WhatIsNotAModelFileStartsNoWorker) {
  models_.at("a").info.path = "/dev/null";
  models_.at("b").info.path = models_.file("gone");
  run([&](base::Yield yield) {
    EXPECT_EQ(answer("a", "", yield).code(), "model_invalid");
    EXPECT_EQ(answer("b", "", yield).code(), "io");
  });
}

TEST_F(SupervisorTest, AWorkerThatCannotBeStartedIsAnErrorWithItsPath) {
  options_.worker_path = "/nonexistent/shoal-worker";
  run([&](base::Yield yield) {
    const Answer out = answer("a", "", yield);
    EXPECT_EQ(out.code(), "io");
    EXPECT_THAT(out.error->message(), HasSubstr("/nonexistent/shoal-worker"));
  });
}

TEST_F(SupervisorTest, AnErrorOfOneRequestIsItsOwn) {
  run([&](base::Yield yield) {
    const Answer out = answer("a", "fail=context_length_exceeded", yield);
    EXPECT_EQ(out.code(), "context_length_exceeded");
    EXPECT_EQ(out.error->param(), "prompt");
    EXPECT_TRUE(answer("a", "tokens=1", yield).finished);
    EXPECT_EQ(models_.count("a", "start"), 1);
  });
}

TEST_F(SupervisorTest, AWorkerThatIsFullIsAnErrorWithAWaitAndFewWords) {
  run([&](base::Yield yield) {
    const Answer out = answer("a", "fail=overloaded long=1", yield);
    EXPECT_EQ(out.code(), "overloaded");
    EXPECT_EQ(out.error->retry_after_ms(), options_.retry_after_ms);
    EXPECT_EQ(out.error->message().size(), 600U);
  });
}

TEST_F(SupervisorTest, AWorkerThatShoutsDoesNotFillTheLog) {
  models_.add("a", "shout=300");
  log_ = base::Log(base::LogFormat::kJson, base::LogLevel::kInfo);
  ::testing::internal::CaptureStderr();
  run([&](base::Yield yield) {
    EXPECT_TRUE(answer("a", "tokens=1", yield).finished);
    supervisor().drain(base::Deadline{}, yield);
  });
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_NEAR(static_cast<double>(std::ranges::count(said, 'x')), 200 * 400, 100) << "200 lines of 400 bytes";
  EXPECT_THAT(said, HasSubstr("worker says too much"));
}

TEST_F(SupervisorTest, AReadyWithoutSlotsIsAFailedLoad) {
  models_.add("a", "slots=0");
  options_.max_failures = 1;
  run([&](base::Yield yield) {
    const Answer out = answer("a", "", yield);
    EXPECT_EQ(out.code(), "model_failed");
    EXPECT_THAT(out.error->message(), HasSubstr("READY with 0 slots"));
  });
}

TEST_F(SupervisorTest, AModelIsNotUnloadedUnderARequest) {
  run([&](base::Yield yield) {
    auto started = supervisor().start(ask("a", "hang=1"), yield);
    ASSERT_TRUE(started.ok());
    const auto refused = supervisor().unload("a");
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code(), ErrorCode::kOverloaded);
    EXPECT_EQ(status("a").running, 1U);
    *started = nullptr;
    EXPECT_TRUE(supervisor().unload("a").ok());
    EXPECT_TRUE(eventually(yield, [&] { return status("a").pid == 0; }));
  });
}

TEST_F(SupervisorTest, APromptLargerThanAFrameIsRefusedBeforeAWorkerStarts) {
  run([&](base::Yield yield) {
    EXPECT_EQ(answer("a", std::string(ipc::kMaxBodyBytes + 1, 'x'), yield).code(), "context_length_exceeded");
    EXPECT_EQ(models_.count("a", "start"), 0);
  });
}

TEST_F(SupervisorTest, AFullQueueIsRefusedWithAWait) {
  options_.max_queue = 1;
  options_.slots = 4;
  for (int i = 0; i < 5; ++i) {
    side([&](base::Yield yield) {
      auto request = ask("a", "hang=1");
      request.deadline = base::Deadline::after_ms(clock(), 300);
      EXPECT_EQ(answer(std::move(request), yield).code(), "deadline_exceeded");
    });
  }
  run([&](base::Yield yield) {
    ASSERT_TRUE(eventually(yield, [&] { return status("a").running == 4; }));
    EXPECT_EQ(status("a").queued, 1U);
    const Answer out = answer("a", "", yield);
    EXPECT_EQ(out.code(), "overloaded");
    EXPECT_EQ(out.error->retry_after_ms(), options_.retry_after_ms);
  });
}

TEST_F(SupervisorTest, DestroyingAnAnswerStopsItsComputation) {
  run([&](base::Yield yield) {
    auto started = supervisor().start(ask("a", "endless=1"), yield);
    ASSERT_TRUE(started.ok());
    *started = nullptr;
    EXPECT_TRUE(eventually(yield, [&] { return models_.count("a", "cancel") == 1; }));
    EXPECT_EQ(status("a").running, 0U);
    EXPECT_TRUE(answer("a", "tokens=1", yield).finished);
  });
}

TEST_F(SupervisorTest, CancelWakesAReaderThatWaits) {
  std::stop_source client;
  run([&](base::Yield yield) {
    auto request = ask("a", "hang=1");
    request.cancel = client.get_token();
    auto started = supervisor().start(std::move(request), yield);
    ASSERT_TRUE(started.ok());
    side([&](base::Yield) { client.request_stop(); });
    const auto event = (*started)->next(yield, base::Deadline{});
    ASSERT_FALSE(event.ok());
    EXPECT_EQ(event.error().code(), ErrorCode::kCancelled);
  });
}

TEST_F(SupervisorTest, CancelEndsAnAnswerThatIsCompleteButNotRead) {
  std::stop_source client;
  run([&](base::Yield yield) {
    auto request = ask("a", "tokens=2");
    request.cancel = client.get_token();
    auto started = supervisor().start(std::move(request), yield);
    ASSERT_TRUE(started.ok());
    ASSERT_TRUE(eventually(yield, [&] { return status("a").running == 0; }));
    client.request_stop();
    const auto event = (*started)->next(yield, base::Deadline{});
    ASSERT_FALSE(event.ok());
    EXPECT_EQ(event.error().code(), ErrorCode::kCancelled);
  });
}

TEST_F(SupervisorTest, CancelEndsTheWaitForAWorkerThatDoesNotAccept) {
  std::stop_source client;
  run([&](base::Yield yield) {
    auto request = ask("a", "mute=1");
    request.cancel = client.get_token();
    side([&](base::Yield inner) {
      EXPECT_TRUE(eventually(inner, [&] { return models_.count("a", "mute") == 1; }));
      client.request_stop();
    });
    EXPECT_EQ(answer(std::move(request), yield).code(), "cancelled");
    EXPECT_TRUE(eventually(yield, [&] { return models_.count("a", "cancel") == 1; }));
  });
}

TEST_F(SupervisorTest, CancelEndsAnEmbeddingThatIsComputed) {
  std::stop_source client;
  run([&](base::Yield yield) {
    EmbedRequest request;
    request.model = "a";
    request.cancel = client.get_token();
    request.inputs.emplace_back("mute=1");
    side([&](base::Yield inner) {
      EXPECT_TRUE(eventually(inner, [&] { return models_.count("a", "embed") == 1; }));
      client.request_stop();
    });
    const auto out = supervisor().embed(std::move(request), yield);
    ASSERT_FALSE(out.ok());
    EXPECT_EQ(out.error().code(), ErrorCode::kCancelled);
    EXPECT_TRUE(eventually(yield, [&] { return models_.count("a", "cancel") == 1; }));
  });
}

TEST_F(SupervisorTest, ARequestOfAClientThatIsGoneStartsNoWorker) {
  std::stop_source client;
  client.request_stop();
  run([&](base::Yield yield) {
    auto request = ask("a", "");
    request.cancel = client.get_token();
    EXPECT_EQ(answer(std::move(request), yield).code(), "cancelled");
    EXPECT_EQ(models_.count("a", "start"), 0);
  });
}

TEST_F(SupervisorTest, NextReturnsNothingWhenItIsTimeForAPing) {
  run([&](base::Yield yield) {
    auto started = supervisor().start(ask("a", "hang=1"), yield);
    ASSERT_TRUE(started.ok());
    const auto event = (*started)->next(yield, base::Deadline::after_ms(clock(), 5));
    ASSERT_TRUE(event.ok());
    EXPECT_FALSE(event->has_value());
  });
}

TEST_F(SupervisorTest, ADeadlineIsKeptAlsoWhenTheWorkerIsSilent) {
  run([&](base::Yield yield) {
    ASSERT_TRUE(supervisor().load("a", yield).ok());  // so that the worker has the requests before their deadline
    for (const char* prompt : {"mute=1", "hang=1"}) {
      auto request = ask("a", prompt);
      request.deadline = base::Deadline::after_ms(clock(), 20);
      EXPECT_EQ(answer(std::move(request), yield).code(), "deadline_exceeded") << prompt;
    }
    EXPECT_TRUE(eventually(yield, [&] { return models_.count("a", "cancel") == 2; }));
  });
}

TEST_F(SupervisorTest, ADeadlineEndsAnAnswerThatNobodyReads) {
  run([&](base::Yield yield) {
    auto request = ask("a", "endless=1");
    request.deadline = base::Deadline::after_ms(clock(), 500);
    auto started = supervisor().start(std::move(request), yield);
    ASSERT_TRUE(started.ok()) << started.error().message();
    EXPECT_TRUE(eventually(yield, [&] { return models_.count("a", "cancel") == 1; }));
    EXPECT_EQ(status("a").running, 0U);
  });
}

TEST_F(SupervisorTest, AClientThatDoesNotReadPausesItsOwnRequestOnly) {
  run([&](base::Yield yield) {
    auto slow = supervisor().start(ask("a", "endless=1"), yield);
    ASSERT_TRUE(slow.ok());
    EXPECT_TRUE(eventually(yield, [&] { return status("a").tokens_decoded == 256; }));
    EXPECT_EQ(answer("a", "tokens=300", yield).tokens, 300);
    EXPECT_EQ(status("a").tokens_decoded, 556U);
    for (int i = 0; i < 600; ++i) ASSERT_TRUE((*slow)->next(yield, base::Deadline{}).ok());
  });
}

TEST_F(SupervisorTest, EmbedsManyInputsInParts) {
  run([&](base::Yield yield) {
    EmbedRequest request{.model = "a", .principal = 0, .deadline = {}, .cancel = {}, .inputs = {}};
    for (std::size_t i = 1; i <= 130; ++i) request.inputs.emplace_back(std::string(i, 'x'));
    const auto result = supervisor().embed(std::move(request), yield);
    ASSERT_TRUE(result.ok()) << result.error().message();
    ASSERT_EQ(result->embeddings.size(), 130U);
    for (std::size_t i = 0; i < 130; ++i) EXPECT_EQ(result->embeddings[i], std::vector<float>(4, float(i + 1)));
    EXPECT_EQ(result->usage.prompt_tokens, 260);
    EXPECT_EQ(models_.count("a", "embed"), 3);
  });
}

TEST_F(SupervisorTest, LargeInputsAreSpreadOverFrames) {
  run([&](base::Yield yield) {
    EmbedRequest request{.model = "a", .principal = 0, .deadline = {}, .cancel = {}, .inputs = {}};
    for (int i = 0; i < 8; ++i) request.inputs.emplace_back(std::string(100'000, 'x'));
    const auto result = supervisor().embed(std::move(request), yield);
    ASSERT_TRUE(result.ok()) << result.error().message();
    EXPECT_EQ(result->embeddings.size(), 8U);
    EXPECT_EQ(models_.count("a", "embed"), 4) << "256 KiB hold two";
  });
}

TEST_F(SupervisorTest, AnEmbeddingOutOfPlaceNeverReachesAClient) {
  run([&](base::Yield yield) {
    for (const auto& [input, said] : {std::pair{"beyond", "an embedding that nobody waits for"},
                                      std::pair{"again", "an embedding of 4 numbers for input 0"}}) {
      const auto result = supervisor().embed(
          {.model = "a", .principal = 0, .deadline = {}, .cancel = {}, .inputs = {"fine", input}}, yield);
      ASSERT_FALSE(result.ok()) << input;
      EXPECT_THAT(result.error().message(), HasSubstr(said)) << input;
    }
  });
}

TEST_F(SupervisorTest, TokenIdsAreThoseOfTheVocabulary) {
  models_.add("a", "context=400 sequence=200");
  run([&](base::Yield yield) {
    const auto count = [&](std::size_t bytes) {
      return supervisor().tokenize(
          {.model = "a", .deadline = {}, .cancel = {}, .input = std::string(bytes, 'x'), .add_special = true}, yield);
    };
    const auto whole = count(100);
    ASSERT_TRUE(whole.ok()) << whole.error().message();
    EXPECT_EQ(whole->tokens.size(), 100U);
    EXPECT_EQ(whole->tokens.back(), 99);
    EXPECT_EQ(whole->context_length, 200U) << "of a model that was trained on 512";
    const auto beyond = count(101);
    ASSERT_FALSE(beyond.ok());
    EXPECT_THAT(beyond.error().message(), HasSubstr("a token id outside the vocabulary of 100"));
  });
}

TEST_F(SupervisorTest, AnEmbeddingOfAWrongSizeNeverReachesAClient) {
  run([&](base::Yield yield) {
    const auto result = supervisor().embed(
        {.model = "a", .principal = 0, .deadline = {}, .cancel = {}, .inputs = {"fine", "short"}}, yield);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code(), ErrorCode::kWorkerCrashed);
    EXPECT_THAT(result.error().message(), HasSubstr("an embedding of 3 numbers for input 1; wanted one of 4"));
  });
}

class Violation : public SupervisorTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(Violation, EndsTheWorkerWithATypedError) {
  run([&](base::Yield yield) {
    const Answer out = answer("a", std::string("tokens=2 bad=") + GetParam(), yield);
    EXPECT_EQ(out.code(), "worker_crashed");
    EXPECT_THAT(out.error->message(), HasSubstr("broke the frame protocol"));
    EXPECT_TRUE(answer("a", "tokens=1", yield).finished);
  });
}

INSTANTIATE_TEST_SUITE_P(Frames, Violation,
                         ::testing::Values("text", "top", "twice", "ready", "role", "finish", "garbage", "credit",
                                           "prompt", "usage", "finish_prompt"),
                         [](const auto& kind) { return std::string(kind.param); });

TEST_F(SupervisorTest, FramesAboutUnknownRequestsAreIgnored) {
  run([&](base::Yield yield) {
    EXPECT_EQ(answer("a", "tokens=2 bad=unknown", yield).text, " t t!");
    EXPECT_EQ(models_.count("a", "start"), 1);
  });
}

TEST_F(SupervisorTest, GarbageInPlaceOfReadyIsAFailedLoad) {
  models_.add("a", "garbage=1");
  options_.max_failures = 1;
  run([&](base::Yield yield) {
    const Answer out = answer("a", "", yield);
    EXPECT_EQ(out.code(), "model_failed");
    EXPECT_THAT(out.error->message(), HasSubstr("broke the frame protocol"));
  });
}

TEST_F(SupervisorTest, ScoresLabelsAndBelievesNoOthers) {
  options_.max_failures = 20;
  run([&](base::Yield yield) {
    const auto score = [&](std::string prompt) {
      ScoreRequest request;
      request.model = "a";
      request.prompt.input = std::move(prompt);
      request.labels = {"x", "four"};
      return supervisor().score(std::move(request), yield);
    };
    const auto result = score("x");
    ASSERT_TRUE(result.ok()) << result.error().message();
    ASSERT_EQ(result->labels.size(), 2U);
    EXPECT_EQ(result->labels[1].logprobs, std::vector<float>{-4});
    EXPECT_EQ(result->usage.prompt_tokens, 3);
    for (const char* kind : {"count", "lengths", "ids", "usage"}) {
      const auto bad = score(std::string("bad=") + kind);
      ASSERT_FALSE(bad.ok()) << kind;
      EXPECT_EQ(bad.error().code(), ErrorCode::kWorkerCrashed) << kind;
    }
  });
}

TEST_F(SupervisorTest, AScoreGetsItsCoresWithoutAHeartbeat) {
  options_.heartbeat_ms = 600'000;
  run([&](base::Yield yield) {
    ScoreRequest request;
    request.model = "a";
    request.prompt.input = std::string("x");
    request.labels = {"x"};
    EXPECT_TRUE(supervisor().score(std::move(request), yield).ok());
  });
  EXPECT_EQ(models_.count("a", "ping"), 0);
}

TEST_F(SupervisorTest, AScoreThatIsCancelledIsTold) {
  run([&](base::Yield yield) {
    std::stop_source stop;
    side([&](base::Yield inner) {
      EXPECT_TRUE(eventually(inner, [&] { return status("a").running == 1; }));
      stop.request_stop();
    });
    ScoreRequest request;
    request.model = "a";
    request.cancel = stop.get_token();
    request.prompt.input = std::string("hang=1");
    request.labels = {"x"};
    const auto result = supervisor().score(std::move(request), yield);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code(), ErrorCode::kCancelled);
    EXPECT_TRUE(eventually(yield, [&] { return models_.count("a", "cancel") == 1; }));
  });
}

}  // namespace
}  // namespace shoal::engine
