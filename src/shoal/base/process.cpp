#include "shoal/base/process.h"

#include <array>
#include <cerrno>
#include <csignal>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shoal/base/clock.h"

namespace shoal::base {
namespace {

constexpr std::size_t kMaxOutputBytes = std::size_t{4} << 20;
constexpr std::size_t kMaxErrorBytes = 4096;
constexpr int kTickMs = 100;

struct Pipe {
  std::array<int, 2> ends{-1, -1};
  ~Pipe() {
    for (const int end : ends) {
      if (end >= 0) close(end);
    }
  }
  void close_end(std::size_t which) {
    close(ends[which]);
    ends[which] = -1;
  }
};

Result<pid_t> start(const std::vector<std::string>& argv, const std::filesystem::path& folder, const Pipe& out,
                    const Pipe& err) {
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out.ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err.ends[1], STDERR_FILENO);
  if (!folder.empty()) posix_spawn_file_actions_addchdir_np(&actions, folder.c_str());
  pid_t pid = -1;
  const int fault = posix_spawnp(&pid, words[0], &actions, nullptr, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (fault == ENOENT) return Error(ErrorCode::kNotFound, fmt::format("the program `{}` is not installed", argv[0]));
  if (fault != 0) return errno_error("cannot start " + argv[0], fault);
  return pid;
}

// Appends what is there; false at the end.
bool drain(Pipe& pipe, std::string& into, std::size_t limit, bool keep_tail) {
  std::array<char, 16384> bytes{};
  const ssize_t got = read(pipe.ends[0], bytes.data(), bytes.size());
  if (got < 0 && errno == EINTR) return true;
  if (got <= 0) {
    pipe.close_end(0);
    return false;
  }
  into.append(bytes.data(), static_cast<std::size_t>(got));
  if (into.size() > limit) keep_tail ? into.erase(0, into.size() - limit) : into.erase(limit);
  return true;
}

}  // namespace

Result<ProcessResult> run_process(const std::vector<std::string>& argv, const ProcessOptions& options) {
  Pipe out;
  Pipe err;
  if (pipe2(out.ends.data(), O_CLOEXEC) != 0 || pipe2(err.ends.data(), O_CLOEXEC) != 0)
    return errno_error("pipe", errno);
  const pid_t pid = SHOAL_TRY(start(argv, options.folder, out, err));
  out.close_end(1);
  err.close_end(1);
  const SystemClock clock;
  const Deadline deadline = options.timeout_ms > 0 ? Deadline::after_ms(clock, options.timeout_ms) : Deadline{};
  ProcessResult result;
  bool late = false;
  while (out.ends[0] >= 0 || err.ends[0] >= 0) {
    std::array<pollfd, 2> waiting = {pollfd{out.ends[0], POLLIN, 0}, pollfd{err.ends[0], POLLIN, 0}};
    poll(waiting.data(), waiting.size(), kTickMs);
    if (waiting[0].revents != 0) drain(out, result.output, kMaxOutputBytes, false);
    if (waiting[1].revents != 0) drain(err, result.error_tail, kMaxErrorBytes, true);
    if (options.on_tick) options.on_tick();
    if (deadline.passed(clock)) {
      // What the child has started may hold the pipes open: do not wait for their end.
      late = true;
      kill(pid, SIGKILL);
      break;
    }
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (late)
    return Error(ErrorCode::kDeadlineExceeded,
                 fmt::format("`{}` did not end within {} ms", argv[0], options.timeout_ms));
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

}  // namespace shoal::base
