// The real worker with real weights, from the gateway's end of the socketpair: it answers, pauses, stops, and
// dies as it should.
#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shoal/ipc/frames.h"
#include "shoal/ipc/worker_args.h"

namespace shoal {
namespace {

constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

std::filesystem::path weights(const char* name) {
  const char* folder = std::getenv("SHOAL_TEST_WEIGHTS");
  return std::filesystem::path(folder != nullptr ? folder : SHOAL_SOURCE_DIR "/../shared/weights") / name;
}

class Worker {
 public:
  Worker(const std::filesystem::path& model, ipc::WorkerArgs args = {}) {
    std::array<int, 2> pair{};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
    socket_ = pair[0];
    const int model_fd = open(model.c_str(), O_RDONLY | O_CLOEXEC);
    EXPECT_GE(model_fd, 0) << model;
    // dup2 onto itself would keep CLOEXEC.
    const int high_socket = fcntl(pair[1], F_DUPFD_CLOEXEC, 20);
    const int high_model = fcntl(model_fd, F_DUPFD_CLOEXEC, 20);
    args.parent_pid = getpid();
    std::vector<std::string> words = ipc::to_argv(args);
    words.insert(words.begin(), SHOAL_BIN_DIR "/shoal-worker");
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    std::array<char*, 2> environment = {const_cast<char*>("GGML_NO_BACKTRACE=1"), nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, high_socket, ipc::kWorkerSocketFd);
    posix_spawn_file_actions_adddup2(&actions, high_model, ipc::kWorkerModelFd);
    EXPECT_EQ(posix_spawn(&pid_, words[0].c_str(), &actions, nullptr, argv.data(), environment.data()), 0);
    posix_spawn_file_actions_destroy(&actions);
    for (const int fd : {pair[1], model_fd, high_socket, high_model}) close(fd);
  }
  ~Worker() {
    kill(pid_, SIGKILL);
    if (!reaped_) waitpid(pid_, nullptr, 0);
    close(socket_);
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void send(std::uint64_t request, const ipc::Body& body, std::int64_t deadline_ns = kNever) {
    auto bytes = ipc::encode(request, deadline_ns, body);
    ASSERT_TRUE(bytes.ok());
    ASSERT_EQ(write(socket_, bytes->data(), bytes->size()), static_cast<ssize_t>(bytes->size()));
  }

  // The next frame that is not a Stats; nothing at the end of the stream, or after `timeout_ms` of silence.
  std::optional<ipc::Frame> next(int timeout_ms = 60'000) {
    for (;;) {
      auto frame = reader_.next();
      EXPECT_TRUE(frame.ok()) << frame.error().message();
      if (!frame.ok()) return std::nullopt;
      if (frame->has_value()) {
        if (const auto* stats = std::get_if<ipc::Stats>(&(*frame)->body)) {
          work_ = stats->work;
          continue;
        }
        return std::move(*frame);
      }
      pollfd waiting{socket_, POLLIN, 0};
      if (poll(&waiting, 1, timeout_ms) <= 0) return std::nullopt;
      std::array<char, 65536> bytes{};
      const ssize_t got = read(socket_, bytes.data(), bytes.size());
      if (got <= 0) return std::nullopt;
      reader_.feed({bytes.data(), static_cast<std::size_t>(got)});
    }
  }

  template <class T>
  T expect(int timeout_ms = 60'000) {
    auto frame = next(timeout_ms);
    if (!frame) {
      ADD_FAILURE() << "the worker said nothing";
      return T{};
    }
    if (const auto* failed = std::get_if<ipc::Failed>(&frame->body);
        failed != nullptr && !std::is_same_v<T, ipc::Failed>) {
      ADD_FAILURE() << failed->message;
      return T{};
    }
    if (!std::holds_alternative<T>(frame->body)) {
      ADD_FAILURE() << "frame of kind " << frame->body.index();
      return T{};
    }
    return std::get<T>(std::move(frame->body));
  }

  int wait_exit() {
    int status = 0;
    waitpid(pid_, &status, 0);
    reaped_ = true;
    return status;
  }
  [[nodiscard]] pid_t pid() const { return pid_; }
  // Of the last Stats that came.
  [[nodiscard]] std::uint64_t work() const { return work_; }

 private:
  std::uint64_t work_ = 0;
  int socket_ = -1;
  pid_t pid_ = -1;
  bool reaped_ = false;
  ipc::FrameReader reader_;
};

struct Answer {
  std::string text;
  std::vector<std::int32_t> ids;
  std::optional<ipc::Finished> finished;
  std::optional<ipc::Failed> failed;
};

// Reads until every request of `open` has ended.
std::map<std::uint64_t, Answer> collect(Worker& worker, std::size_t open) {
  std::map<std::uint64_t, Answer> answers;
  while (open > 0) {
    auto frame = worker.next();
    if (!frame) {
      ADD_FAILURE() << "the worker stopped with " << open << " answers open";
      break;
    }
    Answer& answer = answers[frame->header.request];
    if (const auto* token = std::get_if<ipc::TokenFrame>(&frame->body)) {
      answer.ids.push_back(token->token.id);
      answer.text += token->text;
    } else if (auto* finished = std::get_if<ipc::Finished>(&frame->body)) {
      answer.text += finished->text;
      answer.finished = *finished;
      --open;
    } else if (auto* failed = std::get_if<ipc::Failed>(&frame->body)) {
      answer.failed = *failed;
      --open;
    }
  }
  return answers;
}

ipc::Generate greedy(std::string prompt, std::int32_t max_tokens) {
  ipc::Generate request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  request.sampling.temperature = 0;
  request.credits = 10'000;
  return request;
}

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
  EXPECT_EQ(worker.work(), 0U) << "the warm-up is no work for a request";
  worker.send(1, greedy("Once upon a time", 40));
  worker.send(2, greedy("Once upon a time", 40));
  auto answers = collect(worker, 2);
  EXPECT_GT(worker.work(), 0U);
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
