// When the scheduler hands frames on: with each step for those who read along, collected for the others.
#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <limits>
#include <map>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include "shoal/worker/scheduler.h"

#include "fake_model.h"
#include "moved_clock.h"

namespace shoal::worker {
namespace {

constexpr std::int64_t kMs = 1'000'000;

// Counts tokens per write, as the gateway would get them.
class HandOnTest : public testing::Test {
 protected:
  HandOnTest() : model(small_shape()) {
    model.on_decode = [this] {
      clock.moved_ns += kMs;
      if (on_step) on_step();
    };
  }

  void post(std::uint64_t id, ipc::Body body) {
    ipc::Frame frame;
    frame.header.request = id;
    frame.header.deadline_ns = std::numeric_limits<std::int64_t>::max();
    frame.body = std::move(body);
    scheduler.post(std::move(frame));
  }
  static ipc::Generate ask(std::int32_t prompt, std::int32_t max_tokens, bool streams, std::uint32_t credits = 1000) {
    ipc::Generate request;
    request.prompt = std::vector<std::int32_t>{prompt};
    request.max_tokens = max_tokens;
    request.credits = credits;
    request.sampling.temperature = 0;
    request.streams = streams;
    return request;
  }
  void drain() {
    post(0, ipc::Drain{});
    scheduler.run();
  }
  void send(std::uint64_t request, const ipc::Body& body) {
    if (std::holds_alternative<ipc::TokenFrame>(body)) ++unread[request];
    if (std::holds_alternative<ipc::Finished>(body)) finished_unread = true;
  }
  void flush() {
    for (auto& [request, tokens] : unread) {
      if (tokens > 0) writes[request].push_back(std::exchange(tokens, 0));
    }
    if (std::exchange(finished_unread, false)) ++finished;
    if (const auto call = on_flush) call();
  }

  MovedClock clock;
  FakeModel model;
  std::function<void()> on_step;
  std::function<void()> on_flush;
  std::map<std::uint64_t, int> unread;
  std::map<std::uint64_t, std::vector<int>> writes;  // of each request: tokens that came together
  bool finished_unread = false;
  int finished = 0;
  Scheduler scheduler{model,
                      clock,
                      [this](std::uint64_t request, const ipc::Body& body) { send(request, body); },
                      {.seed = 1, .cold_cache_bytes = 0, .speculates = false, .flush = [this] { flush(); }}};
};

TEST_F(HandOnTest, TokensOfAStreamLeaveWithTheirStep) {
  post(1, ask(10, 12, /*streams=*/true));
  drain();
  EXPECT_EQ(writes[1], std::vector<int>(12, 1));
  EXPECT_EQ(finished, 1);
}

TEST_F(HandOnTest, TokensThatNobodyReadsAlongAreCollectedForTenMilliseconds) {
  post(1, ask(10, 30, /*streams=*/false));
  drain();
  // The first one is timed by the gateway.
  EXPECT_EQ(writes[1], (std::vector<int>{1, 11, 11, 7}));
  EXPECT_EQ(finished, 1);
}

TEST_F(HandOnTest, BesideAStreamNothingWaits) {
  post(1, ask(10, 10, /*streams=*/false));
  post(2, ask(20, 10, /*streams=*/true));
  drain();
  EXPECT_EQ(writes[1], std::vector<int>(10, 1));
  EXPECT_EQ(writes[2], std::vector<int>(10, 1));
}

TEST_F(HandOnTest, WhoIsRefusedHearsOfItAtOnce) {
  on_step = [this] {
    if (model.batches.size() == 5) post(2, ask(kVocabulary, 1000, /*streams=*/false));
  };
  post(1, ask(10, 30, /*streams=*/false));
  drain();
  EXPECT_EQ(writes[1], (std::vector<int>{1, 4, 11, 11, 3})) << "the refusal takes along what waits";
}

// The gateway gives credits for what it has read, so what was held back now would be held back for ever.
TEST_F(HandOnTest, AnAnswerThatIsOutOfCreditsHandsOnWhatItHas) {
  std::promise<void> credited;
  on_flush = [&] {
    if (writes[1] != std::vector<int>{1, 4}) return;
    on_flush = nullptr;
    post(1, ipc::Credit{100});
    credited.set_value();
  };
  post(1, ask(10, 12, /*streams=*/false, /*credits=*/5));
  post(0, ipc::Drain{});
  std::jthread watchdog([&, given = credited.get_future()] {
    if (given.wait_for(std::chrono::seconds(10)) != std::future_status::ready) scheduler.stop();
  });
  scheduler.run();
  EXPECT_EQ(writes[1], (std::vector<int>{1, 4, 7}));
  EXPECT_EQ(finished, 1);
}

}  // namespace
}  // namespace shoal::worker
