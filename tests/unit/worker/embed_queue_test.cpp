// Batches of eight tokens and four inputs, over a fake model that gives each input its first token back.
#include "shoal/worker/embed_queue.h"

#include <limits>
#include <map>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "unit/worker/fake_model.h"

namespace shoal::worker {
namespace {

using Batch = std::vector<std::vector<std::int32_t>>;

ModelShape embedder() {
  ModelShape shape = small_shape();
  shape.sequence_length = 8;
  shape.sequence_ids = 4;
  return shape;
}

class EmbedQueueTest : public testing::Test {
 protected:
  EmbedQueueTest()
      : model(embedder()), queue(model, [this](std::uint64_t request, const ipc::Body& body) {
          if (const auto* vector = std::get_if<ipc::Embedding>(&body)) {
            EXPECT_TRUE(vectors[request].emplace(vector->index, vector->values).second) << "sent twice";
            if (vector->last) done.insert(request);
          }
          if (const auto* bad = std::get_if<ipc::Failed>(&body)) failed[request] = bad->code;
        }) {
    model.on_progress([] {});
  }

  Result<void> push(std::uint64_t request, std::vector<std::vector<std::int32_t>> inputs,
                    std::int64_t deadline_ns = std::numeric_limits<std::int64_t>::max()) {
    ipc::FrameHeader header;
    header.request = request;
    header.deadline_ns = deadline_ns;
    ipc::Embed body;
    body.inputs.assign(inputs.begin(), inputs.end());
    return queue.push(header, body);
  }
  void step() {
    queue.step([this](std::vector<std::uint64_t> requests) {
      begun.push_back(std::move(requests));
      return allowed;
    });
  }
  void run() {
    while (!queue.empty()) step();
  }

  FakeModel model;
  EmbedQueue queue;
  bool allowed = true;
  std::vector<std::vector<std::uint64_t>> begun;
  std::map<std::uint64_t, std::map<std::uint32_t, std::vector<float>>> vectors;
  std::set<std::uint64_t> done;
  std::map<std::uint64_t, ErrorCode> failed;
};

TEST_F(EmbedQueueTest, RequestsShareABatchAsFarAsTokensAndSequencesGo) {
  for (std::int32_t i = 1; i <= 5; ++i) ASSERT_TRUE(push(static_cast<std::uint64_t>(i), {{i, i}}).ok());
  ASSERT_TRUE(push(6, {{6, 6, 6, 6, 6, 6}}).ok());
  ASSERT_TRUE(push(7, {{7}}).ok());
  run();
  ASSERT_EQ(model.embedded.size(), 3U);
  EXPECT_EQ(model.embedded[0], (Batch{{1, 1}, {2, 2}, {3, 3}, {4, 4}}));
  EXPECT_EQ(model.embedded[1], (Batch{{5, 5}, {6, 6, 6, 6, 6, 6}})) << "eight tokens, so 7 waits";
}

TEST_F(EmbedQueueTest, ALargeRequestLeavesRoomAndIsNotOvertakenForEver) {
  ASSERT_TRUE(push(1, {{10}, {11}, {12}, {13}, {14}, {15}}).ok());
  ASSERT_TRUE(push(2, {{20}}).ok());
  step();
  EXPECT_EQ(model.embedded[0], (Batch{{10}, {20}, {11}, {12}}));
  EXPECT_EQ(done, std::set<std::uint64_t>{2});
  for (std::uint64_t id = 3; id < 8; ++id) ASSERT_TRUE(push(id, {{30}}).ok());
  step();
  EXPECT_EQ(model.embedded[1].front(), std::vector<std::int32_t>{13}) << "before those that came later";
  run();
  EXPECT_EQ(vectors[1].size(), 6U);
  for (std::uint32_t i = 0; i < 6; ++i) EXPECT_EQ(vectors[1][i], std::vector<float>{static_cast<float>(10 + i)});
  EXPECT_EQ(done.size(), 7U);
  EXPECT_EQ(queue.tokens(), 12U);
}

TEST_F(EmbedQueueTest, ACancelledRequestLeavesItsNeighboursWhole) {
  ASSERT_TRUE(push(1, {{1}, {2}}).ok());
  ASSERT_TRUE(push(2, {{3}}).ok());
  model.on_embed = [this] { model.interrupt(); };
  step();
  EXPECT_TRUE(vectors.empty());
  model.on_embed = nullptr;
  model.clear_interrupt();
  EXPECT_TRUE(queue.cancel(1));
  EXPECT_FALSE(queue.cancel(1));
  run();
  EXPECT_EQ(model.embedded.back(), (Batch{{3}}));
  EXPECT_EQ(done, std::set<std::uint64_t>{2});
  EXPECT_FALSE(vectors.contains(1));
}

TEST_F(EmbedQueueTest, WhatMayNotBeginWaits) {
  ASSERT_TRUE(push(1, {{1}, {2}}).ok());
  ASSERT_TRUE(push(2, {{3}}).ok());
  allowed = false;
  step();
  EXPECT_TRUE(model.embedded.empty());
  EXPECT_EQ(begun, (std::vector<std::vector<std::uint64_t>>{{1, 2}}));
  allowed = true;
  run();
  EXPECT_EQ(done, (std::set<std::uint64_t>{1, 2}));
}

TEST_F(EmbedQueueTest, AFaultReachesOnlyTheRequestThatHasIt) {
  model.poisoned_input = 5;
  ASSERT_TRUE(push(1, {{1}, {2}}).ok());
  ASSERT_TRUE(push(2, {{5}}).ok());
  ASSERT_TRUE(push(3, {{3}}).ok());
  run();
  EXPECT_EQ(done, (std::set<std::uint64_t>{1, 3}));
  EXPECT_EQ(failed, (std::map<std::uint64_t, ErrorCode>{{2, ErrorCode::kNumericFault}}));
}

TEST_F(EmbedQueueTest, WhatIsLateFailsAndWhatCannotBeIsRefused) {
  const base::SystemClock clock;
  ASSERT_TRUE(push(1, {{1}}, clock.monotonic_ns() - 1).ok());
  ASSERT_TRUE(push(2, {{2}}).ok());
  queue.expire(clock);
  EXPECT_EQ(failed[1], ErrorCode::kDeadlineExceeded);
  run();
  EXPECT_EQ(done, std::set<std::uint64_t>{2});
  EXPECT_EQ(push(3, {{1, 2, 3, 4, 5, 6, 7, 8, 9}}).error().code(), ErrorCode::kContextLengthExceeded);
  EXPECT_EQ(push(4, {{}}).error().code(), ErrorCode::kInvalidRequest);
  EXPECT_EQ(push(5, {}).error().code(), ErrorCode::kInvalidRequest);
  EXPECT_TRUE(queue.empty());
  for (std::uint64_t id = 100; id < 100 + 1024; ++id) ASSERT_TRUE(push(id, {{1}}).ok());
  EXPECT_EQ(push(6, {{1}}).error().code(), ErrorCode::kOverloaded);
}

}  // namespace
}  // namespace shoal::worker
