// Runs the real `shoal`, with an environment of its own, and says what it printed and how it ended.
#pragma once

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace shoal::cli {

// A folder that goes away with its owner.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "shoal-cli.XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  [[nodiscard]] std::string path(const std::string& name) const { return (path_ / name).string(); }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name)) << text;
    return path(name);
  }

 private:
  std::filesystem::path path_;
};

struct Ended {
  int code = -1;  // exit code, or 128 + signal
  std::string out;
  std::string err;
};

// A process with both outputs on pipes. Killed when it is destroyed.
class Process {
 public:
  Process(const TemporaryFolder& home, std::vector<std::string> args, std::vector<std::string> variables = {}) {
    std::array<int, 2> out{};
    std::array<int, 2> err{};
    if (::pipe2(out.data(), O_CLOEXEC) != 0 || ::pipe2(err.data(), O_CLOEXEC) != 0) std::abort();
    args.insert(args.begin(), std::string(SHOAL_BIN_DIR) + "/shoal");
    // Nothing of the machine's own configuration or running servers is seen.
    variables.insert(variables.end(),
                     {"HOME=" + home.path(""), "XDG_RUNTIME_DIR=" + home.path("run"), "LC_ALL=C.UTF-8"});
    const auto pointers = [](std::vector<std::string>& words) {
      std::vector<char*> list;
      for (std::string& word : words) list.push_back(word.data());
      list.push_back(nullptr);
      return list;
    };
    std::vector<char*> argv = pointers(args);
    std::vector<char*> envp = pointers(variables);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(::open("/dev/null", O_RDONLY), STDIN_FILENO);
      ::dup2(out[1], STDOUT_FILENO);
      ::dup2(err[1], STDERR_FILENO);
      ::execve(argv[0], argv.data(), envp.data());
      ::_exit(127);
    }
    ::close(out[1]);
    ::close(err[1]);
    pipes_ = {out[0], err[0]};
  }
  ~Process() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    for (const int fd : pipes_) {
      if (fd >= 0) ::close(fd);
    }
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void signal(int number) const { ::kill(pid_, number); }
  [[nodiscard]] pid_t pid() const { return pid_; }

  // Reads until stdout (or stderr) holds `text`; false when the process ends first, or after 20 s.
  bool says(const std::string& text, bool on_stderr = false) {
    while ((on_stderr ? ended_.err : ended_.out).find(text) == std::string::npos) {
      if (!read_more()) return false;
    }
    return true;
  }

  // Reads both outputs to their ends and waits for the process.
  Ended wait() {
    while (read_more()) {
    }
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    ended_.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return ended_;
  }

  [[nodiscard]] const std::string& out() const { return ended_.out; }

 private:
  bool read_more() {
    std::array<pollfd, 2> waits = {pollfd{pipes_[0], POLLIN, 0}, pollfd{pipes_[1], POLLIN, 0}};
    if (pipes_[0] < 0 && pipes_[1] < 0) return false;
    if (::poll(waits.data(), waits.size(), 20'000) <= 0) return false;
    for (std::size_t i = 0; i < waits.size(); ++i) {
      if (waits[i].revents == 0) continue;
      std::array<char, 4096> buffer{};
      const ssize_t got = ::read(pipes_[i], buffer.data(), buffer.size());
      if (got > 0) {
        (i == 0 ? ended_.out : ended_.err).append(buffer.data(), static_cast<std::size_t>(got));
      } else {
        ::close(std::exchange(pipes_[i], -1));
      }
    }
    return true;
  }

  pid_t pid_ = -1;
  std::array<int, 2> pipes_ = {-1, -1};
  Ended ended_;
};

}  // namespace shoal::cli
