// The gateway's end of the socketpair of a real worker, for tests.
#pragma once

#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

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

inline constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

inline std::filesystem::path weights(const char* name) {
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
          stats_ = *stats;
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
  [[nodiscard]] const ipc::Stats& stats() const { return stats_; }

 private:
  ipc::Stats stats_;
  int socket_ = -1;
  pid_t pid_ = -1;
  bool reaped_ = false;
  ipc::FrameReader reader_;
};

struct Answer {
  std::string text;
  std::vector<std::int32_t> ids;
  std::vector<float> logprobs;
  std::optional<ipc::Finished> finished;
  std::optional<ipc::Failed> failed;
};

// Reads until every request of `open` has ended.
inline std::map<std::uint64_t, Answer> collect(Worker& worker, std::size_t open) {
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
      answer.logprobs.push_back(token->token.logprob);
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

inline ipc::Generate greedy(std::string prompt, std::int32_t max_tokens) {
  ipc::Generate request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  request.sampling.temperature = 0;
  request.credits = 10'000;
  return request;
}

}  // namespace shoal
