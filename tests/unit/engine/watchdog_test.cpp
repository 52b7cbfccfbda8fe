// Everything that happens because time passes or memory runs out: heartbeats, progress, idle unloading, eviction,
// drain.
#include <csignal>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoal/engine/memory_estimate.h"
#include "shoal/engine/rate_meter.h"
#include "shoal/engine/worker_command.h"

#include "unit/engine/harness.h"

namespace shoal::engine {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

namespace fs = std::filesystem;

constexpr std::uint64_t kMib = 1024 * 1024;

class WatchdogTest : public SupervisorTest {
 protected:
  WatchdogTest() { frozen_ = true; }

  [[nodiscard]] std::uint64_t predicted(const std::string& name) {
    const LocalModel& model = models_.at(name);
    return estimate_memory(model, fs::file_size(model.info.path), worker_args(options_, model), options_.cpu).total();
  }
  static double mib(std::uint64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(kMib); }
};

TEST_F(WatchdogTest, AWorkerThatIsNeverReadyIsKilledAndItsRequestsHearWhy) {
  models_.add("a", "ready=no");
  options_.max_failures = 1;
  side([&](base::Yield yield) {
    const Answer out = answer("a", "", yield);
    EXPECT_EQ(out.code(), "model_failed");
    EXPECT_THAT(out.error->message(), HasSubstr("not ready after 120000 ms"));
  });
  run([&](base::Yield yield) {
    ASSERT_TRUE(eventually(yield, [&] { return models_.count("a", "start") == 1; }));
    fake_clock_.advance_ms(120'001);
  });
}

TEST_F(WatchdogTest, AWorkerThatMissesItsHeartbeatIsRestarted) {
  models_.add("a", "pong=no");
  run([&](base::Yield yield) {
    ASSERT_TRUE(supervisor().load("a", yield).ok());
    const auto pid = status("a").pid;
    fake_clock_.advance_ms(options_.idle_heartbeat_ms + 1);
    ASSERT_TRUE(eventually(yield, [&] { return models_.count("a", "ping") == 1; }));
    EXPECT_EQ(status("a").pid, pid);
    fake_clock_.advance_ms(options_.heartbeat_timeout_ms + 1);
    ASSERT_TRUE(eventually(yield, [&] { return status("a").restarts == 1 && status("a").pid > 0; }));
    EXPECT_NE(status("a").pid, pid);
  });
}

TEST_F(WatchdogTest, AWorkerThatAnswersItsHeartbeatsLives) {
  run([&](base::Yield yield) {
    ASSERT_TRUE(supervisor().load("a", yield).ok());
    for (int i = 1; i <= 5; ++i) {
      fake_clock_.advance_ms(options_.idle_heartbeat_ms + 1);
      ASSERT_TRUE(eventually(yield, [&] { return models_.count("a", "ping") == i; }));
      ASSERT_TRUE(eventually(yield, [&, rounds = 0]() mutable { return ++rounds > 5; }));
    }
    EXPECT_EQ(models_.count("a", "start"), 1);
  });
}

TEST_F(WatchdogTest, HeartbeatsAreNoProgressOfARequestThatHangs) {
  options_.heartbeat_timeout_ms = 1'000'000'000;
  Answer out;
  side([&](base::Yield yield) { out = answer("a", "hang=1", yield); });
  run([&](base::Yield yield) {
    ASSERT_TRUE(eventually(yield, [&] { return status("a").running == 1; }));
    // Given to a second worker once, because it had no token; then it hears why.
    ASSERT_TRUE(eventually(yield, [&] {
      fake_clock_.advance_ms(1'000);
      return out.error.has_value();
    }));
  });
  EXPECT_EQ(out.code(), "worker_crashed");
  EXPECT_THAT(out.error->message(), HasSubstr("nothing computed for 30000 ms"));
  EXPECT_GE(models_.count("a", "ping"), 10);
}

// One step of a large model may take longer than every timeout: the heartbeat waits for its end.
TEST_F(WatchdogTest, AWorkerThatComputesALongStepIsSlowNotHung) {
  models_.add("a", "pong=no work=yes");
  side([&](base::Yield yield) {
    auto request = ask("a", "hang=1");
    request.deadline = base::Deadline::after_ms(clock(), 200'000);
    EXPECT_EQ(answer(std::move(request), yield).code(), "deadline_exceeded");
  });
  run([&](base::Yield yield) {
    ASSERT_TRUE(eventually(yield, [&] { return status("a").running == 1; }));
    for (int second = 0; second < 150; second += 5) {
      const int told = models_.count("a", "work");
      fake_clock_.advance_ms(5'000);
      ASSERT_TRUE(eventually(yield, [&] { return models_.count("a", "work") > told + 1; }));
    }
    EXPECT_EQ(models_.count("a", "start"), 1);
    fake_clock_.advance_ms(100'000);
  });
}

TEST_F(WatchdogTest, AWorkerThatWaitsForCoresIsNotHungAndDoesNotWaitForEver) {
  options_.cores = 1;
  options_.core_late_ms = 1'000;
  options_.heartbeat_ms = 100;
  options_.heartbeat_timeout_ms = options_.progress_timeout_ms = 300;
  models_.add("a", "lease=ignore work=yes pong=no");  // in one step for a long time
  Answer waiting;
  run([&](base::Yield yield) {
    auto slow = supervisor().start(ask("a", "hang=1"), yield);
    ASSERT_TRUE(slow.ok());
    side([&](base::Yield inner) { waiting = answer("b", "tokens=2", inner); });
    ASSERT_TRUE(eventually(yield, [&] { return status("b").running == 1; }));
    for (int i = 0; i < 9; ++i) {
      const int told = models_.count("a", "work");
      fake_clock_.advance_ms(100);
      ASSERT_TRUE(eventually(yield, [&] { return models_.count("a", "work") > told + 1; }));
    }
    EXPECT_EQ(models_.count("b", "start"), 1);
    EXPECT_FALSE(waiting.finished);
    EXPECT_EQ(status("b").threads, 0U);
    // After a second the core is taken as lost.
    ASSERT_TRUE(eventually(yield, [&] {
      fake_clock_.advance_ms(10);
      return waiting.finished;
    }));
    EXPECT_EQ(models_.count("b", "start"), 1);
  });
}

TEST_F(WatchdogTest, AnIdleHeartbeatWaitsForCores) {
  options_.cores = 1;
  models_.add("a", "lease=ignore work=yes");
  run([&](base::Yield yield) {
    ASSERT_TRUE(supervisor().load("b", yield).ok());
    auto busy = supervisor().start(ask("a", "hang=1"), yield);
    ASSERT_TRUE(busy.ok());
    fake_clock_.advance_ms(options_.idle_heartbeat_ms + 1);
    ASSERT_TRUE(eventually(yield, [&] { return models_.count("b", "ping") == 1; }));
    EXPECT_EQ(models_.count("b", "threads 1"), 0);
    ASSERT_TRUE(eventually(yield, [&] {
      fake_clock_.advance_ms(10);
      return models_.count("b", "threads 1") == 1;
    }));
    EXPECT_EQ(models_.count("b", "start"), 1);
  });
}

TEST_F(WatchdogTest, AnIdleWorkerWhoseHeartbeatTakesLongIsAskedLessOften) {
  options_.cores = 2;
  models_.add("a", "pong_after=" + models_.file("go"));
  run([&](base::Yield yield) {
    ASSERT_TRUE(supervisor().load("a", yield).ok());
    fake_clock_.advance_ms(options_.idle_heartbeat_ms + 1);
    ASSERT_TRUE(eventually(yield, [&] { return models_.count("a", "threads 2") == 1; }));
    fake_clock_.advance_ms(20);  // one part in 2000 of 40 s
    std::ofstream(models_.file("go")) << "";
    ASSERT_TRUE(eventually(yield, [&] { return models_.count("a", "threads 0") == 1 && status("a").threads == 0; }));
    fake_clock_.advance_ms(39'000);
    ASSERT_TRUE(eventually(yield, [&, rounds = 0]() mutable { return ++rounds > 5; }));
    EXPECT_EQ(models_.count("a", "ping"), 1);
    fake_clock_.advance_ms(1'100);
    ASSERT_TRUE(eventually(yield, [&] { return models_.count("a", "ping") == 2; }));
  });
}

TEST_F(WatchdogTest, EachFurtherRestartInAWindowWaitsTwiceAsLong) {
  options_.backoff_ms = 1'000;
  run([&](base::Yield yield) {
    const auto starts = [&] { return models_.count("a", "start"); };
    const auto kill_it = [&] {
      ASSERT_TRUE(eventually(yield, [&] { return status("a").state == types::ModelState::kReady; }));
      ASSERT_EQ(::kill(status("a").pid, SIGKILL), 0);
    };
    ASSERT_TRUE(supervisor().load("a", yield).ok());
    kill_it();
    ASSERT_TRUE(eventually(yield, [&] { return starts() == 2; })) << "the first is immediate";
    int wanted = 2;
    for (const std::int64_t wait_ms : {1'000, 2'000, 4'000}) {
      kill_it();
      ASSERT_TRUE(eventually(yield, [&] { return status("a").reason.starts_with("restarts in "); }));
      fake_clock_.advance_ms(wait_ms * 3 / 4 - 1);  // +-25 %
      ASSERT_TRUE(eventually(yield, [&, rounds = 0]() mutable { return ++rounds > 5; }));
      EXPECT_EQ(starts(), wanted) << wait_ms;
      fake_clock_.advance_ms(wait_ms / 2 + 2);
      ASSERT_TRUE(eventually(yield, [&] { return starts() == wanted + 1; })) << wait_ms;
      ++wanted;
    }
  });
}

TEST_F(WatchdogTest, AnIdleModelIsUnloadedAndComesBackWhenAsked) {
  options_.idle_unload_ms = 60'000;
  run([&](base::Yield yield) {
    EXPECT_TRUE(answer("a", "tokens=1", yield).finished);
    fake_clock_.advance_ms(60'001);
    ASSERT_TRUE(
        eventually(yield, [&] { return status("a").state == types::ModelState::kStopped && status("a").pid == 0; }));
    EXPECT_EQ(models_.count("a", "drain"), 1);
    EXPECT_TRUE(answer("a", "tokens=1", yield).finished);
    EXPECT_EQ(status("a").restarts, 0U);
  });
}

TEST_F(WatchdogTest, AWorkerThatIgnoresDrainIsKilled) {
  models_.add("a", "drain=no");
  run([&](base::Yield yield) {
    ASSERT_TRUE(supervisor().load("a", yield).ok());
    ASSERT_TRUE(supervisor().unload("a").ok());
    ASSERT_TRUE(eventually(yield, [&] { return models_.count("a", "drain") == 1; }));
    fake_clock_.advance_ms(options_.stop_timeout_ms + 1);
    ASSERT_TRUE(eventually(yield, [&] { return status("a").pid == 0; }));
    EXPECT_EQ(status("a").state, types::ModelState::kStopped);
  });
}

TEST_F(WatchdogTest, TheLeastRecentlyUsedIdleModelMakesRoom) {
  models_.add("c");
  options_.memory_budget_bytes = predicted("a") * 5 / 2;  // two fit
  run([&](base::Yield yield) {
    EXPECT_TRUE(answer("a", "tokens=1", yield).finished);
    fake_clock_.advance_ms(10);
    EXPECT_TRUE(answer("b", "tokens=1", yield).finished);
    fake_clock_.advance_ms(10);
    EXPECT_TRUE(answer("a", "tokens=1", yield).finished);
    EXPECT_TRUE(answer("c", "tokens=1", yield).finished);
    EXPECT_EQ(status("a").state, types::ModelState::kReady);
    EXPECT_EQ(status("b").state, types::ModelState::kStopped);
  });
  EXPECT_THAT(registry_.render(), HasSubstr("shoal_engine_evictions_total{model=\"b\"} 1\n"));
}

TEST_F(WatchdogTest, AModelThatDoesNotFitBesideABusyOneWaitsForItsEnd) {
  options_.memory_budget_bytes = predicted("a") * 3 / 2;
  Answer out;
  run([&](base::Yield yield) {
    auto busy = supervisor().start(ask("a", "hang=1"), yield);
    ASSERT_TRUE(busy.ok());
    side([&](base::Yield inner) { out = answer("b", "tokens=1", inner); });
    ASSERT_TRUE(eventually(yield, [&] { return status("b").reason.starts_with("waits until"); }));
    EXPECT_EQ(status("a").state, types::ModelState::kReady);
    *busy = nullptr;  // a is idle now
    ASSERT_TRUE(eventually(yield, [&] { return out.finished; }));
  });
}

TEST_F(WatchdogTest, ModelsThatAreNeverIdleTakeTurns) {
  options_.memory_budget_bytes = predicted("a") * 3 / 2;
  Answer b;
  Answer late;
  run([&](base::Yield yield) {
    auto first = supervisor().start(ask("a", "hang=1"), yield);
    ASSERT_TRUE(first.ok());
    side([&](base::Yield inner) { b = answer("b", "tokens=1", inner); });
    ASSERT_TRUE(eventually(yield, [&] { return status("b").reason.starts_with("waits until"); }));
    fake_clock_.advance_ms(options_.turn_ms / 2);
    EXPECT_TRUE(answer("a", "tokens=1", yield).finished) << "its turn is not over";
    fake_clock_.advance_ms(options_.turn_ms / 2 + 1);
    ASSERT_TRUE(eventually(yield, [&, rounds = 0]() mutable { return ++rounds > 20; }));
    side([&](base::Yield inner) { late = answer("a", "tokens=1", inner); });
    ASSERT_TRUE(eventually(yield, [&] { return status("a").queued == 1; })) << "and now it is";
    EXPECT_EQ(status("a").running, 1U) << "what runs goes on";
    *first = nullptr;
    ASSERT_TRUE(eventually(yield, [&] { return b.finished && late.finished; }));
    EXPECT_EQ(models_.count("a", "drain"), 1);
    EXPECT_EQ(models_.count("b", "drain"), 1) << "idle, so it makes room at once";
  });
}

TEST_F(WatchdogTest, ATurnThatNobodyWaitsForAnyMoreGoesOn) {
  options_.memory_budget_bytes = predicted("a") * 3 / 2;
  std::stop_source gives_up;
  Answer b;
  Answer late;
  run([&](base::Yield yield) {
    auto first = supervisor().start(ask("a", "hang=1"), yield);
    ASSERT_TRUE(first.ok());
    side([&](base::Yield inner) {
      GenerateRequest request = ask("b", "tokens=1");
      request.cancel = gives_up.get_token();
      b = answer(std::move(request), inner);
    });
    ASSERT_TRUE(eventually(yield, [&] { return status("b").reason.starts_with("waits until"); }));
    fake_clock_.advance_ms(options_.turn_ms + 1);
    ASSERT_TRUE(eventually(yield, [&, rounds = 0]() mutable { return ++rounds > 20; }));
    side([&](base::Yield inner) { late = answer("a", "tokens=1", inner); });
    ASSERT_TRUE(eventually(yield, [&] { return status("a").queued == 1; }));
    gives_up.request_stop();
    ASSERT_TRUE(eventually(yield, [&] { return late.finished; })) << "beside the one that still runs";
    EXPECT_EQ(b.code(), "cancelled");
    EXPECT_EQ(models_.count("a", "drain"), 0);
    *first = nullptr;
  });
}

TEST_F(WatchdogTest, AModelThatComesBackFromACrashLeavesRoomToWhoWaited) {
  models_.add("a", "slots=1");
  options_.memory_budget_bytes = predicted("a") * 3 / 2;
  options_.backoff_ms = 1'000;
  Answer b;
  run([&](base::Yield yield) {
    auto computing = supervisor().start(ask("a", "hang=1"), yield);
    auto queued = supervisor().start(ask("a", "hang=1"), yield);  // not to blame for a crash, so it stays
    ASSERT_TRUE(computing.ok() && queued.ok());
    side([&](base::Yield inner) { b = answer("b", "tokens=1", inner); });
    ASSERT_TRUE(eventually(yield, [&] { return status("b").reason.starts_with("waits until"); }));
    ASSERT_EQ(::kill(status("a").pid, SIGKILL), 0);
    ASSERT_TRUE(eventually(yield, [&] { return status("a").restarts == 1 && status("a").running == 1; }));
    ASSERT_EQ(::kill(status("a").pid, SIGKILL), 0);
    ASSERT_TRUE(eventually(yield, [&] { return status("a").reason.starts_with("restarts in"); }));
    fake_clock_.advance_ms(options_.backoff_max_ms * 2);
    ASSERT_TRUE(eventually(yield, [&] { return b.finished; })) << status("a").reason << "; " << status("b").reason;
    ASSERT_TRUE(eventually(yield, [&] { return status("a").running == 1; })) << "and then it is its turn";
    *queued = nullptr;
  });
}

TEST_F(WatchdogTest, ARequestThatWaitsForMemoryIsToldSoAtItsDeadline) {
  options_.memory_budget_bytes = predicted("a") * 3 / 2;
  Answer out;
  run([&](base::Yield yield) {
    auto busy = supervisor().start(ask("a", "hang=1"), yield);
    ASSERT_TRUE(busy.ok());
    side([&](base::Yield inner) {
      GenerateRequest request = ask("b", "tokens=1");
      request.deadline = base::Deadline::after_ms(fake_clock_, 1'000);
      out = answer(std::move(request), inner);
    });
    ASSERT_TRUE(eventually(yield, [&] { return status("b").reason.starts_with("waits until"); }));
    fake_clock_.advance_ms(1'001);
    ASSERT_TRUE(eventually(yield, [&] { return out.error.has_value(); }));
    EXPECT_EQ(out.code(), "deadline_exceeded");
    EXPECT_THAT(out.error->message(), HasSubstr("waited for memory"));
    *busy = nullptr;
  });
}

TEST_F(WatchdogTest, AModelLargerThanTheBudgetUnloadsNobody) {
  options_.memory_budget_bytes = predicted("a") * 3 / 2;
  models_.at("b").shape.kv_values_per_token = 11'520;
  run([&](base::Yield yield) {
    EXPECT_TRUE(answer("a", "tokens=1", yield).finished);
    EXPECT_EQ(answer("b", "tokens=1", yield).code(), "insufficient_memory");
    EXPECT_EQ(status("a").state, types::ModelState::kReady);
  });
}

TEST_F(WatchdogTest, DrainLetsRunningRequestsFinishAndRefusesNewOnes) {
  Answer running;
  run([&](base::Yield yield) {
    auto started = supervisor().start(ask("a", "tokens=200"), yield);
    ASSERT_TRUE(started.ok());
    side([&](base::Yield inner) { supervisor().drain(base::Deadline{}, inner); });
    // One event of the I/O thread later, the drain has begun; the answer is still under way.
    ASSERT_TRUE((*started)->next(yield, base::Deadline{}).ok());
    EXPECT_EQ(answer("b", "", yield).code(), "shutting_down");
    read(**started, running, yield);
    started->reset();
  });
  EXPECT_TRUE(running.finished);
  EXPECT_EQ(running.tokens, 199);
  EXPECT_EQ(models_.count("b", "start"), 0);
  EXPECT_EQ(status("a").pid, 0);
  EXPECT_EQ(models_.count("a", "drain"), 1);
}

TEST_F(WatchdogTest, WhatStillRunsAtTheDeadlineOfADrainEndsTyped) {
  frozen_ = false;
  options_.stop_timeout_ms = 20;
  models_.add("a", "drain=no");
  Answer running;
  side([&](base::Yield yield) { running = answer("a", "hang=1", yield); });
  run([&](base::Yield yield) {
    ASSERT_TRUE(eventually(yield, [&] { return status("a").running == 1; }));
    supervisor().drain(base::Deadline::after_ms(clock(), 10), yield);
    EXPECT_EQ(status("a").pid, 0);
  });
  EXPECT_EQ(running.code(), "shutting_down");
}

// The 260K stories model: 5 layers, 4 KV heads of 8, so 5 * 4 * (8 + 8) = 320 numbers of cache per token.
gguf::Header small_header() {
  gguf::Header header;
  header.metadata = {{"general.architecture", std::string("llama")},
                     {"llama.block_count", std::uint64_t{5}},
                     {"llama.embedding_length", std::uint64_t{64}},
                     {"llama.attention.head_count", std::uint64_t{8}},
                     {"llama.attention.head_count_kv", std::uint64_t{4}},
                     {"llama.feed_forward_length", std::uint64_t{172}},
                     {"tokenizer.ggml.merges", gguf::Array{gguf::ValueType::kString, 77, {}}}};
  header.tensors = {{"token_embd.weight", {64, 512}, 2, 0, 18'432}, {"blk.0.ffn_gate.weight", {64, 172}, 0, 0, 44'032}};
  return header;
}

TEST(MemoryEstimateTest, ComesFromTheHeaderOfTheFile) {
  const ModelShape shape = shape_of(small_header());
  EXPECT_EQ(shape.kv_values_per_token, 320U);
  EXPECT_EQ(shape.key_length, 8U);
  EXPECT_EQ(shape.value_length, 8U);
  EXPECT_EQ(shape.feed_forward, 172U);
  EXPECT_EQ(shape.merges, 77U);
  EXPECT_EQ(shape.weight_bytes, 18'432U + 44'032);
  EXPECT_EQ(shape.embedding_bytes, 18'432U);
  EXPECT_EQ(shape.embedding_type, 2U) << "Q4_0";
  EXPECT_TRUE(shape.tied);
  EXPECT_TRUE(shape.gated);
  gguf::Header other = small_header();
  other.tensors[1].name = "output.weight";
  EXPECT_FALSE(shape_of(other).tied);
  EXPECT_FALSE(shape_of(other).gated);
}

class EstimateTest : public ::testing::Test {
 protected:
  EstimateTest() {
    model_.shape = shape_of(small_header());
    model_.info.embedding_length = 64;
    model_.info.generates = true;
    args_.context_length = 4096;
    args_.cold_cache_mib = 9;
  }
  // Attention then has no scratch worth the name, in the one thread.
  void without_heads() {
    model_.shape.heads = model_.shape.key_length = model_.shape.value_length = 0;
    args_.threads = 1;
  }
  [[nodiscard]] MemoryEstimate estimate() const { return estimate_memory(model_, 100 * kMib, args_, cpu_); }

  LocalModel model_;
  ipc::WorkerArgs args_;
  CpuTraits cpu_;
};

TEST_F(EstimateTest, TheCacheIsAsLargeAsItsTypeSays) {
  EXPECT_EQ(estimate().kv_bytes, 4096U * 320 * 2);
  args_.kv_type = types::KvType::kQ8;
  EXPECT_EQ(estimate().kv_bytes, 4096U * 320 / 32 * 34);
  args_.kv_type = types::KvType::kQ4;
  EXPECT_EQ(estimate().kv_bytes, 4096U * 320 / 32 * 18);
  model_.shape.kv_values_per_token = 0;
  EXPECT_EQ(estimate().kv_bytes, 25 * kMib) << "not known: a quarter of the file";
  model_.info.architecture = "nomic-bert";
  EXPECT_EQ(estimate().kv_bytes, 0U) << "an encoder keeps no cache";
}

TEST_F(EstimateTest, ATiedTableIsKeptTwiceWhereTheMachineReordersIt) {
  EXPECT_EQ(estimate().weights_bytes, model_.shape.weight_bytes);
  cpu_.avx2 = true;
  EXPECT_EQ(estimate().weights_bytes, model_.shape.weight_bytes + 18'432);
  args_.use_mmap = true;
  EXPECT_EQ(estimate().weights_bytes, model_.shape.weight_bytes) << "nothing is reordered in a mapped file";
  args_.use_mmap = false;
  model_.shape.tied = false;
  EXPECT_EQ(estimate().weights_bytes, model_.shape.weight_bytes);
  model_.shape.tied = true;
  model_.shape.embedding_type = 8;  // Q8_0
  EXPECT_EQ(estimate().weights_bytes, model_.shape.weight_bytes);
  cpu_.amx = true;
  EXPECT_EQ(estimate().weights_bytes, model_.shape.weight_bytes + 18'432);
}

TEST_F(EstimateTest, WhatPrefixesMayTakeIsReserved) {
  EXPECT_EQ(estimate().cold_bytes, 9 * kMib);
  args_.keep_prefixes = false;
  EXPECT_EQ(estimate().cold_bytes, 0U);
}

// The compute buffers of ggml's log, in bytes, with four slots and flash attention. A step is made of whole sequences.
TEST_F(EstimateTest, AStepIsPredictedAsGgmlAllocatesItForEveryWidth) {
  struct Case {
    std::uint32_t width, ubatch, context;
    std::uint64_t feed_forward, vocabulary, bytes;
  };
  for (const Case& c : {Case{576, 64, 8192, 1536, 49152, 2'897'056}, Case{576, 128, 8192, 1536, 49152, 5'793'952},
                        Case{576, 512, 8192, 1536, 49152, 22'952'608}, Case{576, 2048, 8192, 1536, 49152, 91'364'512},
                        Case{576, 128, 2048, 1536, 49152, 4'196'512}, Case{512, 128, 8192, 1408, 6400, 5'461'152},
                        Case{512, 512, 8192, 1408, 6400, 21'634'208}, Case{288, 512, 2048, 768, 32000, 9'504'928}}) {
    model_.info.embedding_length = c.width;
    model_.shape.feed_forward = c.feed_forward;
    model_.shape.vocabulary = c.vocabulary;
    args_.context_length = c.context;
    args_.ubatch = c.ubatch;
    without_heads();
    const std::uint64_t step = (c.ubatch + 4) / 5 * 5;
    const std::uint64_t beside = 5 * c.vocabulary * 4 + step * c.feed_forward * 34 / 32;
    const auto bytes = static_cast<double>(c.bytes);
    EXPECT_NEAR(static_cast<double>(estimate().compute_bytes - beside), bytes, bytes / 100)
        << c.width << " wide, " << c.ubatch << " tokens, " << c.context << " cells";
  }
}

TEST_F(EstimateTest, AttentionHasScratchForEachThread) {
  model_.shape.heads = 32;
  model_.shape.key_length = model_.shape.value_length = 128;
  args_.threads = 8;
  const std::uint64_t before = estimate().compute_bytes;
  args_.threads = 16;
  EXPECT_EQ(estimate().compute_bytes, before + 8U * 4 * (8 * 64 * (256 + 2) + 2 * 64 * 64 + 64 * 256));
}

TEST_F(EstimateTest, AStepTakesWhatGgmlAllocatesForIt) {
  // ggml's own number for this model at 128 tokens, 4 slots and 2112 cells, from its log: 1,003,712 bytes.
  args_.ubatch = 128;
  args_.context_length = 2048;
  const double graph = 1'003'712;
  without_heads();
  const std::uint64_t scores_and_mask = 2 * 64 * 64 * 4;
  EXPECT_NEAR(static_cast<double>(estimate().compute_bytes - scores_and_mask), graph, graph / 100);
  const std::uint64_t before = estimate().compute_bytes;
  model_.shape.vocabulary = 1000;
  EXPECT_EQ(estimate().compute_bytes, before + 5 * 1000 * 4) << "a row of logits for each slot and the heartbeat";
}

TEST(RateMeterTest, LeavesOutTheSecondThatIsNotOver) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  RateMeter rate;
  EXPECT_EQ(rate.per_second(0), 0);
  rate.add(1 * kSecond, 100);
  rate.add(2 * kSecond, 200);
  rate.add(500 * kSecond, 7);
  EXPECT_EQ(rate.per_second(500 * kSecond + 1), 150);
  EXPECT_NEAR(rate.per_second(501 * kSecond), 307.0 / 3, 1e-9);
  for (int i = 0; i < 12; ++i) rate.add((600 + i) * kSecond, 10);
  EXPECT_EQ(rate.per_second(611 * kSecond), 10);
}

}  // namespace
}  // namespace shoal::engine
