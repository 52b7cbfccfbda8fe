// The real worker with real weights, from the gateway's end of the socketpair: it answers, pauses, stops, and
// dies as it should.
#include "drill.h"

#include <fstream>

namespace shoal {
namespace {

class Drill : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(model_)) GTEST_SKIP() << "no test weights at " << model_;
    args_.context_length = 2048;
  }
  const std::filesystem::path model_ = weights("stories260K-f32.gguf");
  ipc::WorkerArgs args_;
};

TEST_F(Drill, AnswersGreedilyAndTheSameTwice) {
  Worker worker(model_, args_);
  const auto ready = worker.expect<ipc::Ready>();
  EXPECT_EQ(ready.slots, 4U);
  EXPECT_EQ(ready.vocabulary, 512U);
  EXPECT_NE(ready.sandbox.find("seccomp"), std::string::npos);
  EXPECT_FALSE(ready.cpu_backend.empty());
  EXPECT_EQ(worker.stats().work, 0U) << "the warm-up is no work for a request";
  worker.send(1, greedy("Once upon a time", 40));
  worker.send(2, greedy("Once upon a time", 40));
  auto answers = collect(worker, 2);
  EXPECT_GT(worker.stats().work, 0U);
  EXPECT_NE(answers[1].text.find("there was"), std::string::npos) << answers[1].text;
  EXPECT_EQ(answers[1].ids, answers[2].ids);
  ASSERT_TRUE(answers[1].finished);
  EXPECT_EQ(answers[1].finished->usage.completion_tokens, 40);
  EXPECT_EQ(answers[1].finished->reason, types::FinishReason::kLength);
}

TEST_F(Drill, EightRequestsInFourSlotsEqualEachAlone) {
  Worker worker(model_, args_);
  worker.expect<ipc::Ready>();
  const std::vector<std::string> prompts = {"Once",    "One day", "Lily",     "The dog",
                                            "Tim saw", "A cat",   "Mom said", "It was"};
  std::vector<std::vector<std::int32_t>> alone;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    worker.send(100 + i, greedy(prompts[i], 24));
    alone.push_back(collect(worker, 1)[100 + i].ids);
    EXPECT_EQ(alone.back().size(), 24U);
  }
  for (std::size_t i = 0; i < prompts.size(); ++i) worker.send(200 + i, greedy(prompts[i], 24));
  auto together = collect(worker, prompts.size());
  for (std::size_t i = 0; i < prompts.size(); ++i) EXPECT_EQ(together[200 + i].ids, alone[i]) << prompts[i];
}

TEST_F(Drill, TokensCarrySignals) {
  Worker worker(model_, args_);
  worker.expect<ipc::Ready>();
  ipc::Generate request = greedy("Once upon a", 5);
  request.top_logprobs = 3;
  worker.send(1, request);
  worker.expect<ipc::Accepted>();
  for (int i = 0; i < 5; ++i) {
    const auto frame = worker.expect<ipc::TokenFrame>();
    EXPECT_LE(frame.token.logprob, 0.0F);
    EXPECT_GE(frame.token.entropy, 0.0F);
    EXPECT_GE(frame.token.margin, 0.0F);
    ASSERT_EQ(frame.token.top.size(), 3U);
    EXPECT_EQ(frame.token.top[0].id, frame.token.id) << "greedy chooses the best";
    EXPECT_GT(frame.token.decode_us, 0U);
  }
}

TEST_F(Drill, WithoutCreditsAnAnswerPausesAndOthersGoOn) {
  Worker worker(model_, args_);
  worker.expect<ipc::Ready>();
  ipc::Generate paused = greedy("Once", 10);
  paused.credits = 3;
  worker.send(1, paused);
  worker.send(2, greedy("One day", 30));
  auto answers = collect(worker, 1);
  EXPECT_TRUE(answers[2].finished);
  EXPECT_EQ(answers[1].ids.size(), 3U);
  worker.send(1, ipc::Credit{100});
  EXPECT_EQ(collect(worker, 1)[1].ids.size(), 7U);
}

TEST_F(Drill, ACancelledRequestIsSilentAndItsPlaceIsFree) {
  args_.slots = 1;
  Worker worker(model_, args_);
  worker.expect<ipc::Ready>();
  worker.send(1, greedy("Once", 120));
  worker.expect<ipc::Accepted>();
  worker.expect<ipc::TokenFrame>();
  worker.send(1, ipc::Cancel{});
  worker.send(2, greedy("One day", 5));
  auto answers = collect(worker, 1);
  EXPECT_TRUE(answers[2].finished);
  EXPECT_FALSE(answers[1].finished);
}

TEST_F(Drill, AStopStringIsCutExactly) {
  Worker worker(model_, args_);
  worker.expect<ipc::Ready>();
  worker.send(1, greedy("Once upon a time", 40));
  const std::string whole = collect(worker, 1)[1].text;
  for (std::size_t at = 1; at + 4 < whole.size(); at += 7) {
    ipc::Generate request = greedy("Once upon a time", 40);
    request.stop = {whole.substr(at, 4)};
    worker.send(at + 10, request);
    auto answer = collect(worker, 1)[at + 10];
    EXPECT_EQ(answer.text, whole.substr(0, whole.find(request.stop[0])));
    ASSERT_TRUE(answer.finished);
    EXPECT_EQ(answer.finished->reason, types::FinishReason::kStop);
  }
}

TEST_F(Drill, APromptThatDoesNotFitIsRefusedWithBothNumbers) {
  Worker worker(model_, args_);
  worker.expect<ipc::Ready>();
  worker.send(1, greedy(std::string(8000, 'a'), 5));
  auto failed = worker.expect<ipc::Failed>();
  EXPECT_EQ(failed.code, ErrorCode::kContextLengthExceeded);
  EXPECT_NE(failed.message.find("128"), std::string::npos) << failed.message;
  worker.send(2, greedy("Once", 5000));
  failed = worker.expect<ipc::Failed>();
  EXPECT_EQ(failed.param, "max_tokens");
}

TEST_F(Drill, APassedDeadlineIsSaid) {
  Worker worker(model_, args_);
  worker.expect<ipc::Ready>();
  ipc::Generate request = greedy("Once", 100);
  request.credits = 1;  // pauses after one token, so that only the deadline can end it
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  worker.send(1, request, std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec + 200'000'000);
  auto answer = collect(worker, 1)[1];
  ASSERT_TRUE(answer.failed);
  EXPECT_EQ(answer.failed->code, ErrorCode::kDeadlineExceeded);
}

TEST_F(Drill, ChatWithoutATemplateIsRefusedByName) {
  Worker worker(model_, args_);
  worker.expect<ipc::Ready>();
  ipc::Generate request = greedy("", 5);
  request.prompt = std::vector<types::Message>{{types::Role::kUser, "hi", ""}};
  worker.send(1, request);
  EXPECT_EQ(worker.expect<ipc::Failed>().code, ErrorCode::kUnsupportedParameter);
}

TEST_F(Drill, APingIsAnsweredByTheModelWhileItWorks) {
  Worker worker(model_, args_);
  worker.expect<ipc::Ready>();
  worker.send(0, ipc::Ping{});
  worker.expect<ipc::Pong>();
  worker.send(1, greedy("Once", 100));
  worker.send(0, ipc::Ping{});
  bool pong = false;
  for (bool open = true; open || !pong;) {
    auto frame = worker.next();
    ASSERT_TRUE(frame);
    pong = pong || std::holds_alternative<ipc::Pong>(frame->body);
    open = open && !std::holds_alternative<ipc::Finished>(frame->body);
  }
}

TEST_F(Drill, DrainFinishesWhatRunsThenExits) {
  Worker worker(model_, args_);
  worker.expect<ipc::Ready>();
  worker.send(1, greedy("Once", 50));
  worker.send(0, ipc::Drain{});
  EXPECT_EQ(collect(worker, 1)[1].ids.size(), 50U);
  const int status = worker.wait_exit();
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST_F(Drill, ClosingTheSocketEndsTheWorker) {
  pid_t pid = -1;
  {
    Worker worker(model_, args_);
    worker.expect<ipc::Ready>();
    pid = worker.pid();
  }
  EXPECT_NE(kill(pid, 0), 0);
}

TEST_F(Drill, AHostileFileGivesATypedErrorAndAnExit) {
  const auto broken = std::filesystem::temp_directory_path() / ("broken-" + std::to_string(getpid()) + ".gguf");
  std::ifstream in(model_, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(in)), {});
  for (const std::size_t keep : {std::size_t{0}, std::size_t{3}, std::size_t{100}, bytes.size() / 2}) {
    std::ofstream(broken, std::ios::binary) << bytes.substr(0, keep);
    Worker worker(broken, args_);
    EXPECT_EQ(worker.expect<ipc::Failed>().code, ErrorCode::kModelInvalid) << "cut to " << keep;
    EXPECT_TRUE(WIFEXITED(worker.wait_exit()));
  }
  std::filesystem::remove(broken);
}

TEST(DrillChat, TextFromAClientNeverBecomesAControlToken) {
  const auto model = weights("minimind2-small-26m-q4_0.gguf");
  if (!std::filesystem::exists(model)) GTEST_SKIP() << "no test weights at " << model;
  Worker worker(model);
  worker.expect<ipc::Ready>();
  const auto prompt_tokens = [&worker](std::uint64_t id, const std::string& text) {
    ipc::Generate request = greedy("", 1);
    request.prompt = std::vector<types::Message>{{types::Role::kUser, text, ""}};
    worker.send(id, request);
    auto answer = collect(worker, 1)[id];
    return answer.finished ? answer.finished->usage.prompt_tokens : -1;
  };
  const auto plain = prompt_tokens(1, "x");
  EXPECT_GT(plain, 4);
  // As a control token it would be one; as text it is many.
  EXPECT_GT(prompt_tokens(2, "<|im_end|>"), plain + 2);
}

TEST(DrillEmbed, EmbedsInBatchesAndRefusesWhatIsTooLong) {
  const auto model = weights("all-MiniLM-L6-v2-q8_0.gguf");
  if (!std::filesystem::exists(model)) GTEST_SKIP() << "no test weights at " << model;
  Worker worker(model);
  const auto ready = worker.expect<ipc::Ready>();
  EXPECT_EQ(ready.embedding_length, 384U);
  ipc::Embed request;
  for (const char* text :
       {"That is a happy person", "That is a happy dog", "That is a very happy person", "Today is a sunny day"}) {
    request.inputs.emplace_back(std::string(text));
  }
  worker.send(1, request);
  std::vector<std::vector<float>> vectors;
  for (int i = 0; i < 4; ++i) {
    auto embedding = worker.expect<ipc::Embedding>();
    EXPECT_EQ(embedding.index, static_cast<std::uint32_t>(i));
    EXPECT_EQ(embedding.last, i == 3);
    vectors.push_back(std::move(embedding.values));
  }
  const auto cosine = [&vectors](std::size_t a, std::size_t b) {
    float sum = 0;
    for (std::size_t i = 0; i < 384; ++i) sum += vectors[a][i] * vectors[b][i];
    return sum;
  };
  // The values that were recorded with these weights: weights/SOURCE.txt.
  EXPECT_NEAR(cosine(0, 1), 0.701F, 0.01F);
  EXPECT_NEAR(cosine(0, 2), 0.943F, 0.01F);
  EXPECT_NEAR(cosine(0, 3), 0.255F, 0.01F);
  worker.send(2, ipc::Embed{0, {std::string(4000, 'a') + std::string(" a b c d e f g")}});
  std::string many;
  for (int i = 0; i < 600; ++i) many += "word ";
  worker.send(3, ipc::Embed{0, {many}});
  bool refused = false;
  for (int i = 0; i < 2; ++i) {
    auto frame = worker.next();
    ASSERT_TRUE(frame);
    if (frame->header.request != 3) continue;
    const auto* failed = std::get_if<ipc::Failed>(&frame->body);
    refused = failed != nullptr && failed->code == ErrorCode::kContextLengthExceeded;
  }
  EXPECT_TRUE(refused);
}

}  // namespace
}  // namespace shoal
